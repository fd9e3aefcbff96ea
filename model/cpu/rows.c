/* Operators that go through a matrix row by row: LayerNorm, gather, scatter, casts, column sums.
 *
 * Rows are dealt to the parts in runs.  A sum over rows is taken in float32 over blocks of
 * SUM_ROWS rows and in double over the blocks, by each part for its rows, then over the parts in
 * their order: a float32 sum over all rows would lose digits as their number grows. */
#include <string.h>

#include "model/cpu/device.h"

enum {
    SUM_ROWS = 32,
    ROW_BUFFERS = 3, /* a row each of up to three matrices, as float32 */
    SUM_BUFFERS = 2, /* two sums at once: dgain and dbias */
    SLICE_FLOATS = ROW_BUFFERS + SUM_BUFFERS * 3
};

/* A slice of the workspace for these operators. */
struct row_slice {
    float *row[ROW_BUFFERS];
    float *block[SUM_BUFFERS];
    double *total[SUM_BUFFERS];
};

static int64_t padded(int64_t columns)
{
    return (columns + 15) / 16 * 16;
}

size_t cpu_rows_bytes(int64_t columns)
{
    return (size_t)padded(columns) * SLICE_FLOATS * sizeof(float);
}

static struct row_slice slice_of(const struct op_device *device, int part, int64_t columns)
{
    struct row_slice slice;
    int64_t width = padded(columns);
    double *doubles = cpu_slice(device, part);
    float *floats = (void *)(doubles + SUM_BUFFERS * width);
    for (int i = 0; i < SUM_BUFFERS; i++) {
        slice.total[i] = doubles + i * width;
        slice.block[i] = floats + i * width;
    }
    for (int i = 0; i < ROW_BUFFERS; i++)
        slice.row[i] = floats + (SUM_BUFFERS + i) * width;
    return slice;
}

static void sums_begin(struct row_slice *slice, int64_t columns)
{
    for (int i = 0; i < SUM_BUFFERS; i++) {
        memset(slice->block[i], 0, (size_t)columns * sizeof(float));
        memset(slice->total[i], 0, (size_t)columns * sizeof(double));
    }
}

/* The block's sums go to the totals. */
static void sums_flush(struct row_slice *slice, int64_t columns)
{
    for (int i = 0; i < SUM_BUFFERS; i++) {
        for (int64_t c = 0; c < columns; c++)
            slice->total[i][c] += (double)slice->block[i][c];
        memset(slice->block[i], 0, (size_t)columns * sizeof(float));
    }
}

/* sums += the totals of all parts, in their order. */
static void sums_collect(const struct op_device *device, float *sums, int which, int64_t columns)
{
    if (sums == NULL)
        return;
    for (int64_t c = 0; c < columns; c++) {
        double total = 0.0;
        for (int part = 0; part < device->threads; part++)
            total += slice_of(device, part, columns).total[which][c];
        sums[c] += (float)total;
    }
}

ls_status cpu_column_sums(struct op_device *device, float *sums, struct op_matrix matrix,
                          const char *operator_name)
{
    ls_status st = LS_OK;
    int64_t columns = matrix.columns;
    LS_TRY(cpu_workspace_check(device, cpu_rows_bytes(columns), operator_name));
    int threads = device->threads;
    bool wide = cpu_worth_threads(matrix.rows * columns);
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (wide)
    for (int part = 0; part < threads; part++) {
        struct row_slice slice = slice_of(device, part, columns);
        struct cpu_range range = cpu_share(matrix.rows, 1, part, threads);
        sums_begin(&slice, columns);
        for (int64_t r = range.begin; r < range.end; r++) {
            const float *row = cpu_read(device, matrix, r * columns, columns, slice.row[0]);
            device->kernels->add(slice.block[0], row, columns);
            if ((r - range.begin) % SUM_ROWS == SUM_ROWS - 1)
                sums_flush(&slice, columns);
        }
        sums_flush(&slice, columns);
    }
    sums_collect(device, sums, 0, columns);
done:
    return st;
}

