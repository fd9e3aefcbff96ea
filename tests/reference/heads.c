/* Head split with 3D rotary positions, by definition. */
#include "tests/reference/heads.h"

#include <math.h>

double reference_rotary_angle(int position, int channel, int axis_width)
{
    int frequency = channel % (axis_width / 2);
    return position * pow(10000.0, -2.0 * frequency / axis_width);
}

/* Angle of a head's channel for a token; the channels beyond the three axes are not turned. */
static double angle_of(const struct reference_heads *at, int32_t token, int channel)
{
    int plane = at->grid_rows * at->grid_columns;
    int position[3] = {token / plane, token % plane / at->grid_columns, token % at->grid_columns};
    if (!at->turn || channel >= 3 * at->axis_width)
        return 0.0;
    return reference_rotary_angle(position[channel / at->axis_width], channel % at->axis_width,
                                  at->axis_width);
}

/* Element of the head's turn: how much of channel `from` goes into channel `to`. */
static double turn(const struct reference_heads *at, int32_t token, int to, int from)
{
    double angle = angle_of(at, token, to);
    if (to == from)
        return cos(angle);
    if (from == (to ^ 1) && from < at->head_width)
        return to % 2 == 0 ? -sin(angle) : sin(angle);
    return 0.0;
}

void reference_split_heads_fwd(double *heads, const double *in, const struct reference_heads *at)
{
    for (int h = 0; h < at->heads; h++)
        for (int64_t r = 0; r < at->rows; r++)
            for (int to = 0; to < at->head_width; to++) {
                double sum = 0.0;
                int32_t token = at->turn ? at->positions[r] : 0;
                for (int from = to & ~1; from <= (to | 1) && from < at->head_width; from++)
                    sum += turn(at, token, to, from) *
                           in[r * at->columns + at->column + h * at->head_width + from];
                heads[(h * at->head_rows + r) * at->head_width + to] = sum;
            }
}

void reference_split_heads_bwd(double *din, const double *dheads, const struct reference_heads *at)
{
    for (int h = 0; h < at->heads; h++)
        for (int64_t r = 0; r < at->rows; r++)
            for (int from = 0; from < at->head_width; from++) {
                double sum = 0.0;
                int32_t token = at->turn ? at->positions[r] : 0;
                for (int to = from & ~1; to <= (from | 1) && to < at->head_width; to++)
                    sum += turn(at, token, to, from) *
                           dheads[(h * at->head_rows + r) * at->head_width + to];
                din[r * at->columns + at->column + h * at->head_width + from] = sum;
            }
}
