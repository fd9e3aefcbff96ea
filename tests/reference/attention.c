/* Attention within pairs of sequences, by definition: one query at a time. */
#include "tests/reference/attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Probabilities of one query over the keys of its sequence; returns log(sum exp(score)). */
static double probabilities(double *p, const double *q, const double *k, int64_t keys, int width)
{
    double largest = -INFINITY, sum = 0.0;
    for (int64_t j = 0; j < keys; j++) {
        p[j] = 0.0;
        for (int c = 0; c < width; c++)
            p[j] += q[c] * k[j * width + c] / sqrt((double)width);
        largest = fmax(largest, p[j]);
    }
    for (int64_t j = 0; j < keys; j++)
        sum += exp(p[j] - largest);
    for (int64_t j = 0; j < keys; j++)
        p[j] = exp(p[j] - largest) / sum;
    /* cppcheck-suppress invalidFunctionArg; there is a key, so the sum is above 0 */
    return largest + log(sum);
}

/* Where the rows of head h, sequence s begin, in elements. */
static int64_t query_at(const struct reference_attention *at, int h, int s)
{
    return (h * at->query_rows + at->query_start[s]) * at->head_width;
}

static int64_t key_at(const struct reference_attention *at, int h, int s)
{
    return (h * at->key_rows + at->key_start[s]) * at->head_width;
}

static void forward_pair(double *o, double *lse, const double *q, const double *k, const double *v,
                         const struct reference_attention *at, int h, int s)
{
    int width = at->head_width, stride = at->heads * width;
    int64_t keys = at->key_length[s];
    double *p = calloc((size_t)keys + 1, sizeof *p);
    if (p == NULL)
        abort();
    for (int64_t i = 0; i < at->query_length[s] && keys > 0; i++) {
        int64_t row = at->query_start[s] + i;
        lse[h * at->query_rows + row] =
            probabilities(p, q + query_at(at, h, s) + i * width, k + key_at(at, h, s), keys, width);
        for (int64_t j = 0; j < keys; j++)
            for (int c = 0; c < width; c++)
                o[row * stride + h * width + c] += p[j] * v[key_at(at, h, s) + j * width + c];
    }
    free(p);
}

void reference_attention_fwd(double *o, double *lse, const double *q, const double *k,
                             const double *v, const struct reference_attention *at)
{
    memset(o, 0, (size_t)(at->query_rows * at->heads * at->head_width) * sizeof *o);
    memset(lse, 0, (size_t)(at->query_rows * at->heads) * sizeof *lse);
    for (int h = 0; h < at->heads; h++)
        for (int s = 0; s < at->sequences; s++)
            forward_pair(o, lse, q, k, v, at, h, s);
}

/* With p the probabilities: dv_j += p_j do;  dp_j = do . v_j;  ds_j = p_j (dp_j - sum p dp);
 * dq += ds_j k_j / sqrt(width);  dk_j += ds_j q / sqrt(width). */
static void backward_query(double *dq, double *dk, double *dv, const double *d_o, const double *q,
                           const double *k, const double *v, double *p, double *dp, int64_t keys,
                           int width)
{
    double mean = 0.0, scale = 1.0 / sqrt((double)width);
    (void)probabilities(p, q, k, keys, width);
    for (int64_t j = 0; j < keys; j++) {
        dp[j] = 0.0;
        for (int c = 0; c < width; c++) {
            dp[j] += d_o[c] * v[j * width + c];
            dv[j * width + c] += p[j] * d_o[c];
        }
        mean += p[j] * dp[j];
    }
    for (int64_t j = 0; j < keys; j++)
        for (int c = 0; c < width; c++) {
            double ds = p[j] * (dp[j] - mean) * scale;
            dq[c] += ds * k[j * width + c];
            dk[j * width + c] += ds * q[c];
        }
}