ls_status cast_cpu(struct op_device *device, struct op_matrix to, struct op_matrix from)
{
    if (to.rows != from.rows || to.columns != from.columns)
        return LS_FAIL(LS_USAGE, "cast: shapes differ");
    int threads = device->threads;
    bool wide = cpu_worth_threads(to.rows * to.columns);
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (wide)
    for (int part = 0; part < threads; part++) {
        struct cpu_range range = cpu_share(to.rows * to.columns, CPU_SPAN, part, threads);
        float buffer[CPU_SPAN];
        for (int64_t at = range.begin; at < range.end; at += CPU_SPAN) {
            int64_t count = range.end - at < CPU_SPAN ? range.end - at : CPU_SPAN;
            float *out = cpu_target(to, at, buffer);
            const float *in = cpu_read(device, from, at, count, out);
            if (in != out)
                memcpy(out, in, (size_t)count * sizeof *out);
            cpu_written(device, to, at, count, out);
        }
    }
    return LS_OK;
}

ls_status layernorm_fwd_cpu(struct op_device *device, struct op_matrix y, float *mean_dev,
                            float *rstd_dev, struct op_matrix x, const float *gain_dev,
                            const float *bias_dev, float eps)
{
    ls_status st = LS_OK;
    int64_t columns = x.columns;
    if (y.rows != x.rows || y.columns != columns || columns < 1)
        return LS_FAIL(LS_USAGE, "layernorm_fwd: shapes differ");
    LS_TRY(cpu_workspace_check(device, cpu_rows_bytes(columns), "layernorm_fwd"));
    int threads = device->threads;
    bool wide = cpu_worth_threads(x.rows * columns);
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (wide)
    for (int part = 0; part < threads; part++) {
        struct row_slice slice = slice_of(device, part, columns);
        struct cpu_range range = cpu_share(x.rows, 1, part, threads);
        for (int64_t r = range.begin; r < range.end; r++) {
            float mean, rstd;
            const float *in = cpu_read(device, x, r * columns, columns, slice.row[0]);
            float *out = cpu_target(y, r * columns, slice.row[1]);
            device->kernels->layernorm_fwd(out, &mean, &rstd, in, gain_dev, bias_dev, columns, eps);
            cpu_written(device, y, r * columns, columns, out);
            if (mean_dev != NULL)
                mean_dev[r] = mean;
            if (rstd_dev != NULL)
                rstd_dev[r] = rstd;
        }
    }
done:
    return st;
}

ls_status layernorm_bwd_cpu(struct op_device *device, struct op_matrix dx, float *dgain_dev,
                            float *dbias_dev, struct op_matrix dy, struct op_matrix x,
                            const float *mean_dev, const float *rstd_dev, const float *gain_dev,
                            bool accumulate)
{
    ls_status st = LS_OK;
    int64_t columns = x.columns;
    if (dx.rows != x.rows || dx.columns != columns || dy.rows != x.rows || dy.columns != columns)
        return LS_FAIL(LS_USAGE, "layernorm_bwd: shapes differ");
    LS_TRY(cpu_workspace_check(device, cpu_rows_bytes(columns), "layernorm_bwd"));
    int threads = device->threads;
    bool wide = cpu_worth_threads(x.rows * columns);
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (wide)
    for (int part = 0; part < threads; part++) {
        struct row_slice slice = slice_of(device, part, columns);
        struct cpu_range range = cpu_share(x.rows, 1, part, threads);
        sums_begin(&slice, columns);
        for (int64_t r = range.begin; r < range.end; r++) {
            const float *gradient = cpu_read(device, dy, r * columns, columns, slice.row[0]);
            const float *in = cpu_read(device, x, r * columns, columns, slice.row[1]);
            float *out = cpu_target(dx, r * columns, slice.row[2]);
            if (accumulate && dx.dtype != OP_F32)
                (void)cpu_read(device, dx, r * columns, columns, out);
            device->kernels->layernorm_bwd(out, dgain_dev != NULL ? slice.block[0] : NULL,
                                           dbias_dev != NULL ? slice.block[1] : NULL, gradient, in,
                                           gain_dev, mean_dev[r], rstd_dev[r], columns, accumulate);
            cpu_written(device, dx, r * columns, columns, out);
            if ((r - range.begin) % SUM_ROWS == SUM_ROWS - 1)
                sums_flush(&slice, columns);
        }
        sums_flush(&slice, columns);
    }
    sums_collect(device, dgain_dev, 0, columns);
    sums_collect(device, dbias_dev, 1, columns);
done:
    return st;
}

