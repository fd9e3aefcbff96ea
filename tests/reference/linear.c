/* y = x w^T + b and GELU, by definition. */
#include "tests/reference/linear.h"

#include <math.h>
#include <stddef.h>

void reference_linear_fwd(double *y, const double *x, const double *w, const double *b, int64_t m,
                          int64_t n, int64_t k, bool accumulate)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = b != NULL ? b[j] : 0.0;
            for (int64_t l = 0; l < k; l++)
                sum += x[i * k + l] * w[j * k + l];
            y[i * n + j] = accumulate ? y[i * n + j] + sum : sum;
        }
}

void reference_linear_bwd_data(double *dx, const double *dy, const double *w, int64_t m, int64_t n,
                               int64_t k, bool accumulate)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t l = 0; l < k; l++) {
            double sum = 0.0;
            for (int64_t j = 0; j < n; j++)
                sum += dy[i * n + j] * w[j * k + l];
            dx[i * k + l] = accumulate ? dx[i * k + l] + sum : sum;
        }
}

void reference_linear_bwd_weight(double *dw, double *db, const double *dy, const double *x,
                                 int64_t m, int64_t n, int64_t k)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            for (int64_t l = 0; l < k; l++)
                dw[j * k + l] += dy[i * n + j] * x[i * k + l];
            if (db != NULL)
                db[j] += dy[i * n + j];
        }
}

double reference_gelu(double x)
{
    return x * 0.5 * erfc(-x / sqrt(2.0));
}

double reference_gelu_slope(double x)
{
    double density = exp(-0.5 * x * x) / sqrt(2.0 * M_PI);
    return 0.5 * erfc(-x / sqrt(2.0)) + x * density;
}

double reference_gelu_tanh(double x)
{
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
}
