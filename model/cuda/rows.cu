/* Operators that move or scale elements and rows: cast, GELU, gather, scatter, heads, patches.  All
 * are bound by memory: they read every input once and write every output once, neighbouring threads
 * at neighbouring addresses, and compute in float32.  No thread adds to another's output, so all
 * are deterministic.  Up to 2^31 - 1 rows, or 2^31 - 1 blocks of THREADS elements. */
#include "model/cuda/internal.h"
#include "model/cuda/product.h"

enum { THREADS = 256 };

/* One thread an element, rounded to nearest even. */
template <typename To, typename From>
static __global__ void cast_kernel(To *to, const From *from, int64_t count)
{
    int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < count)
        store(to + i, load(from + i));
}

ls_status cast_cuda(struct op_device *device, struct op_matrix to, struct op_matrix from)
{
    int64_t count = to.rows * to.columns;
    if (from.rows != to.rows || from.columns != to.columns)
        return LS_FAIL(LS_USAGE, "cast: shapes differ");
    if (count == 0)
        return LS_OK;
    LS_BY_DTYPE(to.dtype, To, LS_BY_DTYPE(from.dtype, From, {
                    auto kernel = cast_kernel<To, From>;
                    LS_LAUNCH(kernel, blocks_of(count, THREADS), THREADS, 0, device->stream,
                              (To *)to.data_dev, (const From *)from.data_dev, count);
                }));
    return launch_check("cast");
}

struct normal {
    float cumulative, bell; /* Phi(a), e^(-a^2/2) */
};

/* Phi(-t) = e^(-t^2/2) u Q(u), u = 1 / (1 + 0.3 t), for t in [0, 10]; Q is the CPU twin's
 * (model/cpu/vector.inc, relative error 5e-8).  A small value keeps its relative accuracy, which
 * 1 + erf would lose, and one exponential serves Phi and its slope.  NaN stays. */
static __device__ struct normal normal_at(float a)
{
    float t = fabsf(a) > 10.0F ? 10.0F : fabsf(a);
    struct normal at;
    at.bell = expf(-0.5F * t * t);
    float u = 1.0F / (1.0F + 0.3F * t);
    float q = 0.037547775F;
    q = fmaf(q, u, -0.16507639F);
    q = fmaf(q, u, 0.2200832F);
    q = fmaf(q, u, -0.066522576F);
    q = fmaf(q, u, 0.13549544F);
    q = fmaf(q, u, 0.09775636F);
    q = fmaf(q, u, 0.12111116F);
    q = fmaf(q, u, 0.11960505F);
    float tail = q * u * at.bell;
    at.cumulative = a < 0.0F ? tail : 1.0F - tail;
    return at;
}

/* gelu(a) = a Phi(a), not the tanh form.  One thread an element: reads one and writes one; about 30
 * instructions, so bound by memory.  Deterministic. */
template <typename Y, typename X>
static __global__ void gelu_kernel(Y *y, const X *pre, int64_t count)
{
    int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= count)
        return;
    float a = load(pre + i);
    store(y + i, a * normal_at(a).cumulative);
}

ls_status linear_gelu_fwd_cuda(struct op_device *device, struct op_matrix y, struct op_matrix pre,
                               struct op_matrix x, struct op_matrix w, const float *b_dev)
{
    ls_status st = LS_OK;
    int64_t count = y.rows * y.columns;
    struct op_matrix target = pre.data_dev != NULL ? pre : y;
    LS_TRY(linear_fwd_cuda(device, target, x, w, b_dev, false));
    if (count == 0)
        return LS_OK;
    LS_BY_DTYPE(y.dtype, Y, LS_BY_DTYPE(target.dtype, X, {
                    auto kernel = gelu_kernel<Y, X>;
                    LS_LAUNCH(kernel, blocks_of(count, THREADS), THREADS, 0, device->stream,
                              (Y *)y.data_dev, (const X *)target.data_dev, count);
                }));
    LS_TRY(launch_check("gelu"));
done:
    return st;
}

/* gelu'(a) = Phi(a) + a phi(a).  One thread an element: reads two and writes one; bound by memory.
 * In place is fine, each thread touches its own.  Deterministic. */
