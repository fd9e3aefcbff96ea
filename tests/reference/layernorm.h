/* LayerNorm over rows, by definition. */
#ifndef LOCKSTEP_TESTS_REFERENCE_LAYERNORM_H
#define LOCKSTEP_TESTS_REFERENCE_LAYERNORM_H

#include <stdint.h>

/* y = (x - mean) / sqrt(var + eps) * gain + bias; gain, bias may be NULL (1 and 0). */
void reference_layernorm_fwd(double *y, double *mean, double *rstd, const double *x,
                             const double *gain, const double *bias, int64_t rows, int64_t columns,
                             double eps);
/* dx is overwritten; dgain and dbias (NULL: not wanted) are added to. */
void reference_layernorm_bwd(double *dx, double *dgain, double *dbias, const double *dy,
                             const double *x, const double *gain, int64_t rows, int64_t columns,
                             double eps);

#endif
