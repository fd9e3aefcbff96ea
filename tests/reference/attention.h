/* Scaled dot-product attention within pairs of sequences, by definition. */
#ifndef LOCKSTEP_TESTS_REFERENCE_ATTENTION_H
#define LOCKSTEP_TESTS_REFERENCE_ATTENTION_H

#include <stdint.h>

struct reference_attention {
    int heads, head_width, sequences;
    int64_t query_rows, key_rows;              /* padding included */
    const int32_t *query_start, *query_length; /* [sequences] */
    const int32_t *key_start, *key_length;     /* [sequences] */
};

/* o[q_row][h * head_width + c], lse[heads][query_rows]; rows of no sequence: zero.
 * q [heads][query_rows][head_width]; k, v [heads][key_rows][head_width]. */
void reference_attention_fwd(double *o, double *lse, const double *q, const double *k,
                             const double *v, const struct reference_attention *at);
/* dq, dk, dv are overwritten; zero in rows of no sequence. */
void reference_attention_bwd(double *dq, double *dk, double *dv, const double *d_o, const double *q,
                             const double *k, const double *v,
                             const struct reference_attention *at);

/* How far results go astray when every probability, every dS and every element of o is rounded once
 * before the product that it enters: with errors of random sign, relative e each, by about e times
 * these roots of sums of squares.  Laid out as the results, and overwritten. */
struct reference_attention_spread {
    double *o, *dq, *dk, *dv;
};
void reference_attention_spread(const struct reference_attention_spread *out, const double *o,
                                const double *d_o, const double *q, const double *k,
                                const double *v, const struct reference_attention *at);

#endif