template <typename D, typename X>
static __global__ void gelu_bwd_kernel(D *dpre, const D *dy, const X *pre, int64_t count)
{
    int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= count)
        return;
    float a = load(pre + i);
    struct normal at = normal_at(a);
    store(dpre + i, load(dy + i) * fmaf(0.39894228F * a, at.bell, at.cumulative));
}

ls_status gelu_bwd_cuda(struct op_device *device, struct op_matrix dpre, struct op_matrix dy,
                        struct op_matrix pre)
{
    int64_t count = dy.rows * dy.columns;
    if (dpre.dtype != dy.dtype || pre.rows != dy.rows || pre.columns != dy.columns)
        return LS_FAIL(LS_USAGE, "gelu backward: shapes or dtypes do not fit");
    if (count == 0)
        return LS_OK;
    LS_BY_DTYPE(dy.dtype, D, LS_BY_DTYPE(pre.dtype, X, {
                    auto kernel = gelu_bwd_kernel<D, X>;
                    LS_LAUNCH(kernel, blocks_of(count, THREADS), THREADS, 0, device->stream,
                              (D *)dpre.data_dev, (const D *)dy.data_dev, (const X *)pre.data_dev,
                              count);
                }));
    return launch_check("gelu_bwd");
}

/* One block a row of `to`, threads along it; moves one row in and one out, 4 bytes of index. */
template <typename To, typename From>
static __global__ void gather_kernel(To *to, const From *from, const int32_t *index,
                                     const float *fill, int64_t columns)
{
    int64_t row = blockIdx.x;
    int32_t source = index[row];
    for (int64_t c = threadIdx.x; c < columns; c += blockDim.x) {
        float value = 0.0F;
        if (source >= 0)
            value = load(from + source * columns + c);
        else if (source == -1)
            value = fill[c];
        store(to + row * columns + c, value);
    }
}

ls_status gather_rows_cuda(struct op_device *device, struct op_matrix to, struct op_matrix from,
                           const int32_t *index_dev, const float *fill_dev)
{
    if (to.columns != from.columns)
        return LS_FAIL(LS_USAGE, "gather: widths differ");
    if (to.rows == 0)
        return LS_OK;
    LS_BY_DTYPE(to.dtype, To, LS_BY_DTYPE(from.dtype, From, {
                    auto kernel = gather_kernel<To, From>;
                    LS_LAUNCH(kernel, (unsigned)to.rows, 128, 0, device->stream, (To *)to.data_dev,
                              (const From *)from.data_dev, index_dev, fill_dev, to.columns);
                }));
    return launch_check("gather");
}

/* One block a row of `dto`, threads along it; a row of dfrom is named at most once, so nobody else
 * adds to it.  Reads both rows and writes one. */
template <typename D, typename S>
static __global__ void scatter_kernel(D *dfrom, const S *dto, const int32_t *index, int64_t columns)
{
    int64_t row = blockIdx.x;
    int32_t target = index[row];
    if (target < 0)
        return;
    for (int64_t c = threadIdx.x; c < columns; c += blockDim.x) {
        D *place = dfrom + target * columns + c;
        store(place, load(place) + load(dto + row * columns + c));
    }
}

ls_status scatter_rows_cuda(struct op_device *device, struct op_matrix dfrom, float *dfill_dev,
                            struct op_matrix dto, const int32_t *index_dev, bool accumulate)
{
    ls_status st = LS_OK;
    size_t element = dfrom.dtype == OP_F32 ? 4 : 2;
    if (dto.columns != dfrom.columns)
        return LS_FAIL(LS_USAGE, "scatter: widths differ");
    if (!accumulate)
        LS_TRY(zero_cuda(device, dfrom.data_dev, (size_t)(dfrom.rows * dfrom.columns) * element));
    if (dto.rows == 0)
        return LS_OK;
    LS_BY_DTYPE(dfrom.dtype, D, LS_BY_DTYPE(dto.dtype, S, {
                    auto kernel = scatter_kernel<D, S>;
                    LS_LAUNCH(kernel, (unsigned)dto.rows, 128, 0, device->stream,
                              (D *)dfrom.data_dev, (const S *)dto.data_dev, index_dev, dto.columns);
                }));
    LS_TRY(launch_check("scatter"));
    if (dfill_dev != NULL)
        LS_TRY(column_sums(device, dfill_dev, dto, index_dev));
done:
    return st;
}

