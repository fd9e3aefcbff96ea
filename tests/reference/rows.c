/* Gather, scatter, patchify, loss and statistics, by definition. */
#include "tests/reference/rows.h"

#include <math.h>
#include <stddef.h>

void reference_gather_rows(double *to, const double *from, const int32_t *index, const double *fill,
                           int64_t rows, int64_t columns)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
            double value = 0.0;
            if (index[r] >= 0)
                value = from[index[r] * columns + c];
            else if (index[r] == -1)
                value = fill[c];
            to[r * columns + c] = value;
        }
}

void reference_scatter_rows(double *dfrom, double *dfill, const double *dto, const int32_t *index,
                            int64_t rows, int64_t columns)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
            if (index[r] >= 0)
                dfrom[index[r] * columns + c] += dto[r * columns + c];
            else if (index[r] == -1 && dfill != NULL)
                dfill[c] += dto[r * columns + c];
        }
}

/* Normalised value of one pixel's channel. */
static double pixel(const struct reference_clips *clips, int64_t clip, int channel, int frame,
                    int row, int column)
{
    int64_t frames = clips->frames, height = clips->height, width = clips->width;
    if (clips->floats != NULL)
        return clips
            ->floats[(((clip * 3 + channel) * frames + frame) * height + row) * width + column];
    int64_t at = (((clip * frames + frame) * height + row) * width + column) * 3 + channel;
    return ((double)clips->bytes[at] / 255.0 - clips->mean[channel]) / clips->std[channel];
}

void reference_patchify(double *patches, const struct reference_clips *clips, const int32_t *index,
                        int64_t rows)
{
    int grid_rows = clips->height / clips->patch, grid_columns = clips->width / clips->patch;
    int tokens = clips->frames / clips->tubelet * grid_rows * grid_columns;
    double *out = patches;
    for (int64_t r = 0; r < rows; r++)
        for (int channel = 0; channel < 3; channel++)
            for (int t = 0; t < clips->tubelet; t++)
                for (int y = 0; y < clips->patch; y++)
                    for (int x = 0; x < clips->patch; x++, out++) {
                        int token = index[r] % tokens, cell = token % (grid_rows * grid_columns);
                        if (index[r] < 0) {
                            *out = 0.0;
                            continue;
                        }
                        *out = pixel(clips, index[r] / tokens, channel,
                                     token / (grid_rows * grid_columns) * clips->tubelet + t,
                                     cell / grid_columns * clips->patch + y,
                                     cell % grid_columns * clips->patch + x);
                    }
}

double reference_loss(double *dz, const double *z, const double *h, const int32_t *row,
                      int64_t rows, int64_t columns, double exponent, double weight)
{
    double sum = 0.0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
            int64_t at = row[r] * columns + c;
            double d = z[at] - h[at];
            sum += pow(fabs(d), exponent) / exponent;
            dz[at] =
                d == 0.0 ? 0.0 : weight * pow(fabs(d), exponent - 1.0) * (d > 0.0 ? 1.0 : -1.0);
        }
    return sum;
}

void reference_column_statistics(double *sum, double *square, double *unit, const double *x,
                                 const int32_t *row, int64_t rows, int64_t columns)
{
    for (int64_t r = 0; r < rows; r++) {
        const double *at = x + row[r] * columns;
        double length = 0.0;
        for (int64_t c = 0; c < columns; c++)
            length += at[c] * at[c];
        for (int64_t c = 0; c < columns; c++) {
            sum[c] += at[c];
            square[c] += at[c] * at[c];
            unit[c] += length > 0.0 ? at[c] / sqrt(length) : 0.0;
        }
    }
}
