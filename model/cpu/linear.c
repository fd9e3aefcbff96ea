/* Linear maps and the GELU that follows them.  The products are oneDNN's; what is ours is the sum
 * over rows of the bias gradient and the exact GELU.
 *
 * GELU is applied to blocks of rows right after their product, while they are in the caches: `pre`
 * must be kept for backward, so oneDNN's own GELU, which keeps only the result, does not fit. */
#include "model/cpu/device.h"

static ls_status check_linear(const char *name, struct op_matrix y, struct op_matrix x,
                              struct op_matrix w)
{
    if (y.rows != x.rows || y.columns != w.rows || x.columns != w.columns)
        return LS_FAIL(LS_USAGE, "%s: y [%lld, %lld], x [%lld, %lld], w [%lld, %lld] do not fit",
                       name, (long long)y.rows, (long long)y.columns, (long long)x.rows,
                       (long long)x.columns, (long long)w.rows, (long long)w.columns);
    return LS_OK;
}

static ls_status check_dtypes(const char *name, struct op_matrix left, struct op_matrix right)
{
    return left.dtype == right.dtype ? LS_OK : LS_FAIL(LS_USAGE, "%s: dtypes differ", name);
}

static struct product forward_product(struct op_matrix y, struct op_matrix x, struct op_matrix w,
                                      const float *bias, bool accumulate)
{
    return (struct product){.m = x.rows,
                            .n = w.rows,
                            .k = x.columns,
                            .a_dtype = x.dtype,
                            .b_dtype = w.dtype,
                            .c_dtype = y.dtype,
                            .b_transposed = true,
                            .bias = bias != NULL,
                            .accumulate = accumulate};
}

ls_status linear_fwd_cpu(struct op_device *device, struct op_matrix y, struct op_matrix x,
                         struct op_matrix w, const float *b_dev, bool accumulate)
{
    ls_status st = LS_OK;
    LS_TRY(check_linear("linear_fwd", y, x, w));
    LS_TRY(check_dtypes("linear_fwd", x, w));
    struct product product = forward_product(y, x, w, b_dev, accumulate);
    LS_TRY(cpu_product(device, &product, y.data_dev, x.data_dev, w.data_dev, b_dev));
done:
    return st;
}

static void gelu_span(struct op_device *device, struct op_matrix y, struct op_matrix pre,
                      int64_t begin, int64_t end)
{
    float in[CPU_SPAN], out[CPU_SPAN];
    for (int64_t at = begin; at < end; at += CPU_SPAN) {
        int64_t count = end - at < CPU_SPAN ? end - at : CPU_SPAN;
        const float *from = cpu_read(device, pre, at, count, in);
        device->kernels->gelu(cpu_target(y, at, out), from, count);
        cpu_written(device, y, at, count, out);
    }
}

ls_status linear_gelu_fwd_cpu(struct op_device *device, struct op_matrix y, struct op_matrix pre,
                              struct op_matrix x, struct op_matrix w, const float *b_dev)
{
    ls_status st = LS_OK;
    struct op_matrix sum = pre.data_dev != NULL ? pre : y;
    LS_TRY(check_linear("linear_gelu_fwd", y, x, w));
    LS_TRY(check_linear("linear_gelu_fwd", sum, x, w));
    LS_TRY(check_dtypes("linear_gelu_fwd", x, w));
    struct product product = forward_product(sum, x, w, b_dev, false);
    LS_TRY(cpu_product(device, &product, sum.data_dev, x.data_dev, w.data_dev, b_dev));
    int threads = device->threads;
    bool wide = cpu_worth_threads(y.rows * y.columns);
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (wide)
    for (int part = 0; part < threads; part++) {
        struct cpu_range range = cpu_share(y.rows * y.columns, CPU_SPAN, part, threads);
        gelu_span(device, y, sum, range.begin, range.end);
    }
done:
    return st;
}

ls_status gelu_bwd_cpu(struct op_device *device, struct op_matrix dpre, struct op_matrix dy,
                       struct op_matrix pre)
{
    if (dpre.rows != dy.rows || dpre.columns != dy.columns || dpre.rows != pre.rows ||
        dpre.columns != pre.columns)
        return LS_FAIL(LS_USAGE, "gelu_bwd: shapes differ");
    int threads = device->threads;
    bool wide = cpu_worth_threads(dy.rows * dy.columns);
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (wide)
    for (int part = 0; part < threads; part++) {
        struct cpu_range range = cpu_share(dy.rows * dy.columns, CPU_SPAN, part, threads);
        float slope_at[CPU_SPAN], gradient[CPU_SPAN], out[CPU_SPAN];
        for (int64_t at = range.begin; at < range.end; at += CPU_SPAN) {
            int64_t count = range.end - at < CPU_SPAN ? range.end - at : CPU_SPAN;
            const float *x = cpu_read(device, pre, at, count, slope_at);
            const float *g = cpu_read(device, dy, at, count, gradient);
            device->kernels->gelu_bwd(cpu_target(dpre, at, out), g, x, count);
            cpu_written(device, dpre, at, count, out);
        }
    }
    return LS_OK;
}

ls_status linear_bwd_data_cpu(struct op_device *device, struct op_matrix dx, struct op_matrix dy,
                              struct op_matrix w, bool accumulate)
{
    ls_status st = LS_OK;
    LS_TRY(check_linear("linear_bwd_data", dy, dx, w));
    LS_TRY(check_dtypes("linear_bwd_data", dy, w));
    struct product product = {.m = dy.rows,
                              .n = w.columns,
                              .k = w.rows,
                              .a_dtype = dy.dtype,
                              .b_dtype = w.dtype,
                              .c_dtype = dx.dtype,
                              .accumulate = accumulate};
    LS_TRY(cpu_product(device, &product, dx.data_dev, dy.data_dev, w.data_dev, NULL));
done:
    return st;
}

ls_status linear_bwd_weight_cpu(struct op_device *device, float *dw_dev, float *db_dev,
                                struct op_matrix dy, struct op_matrix x)
{
    ls_status st = LS_OK;
    if (dy.rows != x.rows)
        return LS_FAIL(LS_USAGE, "linear_bwd_weight: dy has %lld rows, x %lld", (long long)dy.rows,
                       (long long)x.rows);
    if (dy.rows == 0)
        return LS_OK;
    LS_TRY(check_dtypes("linear_bwd_weight", dy, x));
    struct product product = {.m = dy.columns,
                              .n = x.columns,
                              .k = dy.rows,
                              .a_dtype = dy.dtype,
                              .b_dtype = x.dtype,
                              .c_dtype = OP_F32,
                              .a_transposed = true,
                              .accumulate = true};
    LS_TRY(cpu_product(device, &product, dw_dev, dy.data_dev, x.data_dev, NULL));
    if (db_dev != NULL)
        LS_TRY(cpu_column_sums(device, db_dev, dy, "linear_bwd_weight"));
done:
    return st;
}

ls_status gram_cpu(struct op_device *device, float *gram_dev, struct op_matrix x)
{
    ls_status st = LS_OK;
    if (x.rows == 0)
        return LS_OK;
    struct product product = {.m = x.columns,
                              .n = x.columns,
                              .k = x.rows,
                              .a_dtype = x.dtype,
                              .b_dtype = x.dtype,
                              .c_dtype = OP_F32,
                              .a_transposed = true,
                              .accumulate = true};
    LS_TRY(cpu_product(device, &product, gram_dev, x.data_dev, x.data_dev, NULL));
done:
    return st;
}