ls_status gather_rows_cpu(struct op_device *device, struct op_matrix to, struct op_matrix from,
                          const int32_t *index_dev, const float *fill_dev)
{
    ls_status st = LS_OK;
    int64_t columns = to.columns;
    if (from.columns != columns)
        return LS_FAIL(LS_USAGE, "gather_rows: %lld columns from %lld", (long long)columns,
                       (long long)from.columns);
    LS_TRY(cpu_workspace_check(device, cpu_rows_bytes(columns), "gather_rows"));
    int threads = device->threads;
    bool wide = cpu_worth_threads(to.rows * columns);
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (wide)
    for (int part = 0; part < threads; part++) {
        struct row_slice slice = slice_of(device, part, columns);
        struct cpu_range range = cpu_share(to.rows, 1, part, threads);
        for (int64_t r = range.begin; r < range.end; r++) {
            float *out = cpu_target(to, r * columns, slice.row[0]);
            int32_t index = index_dev[r];
            const float *in = fill_dev;
            if (index >= 0)
                in = cpu_read(device, from, index * columns, columns, out);
            if (index == -2)
                memset(out, 0, (size_t)columns * sizeof *out);
            else if (in != out)
                memcpy(out, in, (size_t)columns * sizeof *out);
            cpu_written(device, to, r * columns, columns, out);
        }
    }
done:
    return st;
}

/* Rows that have a place go there; each is named once, so the parts never meet. */
static void scatter_range(struct op_device *device, struct row_slice *slice, struct cpu_range range,
                          struct op_matrix dfrom, bool fill, struct op_matrix dto,
                          const int32_t *index_dev)
{
    int64_t columns = dto.columns;
    int64_t filled = 0;
    for (int64_t r = range.begin; r < range.end; r++) {
        int32_t index = index_dev[r];
        if (index == -2 || (index == -1 && !fill))
            continue;
        const float *in = cpu_read(device, dto, r * columns, columns, slice->row[0]);
        if (index == -1) {
            device->kernels->add(slice->block[0], in, columns);
            if (++filled % SUM_ROWS == 0)
                sums_flush(slice, columns);
            continue;
        }
        float *out = cpu_target(dfrom, index * columns, slice->row[1]);
        if (dfrom.dtype != OP_F32)
            (void)cpu_read(device, dfrom, index * columns, columns, out);
        device->kernels->add(out, in, columns);
        cpu_written(device, dfrom, index * columns, columns, out);
    }
    sums_flush(slice, columns);
}

ls_status scatter_rows_cpu(struct op_device *device, struct op_matrix dfrom, float *dfill_dev,
                           struct op_matrix dto, const int32_t *index_dev, bool accumulate)
{
    ls_status st = LS_OK;
    int64_t columns = dto.columns;
    if (dfrom.columns != columns)
        return LS_FAIL(LS_USAGE, "scatter_rows: %lld columns to %lld", (long long)columns,
                       (long long)dfrom.columns);
    LS_TRY(cpu_workspace_check(device, cpu_rows_bytes(columns), "scatter_rows"));
    if (!accumulate)
        memset(dfrom.data_dev, 0, (size_t)(dfrom.rows * columns) * cpu_dtype_bytes(dfrom.dtype));
    int threads = device->threads;
    bool wide = cpu_worth_threads(dto.rows * columns);
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (wide)
    for (int part = 0; part < threads; part++) {
        struct row_slice slice = slice_of(device, part, columns);
        sums_begin(&slice, columns);
        scatter_range(device, &slice, cpu_share(dto.rows, 1, part, threads), dfrom,
                      dfill_dev != NULL, dto, index_dev);
    }
    sums_collect(device, dfill_dev, 0, columns);
done:
    return st;
}
