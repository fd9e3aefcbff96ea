/* The loss, feature statistics and the gradient norm: sums in double, in an order that depends on
 * shapes only. */
#include "model/cuda/internal.h"
#include "model/cuda/product.h"

enum { LOSS_THREADS = 256 }; /* at most */

/* Sum over a block of up to 1024 threads, valid in thread 0. */
static __device__ double block_sum(double value)
{
    static __shared__ double share[WARP];
    int warps = (int)((blockDim.x + WARP - 1) / WARP);
    value = warp_sum(value);
    __syncthreads(); /* the share may still be read from a call before */
    if (threadIdx.x % WARP == 0)
        share[threadIdx.x / WARP] = value;
    __syncthreads();
    double sum = 0.0;
    for (int i = 0; i < warps; i++)
        sum += share[i];
    return sum;
}

/* Block (row in sequence, sequence), threads along the row: |z - h|^p / p summed to partial[row],
 * and dz.  Reads z and h and writes dz once: bound by memory for p = 1, by pow's instructions
 * otherwise.  Computes and sums in double; deterministic.  Up to 65535 sequences. */
template <typename D, typename Z>
static __global__ void loss_kernel(D *dz, double *partial, const Z *z, const float *h,
                                   const int32_t *start, const int32_t *length, int64_t columns,
                                   double exponent, double weight)
{
    int sequence = (int)blockIdx.y;
    int place = (int)blockIdx.x;
    double sum = 0.0;
    int64_t row = start[sequence] + place;
    if (place < length[sequence])
        for (int64_t c = threadIdx.x; c < columns; c += blockDim.x) {
            double difference = (double)load(z + row * columns + c) - (double)h[row * columns + c];
            double size = fabs(difference);
            double slope = exponent == 1.0 ? 1.0 : pow(size, exponent - 1.0);
            sum += exponent == 1.0 ? size : size * slope / exponent;
            /* The sign; what is not a number stays so. */
            double sign = difference > 0.0 ? 1.0 : difference < 0.0 ? -1.0 : difference;
            store(dz + row * columns + c, (float)(weight * slope * sign));
        }
    sum = block_sum(sum);
    if (threadIdx.x == 0 && place < length[sequence])
        partial[row] = sum;
}

/* out[0] (+)= scale * sum of values, by one block, each thread its stride, then the fixed tree.  In
 * double; bound by latency: a few thousand values. */
static __global__ void total_kernel(double *out, const double *values, int64_t count, double scale,
                                    bool accumulate)
{
    double sum = 0.0;
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x)
        sum += values[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        out[0] = (accumulate ? out[0] : 0.0) + scale * sum;
}

ls_status loss_cuda(struct op_device *device, struct op_matrix dz, double *loss_dev,
                    struct op_matrix z, struct op_matrix h, const struct op_sequences *rows,
                    double exponent, double weight, double loss_weight)
{
    ls_status st = LS_OK;
    float *scratch_dev = NULL;
    unsigned threads = LOSS_THREADS;
    size_t element = dz.dtype == OP_F32 ? 4 : 2;
    if (dz.rows != z.rows || h.rows != z.rows || rows->rows != z.rows || z.columns != h.columns ||
        dz.columns != z.columns || h.dtype != OP_F32 || exponent < 1.0)
        return LS_FAIL(LS_USAGE, "loss: shapes differ, or exponent %g is below 1", exponent);
    LS_TRY(zero_cuda(device, dz.data_dev, (size_t)(dz.rows * dz.columns) * element));
    if (rows->count == 0 || rows->max_length == 0)
        return LS_OK;
    if (z.columns < LOSS_THREADS)
        threads = WARP * blocks_of(z.columns, WARP);
    LS_TRY(cuda_scratch(device, &scratch_dev, (size_t)z.rows * sizeof(double)));
    LS_TRY(zero_cuda(device, scratch_dev, (size_t)z.rows * sizeof(double))); /* padding rows */
    LS_BY_DTYPE(dz.dtype, D, LS_BY_DTYPE(z.dtype, Z, {
                    auto kernel = loss_kernel<D, Z>;
                    LS_LAUNCH(kernel, dim3((unsigned)rows->max_length, (unsigned)rows->count),
                              threads, 0, device->stream, (D *)dz.data_dev, (double *)scratch_dev,
                              (const Z *)z.data_dev, (const float *)h.data_dev, rows->start_dev,
                              rows->length_dev, z.columns, exponent, weight);
                }));
    LS_TRY(launch_check("loss"));
    LS_LAUNCH(total_kernel, 1, 1024, 0, device->stream, loss_dev, (const double *)scratch_dev,
              z.rows, loss_weight, true);
    LS_TRY(launch_check("total"));
done:
    return st;
}

/* Inverse norm of each true row: one warp a row, in double.  Reads x once; bound by memory. */
template <typename X>
static __global__ void inverse_norm_kernel(double *inverse, const X *x, const int32_t *start,
                                           const int32_t *length, int64_t columns)
{
    int place = (int)(blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP);
    if (place >= length[blockIdx.y])
        return;
    int64_t row = start[blockIdx.y] + place;
    double sum = 0.0;
    for (int64_t c = threadIdx.x % WARP; c < columns; c += WARP) {
        double value = load(x + row * columns + c);
        sum += value * value;
    }
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0)
        inverse[row] = sum > 0.0 ? 1.0 / sqrt(sum) : 0.0;
}

