/* Columns of q, k and v to heads and back, turned by their positions.  Bound by memory: every input
 * is read once and every output written once, 8 channels a thread in accesses of 16 bytes where
 * widths and memory allow it, else pairs; float32.  The angles (8 bytes a channel) come from the
 * caches, since the heads of a row share them.  Deterministic.  Up to 2^31 - 1 rows. */
#include "model/cuda/internal.h"

enum { WIDE = 8, PAIR = 2 };
enum : unsigned { THREADS_MOST = 128 };

struct turn { /* rotary positions of one row, by value */
    const float *cos, *sin;
    const int32_t *positions;
    int width, rows, columns;
    bool on;
};

struct place { /* of a token on the three axes, in the angle table */
    int64_t time, row, column;
};

static __device__ struct place place_of(struct turn turn, int64_t row)
{
    struct place out = {0, 0, 0};
    if (!turn.on)
        return out;
    int32_t token = turn.positions[row];
    int plane = turn.rows * turn.columns;
    out.time = (int64_t)(token / plane) * turn.width;
    out.row = (int64_t)(token % plane / turn.columns) * turn.width;
    out.column = (int64_t)(token % turn.columns) * turn.width;
    return out;
}

struct angles { /* of two channels that turn together */
    struct pack<float, PAIR> cos, sin;
};

/* False for channels that are not turned. */
static __device__ bool angles_at(struct angles *out, struct turn turn, struct place place, int c)
{
    if (!turn.on || c >= 3 * turn.width)
        return false;
    int64_t at = c < turn.width       ? place.time + c
                 : c < 2 * turn.width ? place.row + c - turn.width
                                      : place.column + c - 2 * turn.width;
    out->cos = load_pack<PAIR>(turn.cos + at);
    out->sin = load_pack<PAIR>(turn.sin + at);
    return true;
}

/* Where N channels of a head lie: in a row of all heads, and head by head. */
struct piece {
    int64_t together, apart;
    int channel;
};

template <int N>
static __device__ struct piece piece_of(int p, int64_t row, int64_t head_rows, int64_t stride,
                                        int64_t column, int head_width)
{
    int groups = head_width / N;
    int head = p / groups;
    struct piece out;
    out.channel = N * (p % groups);
    out.together = row * stride + column + head * head_width + out.channel;
    out.apart = ((int64_t)head * head_rows + row) * head_width + out.channel;
    return out;
}

/* Pairs are for memory that is aligned for nothing else. */
template <int N, typename T> static __device__ struct pack<T, N> load_channels(const T *from) {
    if constexpr (N == WIDE) {
        return load_pack<N>(from);
    } else {
        struct pack<T, N> out;
        for (int n = 0; n < N; n++)
            out.v[n] = from[n];
        return out;
    }
}

template <int N, typename T>
static __device__ void store_channels(T *to, const struct pack<T, N> &value)
{
    if constexpr (N == WIDE) {
        store_pack(to, value);
    } else {
        for (int n = 0; n < N; n++)
            to[n] = value.v[n];
    }
}

/* One block a row, one thread N channels: y0 = x0 cos0 - x1 sin0, y1 = x1 cos1 + x0 sin1, where the
 * two channels of a pair have angles of their own (the public code tiles the frequencies). */
template <int N, typename T>
static __global__ void split_kernel(T *heads_out, const T *in, int64_t head_rows, int64_t stride,
                                    int64_t column, int heads, int head_width, struct turn turn)
{
    int64_t row = blockIdx.x;
    const struct place place = place_of(turn, row);
    for (int p = threadIdx.x; p < heads * (head_width / N); p += blockDim.x) {
        const struct piece at = piece_of<N>(p, row, head_rows, stride, column, head_width);
        struct pack<T, N> x = load_channels<N>(in + at.together);
#pragma unroll
        for (int n = 0; n < N; n += PAIR) {
            struct angles a;
            if (!angles_at(&a, turn, place, at.channel + n))
                continue;
            float x0 = load(&x.v[n]);
            float x1 = load(&x.v[n + 1]);
            store(&x.v[n], x0 * a.cos.v[0] - x1 * a.sin.v[0]);
            store(&x.v[n + 1], x1 * a.cos.v[1] + x0 * a.sin.v[1]);
        }
        store_channels(heads_out + at.apart, x);
    }
}

