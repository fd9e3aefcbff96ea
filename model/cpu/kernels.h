/* The inner loops of the CPU twin, once for each instruction set.
 *
 * kernels_avx512.c, kernels_avx2.c and kernels_sse41.c compile the same *.inc files for vectors of
 * 16, 8 and 4 floats; op_cpu_open chooses one table by the instruction set that oneDNN uses.  All
 * pointers are to float32 (or bf16 bits) without alignment; `n` may be any count >= 0; sums are
 * taken in an order that depends on n and the vector width only. */
#ifndef LOCKSTEP_MODEL_CPU_KERNELS_H
#define LOCKSTEP_MODEL_CPU_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "model/ops.h"

enum {
    CPU_TILE_ROWS = 6,  /* rows that `product` takes at once: m is a multiple of it */
    CPU_PANEL_MAX = 64, /* widest panel of any instruction set */
    CPU_KEYS = 192,     /* keys of a block of attention: a multiple of CPU_TILE_ROWS and of every
                         * panel width */
    CPU_QUERIES = 48    /* queries of a block of attention: a multiple of CPU_TILE_ROWS */
};

/* c[m,n] (+)= a[m,k] b[k,n]; element a[i,j] is at a[i * a_row + j * a_step].  b is cut into panels
 * of `lanes * panel` columns that lie one after another, each [k][its width], the last one narrower
 * (b_row: 0), or is plain row-major with rows b_row apart.  m is a multiple of CPU_TILE_ROWS, n of
 * `lanes`. */
struct tile_product {
    float *c;
    const float *a, *b;
    int64_t c_row, a_row, a_step, b_row;
    int64_t m, n, k;
    bool accumulate;
};

/* One run of elements of the flat space with one set of scalars. */
struct update_run {
    int64_t n;
    float *weights, *moment1, *moment2, *ema; /* ema NULL: no target copy */
    const float *gradient;
    float scale, beta1, beta1_rest, beta2, beta2_rest, shrink /* lr * decay */, step, second_root,
        eps;
    float pull; /* share of the way that the target moves to the weights */
};

struct pair_gradient;

struct cpu_kernels {
    int lanes;       /* floats of a vector */
    int panel_lanes; /* columns of a panel of `product` */

    void (*to_f32)(float *out, const uint16_t *in, int64_t n);
    void (*to_bf16)(uint16_t *out, const float *in, int64_t n); /* nearest even; NaN stays NaN */

    void (*gelu)(float *y, const float *x, int64_t n);
    void (*gelu_bwd)(float *dx, const float *dy, const float *x, int64_t n);
    /* out = exp(x): e^x within 2 ulp for x in [-87, 88]; below, less than 2e-38. */
    void (*exponential)(float *out, const float *x, int64_t n);

    void (*add)(float *sums, const float *x, int64_t n); /* sums += x */

    /* out[c] = x[c] * cosine[c] + x[c ^ 1] * sine[c]: pairs of channels turned; an odd last one is
     * copied. */
    void (*turn)(float *out, const float *x, const float *cosine, const float *sine, int64_t n);

    /* gain and bias may be NULL. */
    void (*layernorm_fwd)(float *y, float *mean, float *rstd, const float *x, const float *gain,
                          const float *bias, int64_t n, float eps);
    /* dgain, dbias (NULL: not wanted) are added to. */
    void (*layernorm_bwd)(float *dx, float *dgain, float *dbias, const float *dy, const float *x,
                          const float *gain, float mean, float rstd, int64_t n, bool accumulate);

    void (*product)(const struct tile_product *product);
    /* Panels of the transpose of rows[count][width], rows `stride` apart: [width][panel] each;
     * columns from count to the next multiple of `lanes` are zero. */
    void (*pack_transposed)(float *panels, const float *rows, int64_t stride, int64_t count,
                            int64_t width);
    /* Softmax of a row of scores that are in units of log(2) when multiplied by `factor` > 0:
     * s[0..n) -> 2^(factor * (s - largest)), zero up to `padded`; returns the natural log of the
     * sum of e^score, and in *inverse one over the sum of what was written. */
    float (*softmax)(float *s, float *inverse, int64_t n, int64_t padded, float factor);
    /* p = 2^(s - lse), lse in units of log(2) too; ds = p * (dp - delta); zero up to `padded`. */
    void (*softmax_bwd)(float *s_to_p, float *dp_to_ds, int64_t n, int64_t padded, float lse,
                        float delta);
    float (*dot)(const float *x, const float *y, int64_t n);
    void (*scale)(float *y, const float *x, float factor, int64_t n); /* y = factor * x */

    /* dz = weight * sign(z - h) * |z - h|^(p - 1); returns sum |z - h|^p.  For p = 1 and p = 2. */
    double (*loss)(float *dz, const float *z, const float *h, int64_t n, int exponent,
                   float weight);
    double (*square_sum)(const float *x, int64_t n);
    /* sum += x; square += x^2; unit (may be NULL) += x * inverse_length */
    void (*statistics)(double *sum, double *square, double *unit, const float *x,
                       double inverse_length, int64_t n);
    void (*update)(const struct update_run *run);
    /* The EMA alone: ema += pull * (weights - ema). */
    void (*move)(const struct update_run *run);
    /* out[n] = in[3 * i] * scale + shift: one colour of interleaved bytes. */
    void (*pixels)(float *out, const uint8_t *in, int64_t n, float scale, float shift);
};

/* Attention on bf16 where the CPU has dot products of pairs (AVX-512 BF16).  Elements of `a` and
 * `b` of a product are pairs of bf16 then, and k counts pairs; sums are float32. */
struct cpu_pair_kernels {
    void (*product)(const struct tile_product *product);
    /* pairs[i][c] = (rows[2 i][c], rows[2 i + 1][c]), `width` columns wide, up to `padded` columns
     * of zeros; rows lie `stride` apart, and one beyond `count` is zero. */
    void (*interleave)(uint32_t *pairs, const uint16_t *rows, int64_t stride, int64_t count,
                       int64_t width, int64_t padded);
    void (*softmax_bwd)(const struct pair_gradient *gradient);
};

/* Two rows of scores and of their gradients: p = 2^(s * factor - lse), ds = p * (dp - delta), both
 * zero from n to `padded`.  Pairs are of the two rows. */
struct pair_gradient {
    uint32_t *p_pairs, *ds_pairs;
    uint16_t *ds_rows[2];
    const float *s[2], *dp[2];
    float lse[2], delta[2];
    float factor;
    int64_t n, padded; /* padded: a multiple of 16 */
};

extern const struct cpu_pair_kernels cpu_pair_kernels_avx512;

extern const struct cpu_kernels cpu_kernels_avx512, cpu_kernels_avx2, cpu_kernels_sse41;

#endif
