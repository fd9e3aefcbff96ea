/* LayerNorm by rows, two-pass variance.  One warp a row, so that sums stay in the warp; the row is
 * read once from device memory and twice more from L1.  Bound by memory: forward reads and writes
 * the matrix once; backward reads x and dy once for dx and once more for the column sums of dgain
 * and dbias. */
#include "model/cuda/internal.h"
#include "model/cuda/product.h"

enum { ROWS_PER_BLOCK = 4 };

/* One warp a row: mean, then the squares of what is left, then the output; float32, by a fixed
 * tree. */
template <typename Y, typename X>
static __global__ void layernorm_fwd_kernel(Y *y, float *mean_out, float *rstd_out, const X *x,
                                            const float *gain, const float *bias, int64_t rows,
                                            int64_t columns, float eps)
{
    int64_t row = (int64_t)blockIdx.x * ROWS_PER_BLOCK + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP;
    if (row >= rows)
        return;
    const X *from = x + row * columns;
    float sum = 0.0F;
    for (int64_t c = lane; c < columns; c += WARP)
        sum += load(from + c);
    float mean = warp_sum(sum) / (float)columns;
    float square = 0.0F;
    for (int64_t c = lane; c < columns; c += WARP) {
        float d = load(from + c) - mean;
        square += d * d;
    }
    float rstd = 1.0F / sqrtf(warp_sum(square) / (float)columns + eps);
    for (int64_t c = lane; c < columns; c += WARP) {
        float normal = (load(from + c) - mean) * rstd;
        if (gain != NULL)
            normal = normal * gain[c] + bias[c];
        store(y + row * columns + c, normal);
    }
    if (mean_out != NULL && lane == 0) {
        mean_out[row] = mean;
        rstd_out[row] = rstd;
    }
}

ls_status layernorm_fwd_cuda(struct op_device *device, struct op_matrix y, float *mean_dev,
                             float *rstd_dev, struct op_matrix x, const float *gain_dev,
                             const float *bias_dev, float eps)
{
    if (x.rows != y.rows || x.columns != y.columns || (gain_dev == NULL) != (bias_dev == NULL) ||
        (mean_dev == NULL) != (rstd_dev == NULL))
        return LS_FAIL(LS_USAGE, "layernorm: shapes or outputs do not fit");
    if (x.rows == 0)
        return LS_OK;
    LS_BY_DTYPE(y.dtype, Y, LS_BY_DTYPE(x.dtype, X, {
                    auto kernel = layernorm_fwd_kernel<Y, X>;
                    LS_LAUNCH(kernel, blocks_of(x.rows, ROWS_PER_BLOCK), ROWS_PER_BLOCK * WARP, 0,
                              device->stream, (Y *)y.data_dev, mean_dev, rstd_dev,
                              (const X *)x.data_dev, gain_dev, bias_dev, x.rows, x.columns, eps);
                }));
    return launch_check("layernorm_fwd");
}

/* dx = rstd (g dy - mean(g dy) - xhat mean(g dy xhat)).  One warp a row, sums in float32 by a fixed
 * tree.  Reads dy and x (again from L1) and writes dx; dx may be dy. */
template <typename D, typename Y, typename X>
static __global__ void layernorm_bwd_kernel(D *dx, const Y *dy, const X *x, const float *mean,
                                            const float *rstd, const float *gain, int64_t rows,
                                            int64_t columns, bool accumulate)
{
    int64_t row = (int64_t)blockIdx.x * ROWS_PER_BLOCK + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP;
    if (row >= rows)
        return;
    float m = mean[row];
    float r = rstd[row];
    float sum = 0.0F;
    float product = 0.0F;
    for (int64_t c = lane; c < columns; c += WARP) {
        float g = load(dy + row * columns + c) * (gain != NULL ? gain[c] : 1.0F);
        sum += g;
        product += g * (load(x + row * columns + c) - m) * r;
    }
    sum = warp_sum(sum) / (float)columns;
    product = warp_sum(product) / (float)columns;
    for (int64_t c = lane; c < columns; c += WARP) {
        float g = load(dy + row * columns + c) * (gain != NULL ? gain[c] : 1.0F);
        float normal = (load(x + row * columns + c) - m) * r;
        float value = r * (g - sum - normal * product);
        D *place = dx + row * columns + c;
        store(place, accumulate ? load(place) + value : value);
    }
}

/* Partial sums of dy and dy * xhat: block (i, j) takes 32 columns and of every 8 rows those
 * whose number is j modulo gridDim.y; thread (tx, ty) one column and one of the 8 rows.
 * partial[j][column]: the second pass adds them in order of j.
 * In double: a gradient that cancels to nothing must not leave rounding behind, of which AdamW
 * would make a step. */
template <typename Y, typename X>
static __global__ void gain_partial_kernel(double *dgain, double *dbias, const Y *dy, const X *x,
                                           const float *mean, const float *rstd, int64_t rows,
                                           int64_t columns)
{
    static __shared__ double share[2][8][WARP];
    int64_t c = (int64_t)blockIdx.x * WARP + threadIdx.x;
    double sum_gain = 0.0;
    double sum_bias = 0.0;
    if (c < columns)
        for (int64_t row = blockIdx.y * 8 + threadIdx.y; row < rows; row += gridDim.y * 8) {
            float d = load(dy + row * columns + c);
            sum_bias += d;
            sum_gain += d * (load(x + row * columns + c) - mean[row]) * rstd[row];
        }
    share[0][threadIdx.y][threadIdx.x] = sum_gain;
    share[1][threadIdx.y][threadIdx.x] = sum_bias;
    __syncthreads();
    if (threadIdx.y != 0 || c >= columns)
        return;
    sum_gain = 0.0;
    sum_bias = 0.0;
    for (int i = 0; i < 8; i++) {
        sum_gain += share[0][i][threadIdx.x];
        sum_bias += share[1][i][threadIdx.x];
    }
    dgain[blockIdx.y * columns + c] = sum_gain;
    dbias[blockIdx.y * columns + c] = sum_bias;
}