/* One thread a column; sequences and rows in order, SUM_BLOCKS strides of sequences side by side in
 * blockIdx.y.  Reads x once (from the L2 cache, where it fits, after the norms); in double; bound
 * by latency where sequences are few: it runs at evaluations only. */
template <typename X>
static __global__ void statistics_kernel(double *partial, const X *x, const double *inverse,
                                         const int32_t *start, const int32_t *length, int sequences,
                                         int64_t columns)
{
    int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= columns)
        return;
    double sum = 0.0;
    double square = 0.0;
    double unit = 0.0;
    for (int s = (int)blockIdx.y; s < sequences; s += SUM_BLOCKS)
        for (int64_t row = start[s]; row < start[s] + length[s]; row++) {
            double value = load(x + row * columns + c);
            sum += value;
            square += value * value;
            unit += inverse != NULL ? value * inverse[row] : 0.0;
        }
    partial[(0 * SUM_BLOCKS + blockIdx.y) * columns + c] = sum;
    partial[(1 * SUM_BLOCKS + blockIdx.y) * columns + c] = square;
    partial[(2 * SUM_BLOCKS + blockIdx.y) * columns + c] = unit;
}

/* out[c] += the sum of partial[j][c] in order of j: one thread a column, in double. */
static __global__ void statistics_sum_kernel(double *out, const double *partial, int64_t columns)
{
    int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= columns)
        return;
    double sum = 0.0;
    for (int j = 0; j < SUM_BLOCKS; j++)
        sum += partial[j * columns + c];
    out[c] += sum;
}

ls_status column_statistics_cuda(struct op_device *device, double *sum_dev, double *square_dev,
                                 double *unit_dev, struct op_matrix x,
                                 const struct op_sequences *rows)
{
    ls_status st = LS_OK;
    float *scratch_dev = NULL;
    double *partial_dev = NULL;
    double *inverse_dev = NULL;
    int64_t columns = x.columns;
    double *outputs[3] = {sum_dev, square_dev, unit_dev};
    size_t partial = (size_t)SUM_BLOCKS * (size_t)columns;
    if (rows->rows != x.rows)
        return LS_FAIL(LS_USAGE, "column statistics: shapes do not fit");
    if (rows->count == 0 || rows->max_length == 0)
        return LS_OK;
    LS_TRY(cuda_scratch(device, &scratch_dev, ((size_t)x.rows + 3 * partial) * sizeof(double)));
    partial_dev = (double *)scratch_dev;
    inverse_dev = unit_dev != NULL ? partial_dev + 3 * partial : NULL;
    LS_BY_DTYPE(x.dtype, X, {
        if (unit_dev != NULL) {
            auto norms = inverse_norm_kernel<X>;
            LS_LAUNCH(norms, dim3(blocks_of(rows->max_length, 4), (unsigned)rows->count), 4 * WARP,
                      0, device->stream, inverse_dev, (const X *)x.data_dev, rows->start_dev,
                      rows->length_dev, columns);
        }
        auto kernel = statistics_kernel<X>;
        LS_LAUNCH(kernel, dim3(blocks_of(columns, 64), SUM_BLOCKS), 64, 0, device->stream,
                  partial_dev, (const X *)x.data_dev, (const double *)inverse_dev, rows->start_dev,
                  rows->length_dev, rows->count, columns);
    });
    for (int i = 0; i < 3; i++)
        if (outputs[i] != NULL)
            LS_LAUNCH(statistics_sum_kernel, blocks_of(columns, 128), 128, 0, device->stream,
                      outputs[i], partial_dev + (size_t)i * partial, columns);
    LS_TRY(launch_check("column_statistics"));
done:
    return st;
}

/* partial[block] = sum of squares of every gridDim-th stride: one thread a number of each.  Reads x
 * once; in double; bound by memory; the order depends on the launch's shape only. */
static __global__ void square_kernel(double *partial, const float *x, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count;
         i += (int64_t)gridDim.x * blockDim.x)
        sum += (double)x[i] * (double)x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        partial[blockIdx.x] = sum;
}

ls_status square_sum_cuda(struct op_device *device, double *out_dev, const float *x_dev,
                          int64_t count)
{
    ls_status st = LS_OK;
    float *scratch_dev = NULL;
    enum { BLOCKS = 256 };
    LS_TRY(cuda_scratch(device, &scratch_dev, BLOCKS * sizeof(double)));
    LS_LAUNCH(square_kernel, BLOCKS, 512, 0, device->stream, (double *)scratch_dev, x_dev, count);
    LS_TRY(launch_check("square_sum"));
    LS_LAUNCH(total_kernel, 1, 256, 0, device->stream, out_dev, (const double *)scratch_dev,
              (int64_t)BLOCKS, 1.0, false);
    LS_TRY(launch_check("total"));
done:
    return st;
}
