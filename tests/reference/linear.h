/* Linear maps and GELU, by definition: plain loops in double precision. */
#ifndef LOCKSTEP_TESTS_REFERENCE_LINEAR_H
#define LOCKSTEP_TESTS_REFERENCE_LINEAR_H

#include <stdbool.h>
#include <stdint.h>

/* y[M,N] (+)= x[M,K] w[N,K]^T + b[N]; b may be NULL. */
void reference_linear_fwd(double *y, const double *x, const double *w, const double *b, int64_t m,
                          int64_t n, int64_t k, bool accumulate);
/* dx[M,K] (+)= dy[M,N] w[N,K] */
void reference_linear_bwd_data(double *dx, const double *dy, const double *w, int64_t m, int64_t n,
                               int64_t k, bool accumulate);
/* dw[N,K] += dy^T x, db[N] += column sums of dy (NULL: not wanted) */
void reference_linear_bwd_weight(double *dw, double *db, const double *dy, const double *x,
                                 int64_t m, int64_t n, int64_t k);

/* x Phi(x), and its derivative Phi(x) + x phi(x); through erfc, which keeps the small tail. */
double reference_gelu(double x);
double reference_gelu_slope(double x);
/* The tanh form, which is NOT the operator: tests must tell the two apart. */
double reference_gelu_tanh(double x);

#endif