/* out[c] += sum of partial[j][c] in order of j.  One thread a column. */
static __global__ void partial_sum_kernel(float *out, const double *partial, int parts,
                                          int64_t columns)
{
    int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= columns)
        return;
    double sum = 0.0;
    for (int j = 0; j < parts; j++)
        sum += partial[j * columns + c];
    out[c] += (float)sum;
}

ls_status layernorm_bwd_cuda(struct op_device *device, struct op_matrix dx, float *dgain_dev,
                             float *dbias_dev, struct op_matrix dy, struct op_matrix x,
                             const float *mean_dev, const float *rstd_dev, const float *gain_dev,
                             bool accumulate)
{
    ls_status st = LS_OK;
    float *scratch_dev = NULL;
    int64_t columns = x.columns;
    if (x.rows != dy.rows || columns != dy.columns || dx.rows != x.rows || dx.columns != columns ||
        (dgain_dev == NULL) != (dbias_dev == NULL))
        return LS_FAIL(LS_USAGE, "layernorm backward: shapes do not fit");
    if (x.rows == 0)
        return LS_OK;
    if (dgain_dev != NULL) { /* first, since dx may overwrite dy */
        int parts = sum_blocks(x.rows);
        size_t partial = (size_t)parts * (size_t)columns;
        LS_TRY(cuda_scratch(device, &scratch_dev, 2 * partial * sizeof(double)));
        double *partial_dev = (double *)scratch_dev;
        LS_BY_DTYPE(dy.dtype, Y, LS_BY_DTYPE(x.dtype, X, {
                        auto kernel = gain_partial_kernel<Y, X>;
                        LS_LAUNCH(kernel, dim3(blocks_of(columns, WARP), (unsigned)parts),
                                  dim3(WARP, 8), 0, device->stream, partial_dev,
                                  partial_dev + partial, (const Y *)dy.data_dev,
                                  (const X *)x.data_dev, mean_dev, rstd_dev, x.rows, columns);
                    }));
        LS_TRY(launch_check("gain_partial"));
        LS_LAUNCH(partial_sum_kernel, blocks_of(columns, 128), 128, 0, device->stream, dgain_dev,
                  partial_dev, parts, columns);
        LS_LAUNCH(partial_sum_kernel, blocks_of(columns, 128), 128, 0, device->stream, dbias_dev,
                  partial_dev + partial, parts, columns);
        LS_TRY(launch_check("partial_sum"));
    }
    LS_BY_DTYPE(dx.dtype, D, LS_BY_DTYPE(dy.dtype, Y, LS_BY_DTYPE(x.dtype, X, {
                                             auto kernel = layernorm_bwd_kernel<D, Y, X>;
                                             LS_LAUNCH(kernel, blocks_of(x.rows, ROWS_PER_BLOCK),
                                                       ROWS_PER_BLOCK * WARP, 0, device->stream,
                                                       (D *)dx.data_dev, (const Y *)dy.data_dev,
                                                       (const X *)x.data_dev, mean_dev, rstd_dev,
                                                       gain_dev, x.rows, columns, accumulate);
                                         })));
    LS_TRY(launch_check("layernorm_bwd"));
done:
    return st;
}

/* partial[j][c] of plain column sums, or of the rows whose index is -1; layout of work as
 * gain_partial_kernel. */
template <typename X>
static __global__ void column_partial_kernel(double *partial, const X *x, const int32_t *index,
                                             int64_t rows, int64_t columns)
{
    static __shared__ double share[8][WARP];
    int64_t c = (int64_t)blockIdx.x * WARP + threadIdx.x;
    double sum = 0.0;
    if (c < columns)
        for (int64_t row = blockIdx.y * 8 + threadIdx.y; row < rows; row += gridDim.y * 8)
            if (index == NULL || index[row] == -1)
                sum += load(x + row * columns + c);
    share[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y != 0 || c >= columns)
        return;
    sum = 0.0;
    for (int i = 0; i < 8; i++)
        sum += share[i][threadIdx.x];
    partial[blockIdx.y * columns + c] = sum;
}

ls_status column_sums(struct op_device *device, float *sums_dev, struct op_matrix x,
                      const int32_t *index_dev)
{
    ls_status st = LS_OK;
    float *scratch_dev = NULL;
    int parts = sum_blocks(x.rows);
    if (x.rows == 0)
        return LS_OK;
    LS_TRY(cuda_scratch(device, &scratch_dev, (size_t)parts * (size_t)x.columns * sizeof(double)));
    LS_BY_DTYPE(x.dtype, X, {
        auto kernel = column_partial_kernel<X>;
        LS_LAUNCH(kernel, dim3(blocks_of(x.columns, WARP), (unsigned)parts), dim3(WARP, 8), 0,
                  device->stream, (double *)scratch_dev, (const X *)x.data_dev, index_dev, x.rows,
                  x.columns);
    });
    LS_TRY(launch_check("column_partial"));
    LS_LAUNCH(partial_sum_kernel, blocks_of(x.columns, 128), 128, 0, device->stream, sums_dev,
              (const double *)scratch_dev, parts, x.columns);
    LS_TRY(launch_check("partial_sum"));
done:
    return st;
}
