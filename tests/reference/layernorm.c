/* LayerNorm over rows, by definition. */
#include "tests/reference/layernorm.h"

#include <math.h>
#include <stddef.h>

static void moments(double *mean, double *rstd, const double *x, int64_t n, double eps)
{
    double sum = 0.0, square = 0.0;
    for (int64_t c = 0; c < n; c++)
        sum += x[c];
    *mean = sum / (double)n;
    for (int64_t c = 0; c < n; c++)
        square += (x[c] - *mean) * (x[c] - *mean);
    *rstd = 1.0 / sqrt(square / (double)n + eps);
}

void reference_layernorm_fwd(double *y, double *mean, double *rstd, const double *x,
                             const double *gain, const double *bias, int64_t rows, int64_t columns,
                             double eps)
{
    for (int64_t r = 0; r < rows; r++) {
        moments(&mean[r], &rstd[r], x + r * columns, columns, eps);
        for (int64_t c = 0; c < columns; c++) {
            double normal = (x[r * columns + c] - mean[r]) * rstd[r];
            y[r * columns + c] =
                normal * (gain != NULL ? gain[c] : 1.0) + (bias != NULL ? bias[c] : 0.0);
        }
    }
}

/* dx_i = sum_j dy_j gain_j d(normal_j)/d(x_i), with
 * d(normal_j)/d(x_i) = rstd (delta_ij - 1/n - normal_i normal_j / n). */
void reference_layernorm_bwd(double *dx, double *dgain, double *dbias, const double *dy,
                             const double *x, const double *gain, int64_t rows, int64_t columns,
                             double eps)
{
    double n = (double)columns;
    for (int64_t r = 0; r < rows; r++) {
        const double *in = x + r * columns, *gradient = dy + r * columns;
        double mean, rstd, sum = 0.0, dot = 0.0;
        moments(&mean, &rstd, in, columns, eps);
        for (int64_t c = 0; c < columns; c++) {
            double g = gradient[c] * (gain != NULL ? gain[c] : 1.0);
            sum += g;
            dot += g * (in[c] - mean) * rstd;
        }
        for (int64_t c = 0; c < columns; c++) {
            double normal = (in[c] - mean) * rstd;
            double g = gradient[c] * (gain != NULL ? gain[c] : 1.0);
            dx[r * columns + c] = rstd * (g - sum / n - normal * dot / n);
            if (dgain != NULL)
                dgain[c] += gradient[c] * normal;
            if (dbias != NULL)
                dbias[c] += gradient[c];
        }
    }
}
