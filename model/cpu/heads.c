/* The columns of a qkv matrix into contiguous per-head buffers and back, turned by the rotary
 * positions on the way.  A row's cosines and sines are laid out once for all its heads. */
#include <string.h>

#include "model/cpu/device.h"

enum { HEAD_WIDTH_MAX = 256 };

struct turn {
    float cosine[HEAD_WIDTH_MAX], sine[HEAD_WIDTH_MAX];
};

static ls_status check_heads(const char *name, struct op_matrix matrix, int64_t head_rows,
                             int64_t column, int heads, int head_width,
                             const struct op_rotary *rotary)
{
    if (heads < 1 || head_width < 2 || head_width > HEAD_WIDTH_MAX || head_width % 2 != 0 ||
        column < 0 || column + (int64_t)heads * head_width > matrix.columns)
        return LS_FAIL(LS_USAGE,
                       "%s: %d heads of %d (which must be even) from column %lld do not fit %lld "
                       "columns",
                       name, heads, head_width, (long long)column, (long long)matrix.columns);
    if (head_rows < matrix.rows)
        return LS_FAIL(LS_USAGE, "%s: heads of %lld rows have no room for %lld", name,
                       (long long)head_rows, (long long)matrix.rows);
    if (rotary != NULL && (rotary->axis_width < 0 || rotary->axis_width % 2 != 0 ||
                           3 * rotary->axis_width > head_width))
        return LS_FAIL(LS_USAGE, "%s: axis width %d in a head of %d", name, rotary->axis_width,
                       head_width);
    return LS_OK;
}

/* Channel c of the turned head is x[c] cos + x[c ^ 1] sine, where the sine of an even channel is
 * negative.  Channels beyond the three axes stay. */
static void lay_out_turn(struct turn *turn, const struct op_rotary *rotary, int32_t token,
                         int head_width)
{
    int plane = rotary->grid_rows * rotary->grid_columns;
    int position[3] = {token / plane, token % plane / rotary->grid_columns,
                       token % rotary->grid_columns};
    int width = rotary->axis_width;
    for (int axis = 0; axis < 3; axis++) {
        const float *cosine = rotary->cos_dev + (int64_t)position[axis] * width;
        const float *sine = rotary->sin_dev + (int64_t)position[axis] * width;
        for (int c = 0; c < width; c++) {
            turn->cosine[axis * width + c] = cosine[c];
            turn->sine[axis * width + c] = c % 2 == 0 ? -sine[c] : sine[c];
        }
    }
    for (int c = 3 * width; c < head_width; c++) {
        turn->cosine[c] = 1.0f;
        turn->sine[c] = 0.0f;
    }
}

/* The transpose: the two sines of a pair change places. */
static void transpose_turn(struct turn *turn, int head_width)
{
    for (int c = 0; c + 1 < head_width; c += 2) {
        float even = turn->sine[c];
        turn->sine[c] = turn->sine[c + 1];
        turn->sine[c + 1] = even;
    }
}

ls_status split_heads_fwd_cpu(struct op_device *device, void *heads_dev, int64_t head_rows,
                              struct op_matrix in, int64_t column, int heads, int head_width,
                              const struct op_rotary *rotary, const int32_t *positions_dev)
{
    ls_status st = LS_OK;
    LS_TRY(check_heads("split_heads_fwd", in, head_rows, column, heads, head_width, rotary));
    struct op_matrix out = cpu_matrix(heads_dev, head_rows * heads, head_width, in.dtype);
    int threads = device->threads;
    bool wide = cpu_worth_threads(in.rows * heads * head_width);
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (wide)
    for (int part = 0; part < threads; part++) {
        struct cpu_range range = cpu_share(in.rows, 1, part, threads);
        struct turn turn;
        float from[HEAD_WIDTH_MAX], to[HEAD_WIDTH_MAX];
        for (int64_t r = range.begin; r < range.end; r++) {
            if (rotary != NULL)
                lay_out_turn(&turn, rotary, positions_dev[r], head_width);
            for (int h = 0; h < heads; h++) {
                int64_t target = (h * head_rows + r) * head_width;
                const float *x =
                    cpu_read(device, in, r * in.columns + column + (int64_t)h * head_width,
                             head_width, from);
                float *y = cpu_target(out, target, to);
                if (rotary != NULL)
                    device->kernels->turn(y, x, turn.cosine, turn.sine, head_width);
                else
                    memcpy(y, x, (size_t)head_width * sizeof *y);
                cpu_written(device, out, target, head_width, y);
            }
        }
    }
done:
    return st;
}

ls_status split_heads_bwd_cpu(struct op_device *device, struct op_matrix din, int64_t column,
                              const void *dheads_dev, int64_t head_rows, int heads, int head_width,
                              const struct op_rotary *rotary, const int32_t *positions_dev)
{
    ls_status st = LS_OK;
    LS_TRY(check_heads("split_heads_bwd", din, head_rows, column, heads, head_width, rotary));
    struct op_matrix in = cpu_matrix(dheads_dev, head_rows * heads, head_width, din.dtype);
    int threads = device->threads;
    bool wide = cpu_worth_threads(din.rows * heads * head_width);
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (wide)
    for (int part = 0; part < threads; part++) {
        struct cpu_range range = cpu_share(din.rows, 1, part, threads);
        struct turn turn;
        float from[HEAD_WIDTH_MAX], to[HEAD_WIDTH_MAX];
        for (int64_t r = range.begin; r < range.end; r++) {
            if (rotary != NULL) {
                lay_out_turn(&turn, rotary, positions_dev[r], head_width);
                transpose_turn(&turn, head_width);
            }
            for (int h = 0; h < heads; h++) {
                int64_t target = r * din.columns + column + (int64_t)h * head_width;
                const float *x =
                    cpu_read(device, in, (h * head_rows + r) * head_width, head_width, from);
                float *y = cpu_target(din, target, to);
                if (rotary != NULL)
                    device->kernels->turn(y, x, turn.cosine, turn.sine, head_width);
                else
                    memcpy(y, x, (size_t)head_width * sizeof *y);
                cpu_written(device, din, target, head_width, y);
            }
        }
    }
done:
    return st;
}
