/* The loss with its gradient, and the statistics of features: sums over the true rows, in double.
 *
 * Each part sums its share of the rows of all sequences; the parts are added in their order. */
#include <math.h>
#include <string.h>

#include "model/cpu/device.h"

enum { STATISTICS = 3 };

static double general_loss(float *dz, const float *z, const float *h, int64_t n, double exponent,
                           double weight)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)z[i] - (double)h[i], size = fabs(d);
        double slope = d == 0.0 ? 0.0 : copysign(pow(size, exponent - 1.0), d);
        dz[i] = (float)(weight * slope);
        sum += pow(size, exponent);
    }
    return sum;
}

/* Part `part` of the true rows of a sequence that is the s-th of all. */
static struct cpu_range rows_of(const struct op_sequences *rows, int s, int part, int parts)
{
    struct cpu_range range = cpu_share(rows->length[s], 1, part, parts);
    range.begin += rows->start[s];
    range.end += rows->start[s];
    return range;
}

struct loss_terms {
    struct op_matrix dz, z, h;
    double exponent, weight;
};

static double loss_row(const struct op_device *device, const struct loss_terms *terms, int64_t row,
                       float *buffer)
{
    int64_t columns = terms->z.columns, at = row * columns;
    float *out = cpu_target(terms->dz, at, buffer);
    const float *z = cpu_read(device, terms->z, at, columns, buffer + columns);
    const float *h = (const float *)terms->h.data_dev + at;
    bool simple = terms->exponent == 1.0 || terms->exponent == 2.0;
    double sum = simple ? device->kernels->loss(out, z, h, columns, (int)terms->exponent,
                                                (float)terms->weight)
                        : general_loss(out, z, h, columns, terms->exponent, terms->weight);
    cpu_written(device, terms->dz, at, columns, out);
    return sum;
}

ls_status loss_cpu(struct op_device *device, struct op_matrix dz, double *loss_dev,
                   struct op_matrix z, struct op_matrix h, const struct op_sequences *rows,
                   double exponent, double weight, double loss_weight)
{
    ls_status st = LS_OK;
    int64_t columns = z.columns;
    if (dz.rows != z.rows || h.rows != z.rows || rows->rows != z.rows || dz.columns != columns ||
        h.columns != columns || h.dtype != OP_F32 || exponent < 1.0)
        return LS_FAIL(LS_USAGE, "loss: shapes differ, or exponent %g is below 1", exponent);
    LS_TRY(cpu_workspace_check(device, cpu_rows_bytes(columns), "loss"));
    if (rows->true_rows < rows->rows)
        memset(dz.data_dev, 0, (size_t)(dz.rows * columns) * cpu_dtype_bytes(dz.dtype));
    struct loss_terms terms = {dz, z, h, exponent, weight};
    int threads = device->threads;
    bool wide = cpu_worth_threads(z.rows * columns);
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (wide)
    for (int part = 0; part < threads; part++) {
        double *sum = cpu_slice(device, part);
        float *buffer = (void *)(sum + 1);
        *sum = 0.0;
        for (int s = 0; s < rows->count; s++) {
            struct cpu_range range = rows_of(rows, s, part, threads);
            for (int64_t r = range.begin; r < range.end; r++)
                *sum += loss_row(device, &terms, r, buffer);
        }
    }
    double total = 0.0;
    for (int part = 0; part < threads; part++)
        total += *(const double *)cpu_slice(device, part);
    *loss_dev += loss_weight * total / exponent;
done:
    return st;
}

ls_status column_statistics_cpu(struct op_device *device, double *sum_dev, double *square_dev,
                                double *unit_dev, struct op_matrix x,
                                const struct op_sequences *rows)
{
    ls_status st = LS_OK;
    int64_t columns = x.columns;
    if (rows->rows != x.rows)
        return LS_FAIL(LS_USAGE, "column_statistics: shapes differ");
    LS_TRY(cpu_workspace_check(device, cpu_rows_bytes(columns), "column_statistics"));
    int threads = device->threads;
    bool wide = cpu_worth_threads(x.rows * columns);
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (wide)
    for (int part = 0; part < threads; part++) {
        double *sums = cpu_slice(device, part);
        float *buffer = (void *)(sums + STATISTICS * columns);
        memset(sums, 0, (size_t)(STATISTICS * columns) * sizeof *sums);
        for (int s = 0; s < rows->count; s++) {
            struct cpu_range range = rows_of(rows, s, part, threads);
            for (int64_t r = range.begin; r < range.end; r++) {
                const float *row = cpu_read(device, x, r * columns, columns, buffer);
                double length = sqrt(device->kernels->square_sum(row, columns));
                device->kernels->statistics(sums, sums + columns,
                                            unit_dev != NULL ? sums + 2 * columns : NULL, row,
                                            length > 0.0 ? 1.0 / length : 0.0, columns);
            }
        }
    }
    double *out[STATISTICS] = {sum_dev, square_dev, unit_dev};
    for (int part = 0; part < threads; part++) {
        const double *sums = cpu_slice(device, part);
        for (int i = 0; i < STATISTICS; i++)
            for (int64_t c = 0; out[i] != NULL && c < columns; c++)
                out[i][c] += sums[i * columns + c];
    }
done:
    return st;
}