struct turn { /* rotary positions of one row, by value */
    const float *cos, *sin;
    const int32_t *positions;
    int width, rows, columns;
    bool on;
};

/* Where channel c of a token stands in the angle table, or -1 for channels that are not turned. */
static __device__ int64_t angle_at(struct turn turn, int32_t token, int c)
{
    int axis = c / turn.width;
    if (axis > 2)
        return -1;
    int plane = turn.rows * turn.columns;
    int position = axis == 0   ? token / plane
                   : axis == 1 ? token % plane / turn.columns
                               : token % turn.columns;
    return (int64_t)position * turn.width + c % turn.width;
}

/* One block a row, one thread a channel pair (2i, 2i+1): y0 = x0 cos0 - x1 sin0, y1 = x1 cos1 + x0
 * sin1, where the two channels have angles of their own (the public code tiles the frequencies).
 * Moves the row's heads in and out; the angles (8 bytes a channel) come from the caches, since the
 * heads of a row share them.  head_width % 2 == 0. */
template <typename To, typename From>
static __global__ void split_kernel(To *heads_out, const From *in, int64_t head_rows,
                                    int64_t stride, int64_t column, int heads, int head_width,
                                    struct turn turn)
{
    int64_t row = blockIdx.x;
    int pairs = head_width / 2;
    for (int p = threadIdx.x; p < heads * pairs; p += blockDim.x) {
        int head = p / pairs;
        int c = 2 * (p % pairs);
        const From *x = in + row * stride + column + head * head_width + c;
        float x0 = load(x);
        float x1 = load(x + 1);
        int64_t angle = turn.on ? angle_at(turn, turn.positions[row], c) : -1;
        float y0 = x0;
        float y1 = x1;
        if (angle >= 0) {
            y0 = x0 * turn.cos[angle] - x1 * turn.sin[angle];
            y1 = x1 * turn.cos[angle + 1] + x0 * turn.sin[angle + 1];
        }
        To *y = heads_out + ((int64_t)head * head_rows + row) * head_width + c;
        store(y, y0);
        store(y + 1, y1);
    }
}

/* The transpose, with the same work for a thread. */
template <typename To, typename From>
static __global__ void merge_kernel(To *din, const From *dheads, int64_t head_rows, int64_t stride,
                                    int64_t column, int heads, int head_width, struct turn turn)
{
    int64_t row = blockIdx.x;
    int pairs = head_width / 2;
    for (int p = threadIdx.x; p < heads * pairs; p += blockDim.x) {
        int head = p / pairs;
        int c = 2 * (p % pairs);
        const From *y = dheads + ((int64_t)head * head_rows + row) * head_width + c;
        float d0 = load(y);
        float d1 = load(y + 1);
        int64_t angle = turn.on ? angle_at(turn, turn.positions[row], c) : -1;
        float x0 = d0;
        float x1 = d1;
        if (angle >= 0) {
            x0 = d0 * turn.cos[angle] + d1 * turn.sin[angle + 1];
            x1 = d1 * turn.cos[angle + 1] - d0 * turn.sin[angle];
        }
        To *x = din + row * stride + column + head * head_width + c;
        store(x, x0);
        store(x + 1, x1);
    }
}