void reference_attention_bwd(double *dq, double *dk, double *dv, const double *d_o, const double *q,
                             const double *k, const double *v, const struct reference_attention *at)
{
    int width = at->head_width;
    size_t key_bytes = (size_t)(at->key_rows * at->heads * width) * sizeof *dk;
    double *work = calloc(2 * (size_t)at->key_rows + 1, sizeof *work);
    if (work == NULL)
        abort();
    memset(dq, 0, (size_t)(at->query_rows * at->heads * width) * sizeof *dq);
    memset(dk, 0, key_bytes);
    memset(dv, 0, key_bytes);
    for (int h = 0; h < at->heads; h++)
        for (int s = 0; s < at->sequences; s++)
            for (int64_t i = 0; i < at->query_length[s] && at->key_length[s] > 0; i++) {
                int64_t query = query_at(at, h, s) + i * width, key = key_at(at, h, s);
                int64_t output = (at->query_start[s] + i) * at->heads * width + h * width;
                backward_query(dq + query, dk + key, dv + key, d_o + output, q + query, k + key,
                               v + key, work, work + at->key_rows, at->key_length[s], width);
            }
    free(work);
}

/* Squares of one query's errors, added to those of its keys.  The error of sum p dp = o . do is one
 * number for the whole query: it moves every ds_j by p_j. */
static void spread_query(const struct reference_attention_spread *out, const double *o,
                         const double *d_o, const double *q, const double *k, const double *v,
                         double *p, double *dp, int64_t keys, int width)
{
    double mean = 0.0, mean_spread = 0.0, scale = 1.0 / sqrt((double)width);
    (void)probabilities(p, q, k, keys, width);
    for (int c = 0; c < width; c++)
        mean_spread += o[c] * d_o[c] * o[c] * d_o[c];
    for (int64_t j = 0; j < keys; j++) {
        dp[j] = 0.0;
        for (int c = 0; c < width; c++)
            dp[j] += d_o[c] * v[j * width + c];
        mean += p[j] * dp[j];
        mean_spread += p[j] * dp[j] * p[j] * dp[j];
    }
    mean_spread *= scale * scale;
    for (int c = 0; c < width; c++) {
        double together = 0.0; /* what an error of the mean does to dq */
        for (int64_t j = 0; j < keys; j++) {
            double ds = p[j] * (dp[j] - mean) * scale;
            double own = ds * ds + p[j] * p[j] * mean_spread;
            out->o[c] += p[j] * v[j * width + c] * p[j] * v[j * width + c];
            out->dv[j * width + c] += p[j] * d_o[c] * p[j] * d_o[c];
            out->dk[j * width + c] += own * q[c] * q[c];
            out->dq[c] += ds * k[j * width + c] * ds * k[j * width + c];
            together += p[j] * k[j * width + c];
        }
        out->dq[c] += together * together * mean_spread;
    }
}

static void take_roots(double *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = sqrt(x[i]);
}

void reference_attention_spread(const struct reference_attention_spread *out, const double *o,
                                const double *d_o, const double *q, const double *k,
                                const double *v, const struct reference_attention *at)
{
    int width = at->head_width;
    int64_t queries = at->query_rows * at->heads * width, keys = at->key_rows * at->heads * width;
    double *work = calloc(2 * (size_t)at->key_rows + 1, sizeof *work);
    if (work == NULL)
        abort();
    memset(out->o, 0, (size_t)queries * sizeof *out->o);
    memset(out->dq, 0, (size_t)queries * sizeof *out->dq);
    memset(out->dk, 0, (size_t)keys * sizeof *out->dk);
    memset(out->dv, 0, (size_t)keys * sizeof *out->dv);
    for (int h = 0; h < at->heads; h++)
        for (int s = 0; s < at->sequences; s++)
            for (int64_t i = 0; i < at->query_length[s] && at->key_length[s] > 0; i++) {
                int64_t query = query_at(at, h, s) + i * width, key = key_at(at, h, s);
                int64_t output = (at->query_start[s] + i) * at->heads * width + h * width;
                const struct reference_attention_spread here = {out->o + output, out->dq + query,
                                                                out->dk + key, out->dv + key};
                spread_query(&here, o + output, d_o + output, q + query, k + key, v + key, work,
                             work + at->key_rows, at->key_length[s], width);
            }
    take_roots(out->o, queries);
    take_roots(out->dq, queries);
    take_roots(out->dk, keys);
    take_roots(out->dv, keys);
    free(work);
}