/* The transpose, with the same work for a thread. */
template <int N, typename T>
static __global__ void merge_kernel(T *din, const T *dheads, int64_t head_rows, int64_t stride,
                                    int64_t column, int heads, int head_width, struct turn turn)
{
    int64_t row = blockIdx.x;
    const struct place place = place_of(turn, row);
    for (int p = threadIdx.x; p < heads * (head_width / N); p += blockDim.x) {
        const struct piece at = piece_of<N>(p, row, head_rows, stride, column, head_width);
        struct pack<T, N> d = load_channels<N>(dheads + at.apart);
#pragma unroll
        for (int n = 0; n < N; n += PAIR) {
            struct angles a;
            if (!angles_at(&a, turn, place, at.channel + n))
                continue;
            float d0 = load(&d.v[n]);
            float d1 = load(&d.v[n + 1]);
            store(&d.v[n], d0 * a.cos.v[0] + d1 * a.sin.v[1]);
            store(&d.v[n + 1], d1 * a.cos.v[1] - d0 * a.sin.v[0]);
        }
        store_channels(din + at.together, d);
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

/* Whether 8 channels at a time are aligned on both sides. */
static bool is_wide(const void *heads_dev, struct op_matrix matrix, int64_t column, int head_width)
{
    return is_aligned(heads_dev) && is_aligned(matrix.data_dev) && column % WIDE == 0 &&
           matrix.columns % WIDE == 0 && head_width % WIDE == 0;
}

static unsigned threads_of(int heads, int head_width, bool wide)
{
    unsigned threads = WARP * blocks_of((int64_t)heads * head_width / (wide ? WIDE : PAIR), WARP);
    return threads < THREADS_MOST ? threads : (unsigned)THREADS_MOST;
}

ls_status split_heads_fwd_cuda(struct op_device *device, void *heads_dev, int64_t head_rows,
                               struct op_matrix in, int64_t column, int heads, int head_width,
                               const struct op_rotary *rotary, const int32_t *positions_dev)
{
    ls_status st = LS_OK;
    struct turn turn = turn_of(rotary, positions_dev);
    bool wide = false;
    LS_TRY(check_heads("split_heads_fwd", in, head_rows, column, heads, head_width, rotary));
    if (in.rows == 0)
        return LS_OK;
    wide = is_wide(heads_dev, in, column, head_width);
    LS_BY_DTYPE(in.dtype, T, {
        auto kernel = wide ? split_kernel<WIDE, T> : split_kernel<PAIR, T>;
        LS_LAUNCH(kernel, (unsigned)in.rows, threads_of(heads, head_width, wide), 0, device->stream,
                  (T *)heads_dev, (const T *)in.data_dev, head_rows, in.columns, column, heads,
                  head_width, turn);
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
    bool wide = false;
    LS_TRY(check_heads("split_heads_bwd", din, head_rows, column, heads, head_width, rotary));
    if (din.rows == 0)
        return LS_OK;
    wide = is_wide(dheads_dev, din, column, head_width);
    LS_BY_DTYPE(din.dtype, T, {
        auto kernel = wide ? merge_kernel<WIDE, T> : merge_kernel<PAIR, T>;
        LS_LAUNCH(kernel, (unsigned)din.rows, threads_of(heads, head_width, wide), 0,
                  device->stream, (T *)din.data_dev, (const T *)dheads_dev, head_rows, din.columns,
                  column, heads, head_width, turn);
    });
    LS_TRY(launch_check("merge_heads"));
done:
    return st;
}