static ls_status check_heads(const char *name, struct op_matrix matrix, int64_t head_rows,
                             int64_t column, int heads, int head_width,
                             const struct op_rotary *rotary)
{
    if (heads < 1 || head_width < 2 || head_width % 2 != 0 || column < 0 ||
        column + (int64_t)heads * head_width > matrix.columns)
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

static struct turn turn_of(const struct op_rotary *rotary, const int32_t *positions_dev)
{
    struct turn turn = {NULL, NULL, positions_dev, 1, 1, 1, false};
    if (rotary != NULL) {
        turn.cos = rotary->cos_dev;
        turn.sin = rotary->sin_dev;
        turn.width = rotary->axis_width;
        turn.rows = rotary->grid_rows;
        turn.columns = rotary->grid_columns;
        turn.on = rotary->axis_width > 0;
    }
    return turn;
}

ls_status split_heads_fwd_cuda(struct op_device *device, void *heads_dev, int64_t head_rows,
                               struct op_matrix in, int64_t column, int heads, int head_width,
                               const struct op_rotary *rotary, const int32_t *positions_dev)
{
    ls_status st = LS_OK;
    struct turn turn = turn_of(rotary, positions_dev);
    LS_TRY(check_heads("split_heads_fwd", in, head_rows, column, heads, head_width, rotary));
    if (in.rows == 0)
        return LS_OK;
    LS_BY_DTYPE(in.dtype, From, {
        auto kernel = split_kernel<From, From>;
        LS_LAUNCH(kernel, (unsigned)in.rows, 128, 0, device->stream, (From *)heads_dev,
                  (const From *)in.data_dev, head_rows, in.columns, column, heads, head_width,
                  turn);
    });
    LS_TRY(launch_check("split_heads"));
done:
    return st;
}

ls_status split_heads_bwd_cuda(struct op_device *device, struct op_matrix din, int64_t column,
                               const void *dheads_dev, int64_t head_rows, int heads, int head_width,
                               const struct op_rotary *rotary, const int32_t *positions_dev)
{
    ls_status st = LS_OK;
    struct turn turn = turn_of(rotary, positions_dev);
    LS_TRY(check_heads("split_heads_bwd", din, head_rows, column, heads, head_width, rotary));
    if (din.rows == 0)
        return LS_OK;
    LS_BY_DTYPE(din.dtype, To, {
        auto kernel = merge_kernel<To, To>;
        LS_LAUNCH(kernel, (unsigned)din.rows, 128, 0, device->stream, (To *)din.data_dev,
                  (const To *)dheads_dev, head_rows, din.columns, column, heads, head_width, turn);
    });
    LS_TRY(launch_check("merge_heads"));
done:
    return st;
}

/* Chosen, not indexed: an indexed kernel parameter is copied to local memory. */
static __device__ float of_channel(const float *values, int channel)
{
    return channel == 0 ? values[0] : channel == 1 ? values[1] : values[2];
}

/* One block a token; threads run over (channel, time, row, column) of its tubelet.  Reads of uint8
 * are 3 bytes apart, but a tubelet row's bytes are read by one warp: every cache line is fetched
 * once. */
template <typename To>
static __global__ void patchify_kernel(To *patches, struct op_clips clips, const int32_t *index)
{
    int64_t row = blockIdx.x;
    int32_t token = index[row];
    int patch = clips.patch;
    int grid_columns = clips.width / patch;
    int plane = clips.height / patch * grid_columns;
    int per_clip = clips.frames / clips.tubelet * plane;
    int columns = 3 * clips.tubelet * patch * patch;
    for (int c = threadIdx.x; c < columns; c += blockDim.x) {
        float value = 0.0F;
        if (token >= 0) {
            int64_t clip = token / per_clip;
            int t0 = token % per_clip / plane * clips.tubelet;
            int y0 = token % plane / grid_columns * patch;
            int x0 = token % grid_columns * patch;
            int channel = c / (clips.tubelet * patch * patch);
            int64_t frame = t0 + c / (patch * patch) % clips.tubelet;
            int64_t y = y0 + c / patch % patch;
            int64_t x = x0 + c % patch;
            if (clips.kind == OP_PIXELS_U8_THWC) {
                int64_t at =
                    (((clip * clips.frames + frame) * clips.height + y) * clips.width + x) * 3;
                float pixel = (float)((const uint8_t *)clips.pixels_dev)[at + channel] / 255.0F;
                value = (pixel - of_channel(clips.mean, channel)) *
                        of_channel(clips.inverse_std, channel);
            } else {
                int64_t at = (((clip * 3 + channel) * clips.frames + frame) * clips.height + y) *
                                 clips.width +
                             x;
                value = ((const float *)clips.pixels_dev)[at];
            }
        }
        store(patches + row * columns + c, value);
    }
}

ls_status patchify_cuda(struct op_device *device, struct op_matrix patches, struct op_clips clips,
                        const int32_t *index_dev)
{
    if (patches.columns != 3 * clips.tubelet * clips.patch * clips.patch)
        return LS_FAIL(LS_USAGE, "patchify: width does not fit the patch");
    if (patches.rows == 0)
        return LS_OK;
    LS_BY_DTYPE(patches.dtype, To, {
        auto kernel = patchify_kernel<To>;
        LS_LAUNCH(kernel, (unsigned)patches.rows, 256, 0, device->stream, (To *)patches.data_dev,
                  clips, index_dev);
    });
    return launch_check("patchify");
}
