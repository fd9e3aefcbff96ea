/* Attention against the reference.  Error bound: scores of normal vectors of width w are of size 1
 * and round their partial sums about sqrt(w) times, which the softmax hands on relative to 1; sums
 * over N keys round theirs about sqrt(N) times.  So 12 + 2 sqrt(w) + 2 sqrt(N) roundings of the
 * result or of its spread, for what comes out of one softmax; twice that for dq, dk and dv.
 *
 * The spread of an element is the root of the sum of the squares of its terms, which the reference
 * works out (reference_attention_spread): rows of few large probabilities err several times more
 * than the others of their head, so the rms of a head is no measure.
 *
 * In bf16 both ways of attention, plain and fused, round at the same points: probabilities and
 * their gradients where they enter a product, and o, from which backward takes sum p dp.  Each such
 * error is anywhere within 2^-8 of its term t, so its tails are at most those of a normal one of
 * deviation 2^-8 t / sqrt(3), and so are those of the sum, of deviation 2^-8 spread / sqrt(3).
 * Three spreads of 2^-8 are passed by one of exp(3^2 * 3 / 2) / 2 = 360,000 elements at most, since
 * few numbers lie where a bf16 is coarsest.  With ten other draws the largest error over its bound
 * was .65 fused, .60 plain, .50 on the CPU. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/reference/attention.h"
#include "tests/support/op_test.h"

enum { SEQUENCES_MAX = 4, BF16_SPREADS = 3 };

struct attention_case {
    int heads, head_width, sequences;
    enum op_dtype dtype;
    int padding; /* rows after each sequence, and between heads */
    int query_length[SEQUENCES_MAX], key_length[SEQUENCES_MAX];
};

static const struct attention_case cases[] = {
    {1, 1, 1, OP_F32, 0, {1}, {1}},
    {2, 16, 3, OP_F32, 0, {5, 1, 33}, {5, 1, 33}},
    {1, 22, 2, OP_F32, 3, {47, 50}, {47, 50}},
    {3, 24, 2, OP_F32, 1, {97, 13}, {97, 13}},
    {2, 64, 1, OP_F32, 0, {193}, {193}},
    {1, 64, 2, OP_F32, 2, {7, 64}, {301, 192}}, /* few queries of many keys */
    {2, 88, 1, OP_F32, 0, {100}, {61}},
    {1, 104, 2, OP_F32, 5, {49, 96}, {385, 16}},
    {1, 32, 1, OP_F32, 0, {500}, {500}},
    {2, 32, 3, OP_F32, 2, {4, 0, 9}, {6, 3, 0}}, /* empty sequences */
    {2, 64, 2, OP_BF16, 1, {65, 30}, {65, 30}},
    {1, 22, 1, OP_BF16, 0, {49}, {51}},
    {2, 64, 2, OP_F32, 1, {33, 5}, {1, 1}}, /* one key: dq and dk are nothing but rounding */
    {2, 64, 2, OP_BF16, 1, {33, 5}, {1, 1}},
};

/* Sequences with `padding` rows after each. */
static struct op_sequences lay_out(struct op_test *test, const int *length,
                                   const struct attention_case *c)
{
    int32_t *starts = op_test_integers(test, c->sequences);
    int32_t *lengths = op_test_integers(test, c->sequences);
    struct op_sequences sequences = {.count = c->sequences, .start = starts, .length = lengths};
    for (int s = 0; s < c->sequences; s++) {
        starts[s] = (int32_t)sequences.rows;
        lengths[s] = length[s];
        sequences.rows += length[s] + c->padding;
        sequences.true_rows += length[s];
        sequences.max_length = length[s] > sequences.max_length ? length[s] : sequences.max_length;
    }
    sequences.head_rows = sequences.rows + c->padding;
    if (c->sequences == 1)
        sequences.step = sequences.rows;
    sequences.start_dev = op_test_integer_array(test, starts, c->sequences);
    sequences.length_dev = op_test_integer_array(test, lengths, c->sequences);
    return sequences;
}

static struct reference_attention reference_of(const struct attention_case *c,
                                               const struct op_sequences *queries,
                                               const struct op_sequences *keys)
{
    return (struct reference_attention){.heads = c->heads,
                                        .head_width = c->head_width,
                                        .sequences = c->sequences,
                                        .query_rows = queries->head_rows,
                                        .key_rows = keys->head_rows,
                                        .query_start = queries->start,
                                        .query_length = queries->length,
                                        .key_start = keys->start,
                                        .key_length = keys->length};
}

static bool in_a_sequence(const struct op_sequences *at, int64_t row)
{
    for (int s = 0; s < at->count; s++)
        if (row >= at->start[s] && row < at->start[s] + at->length[s])
            return true;
    return false;
}

/* NaN in rows of no sequence: nothing may read them. */
static void spoil_padding(double *values, int heads, int width, const struct op_sequences *at)
{
    for (int64_t r = 0; r < heads * at->head_rows; r++)
        for (int i = 0; !in_a_sequence(at, r % at->head_rows) && i < width; i++)
            values[r * width + i] = NAN;
}

/* Compare [heads][head rows][width] within each head of each sequence, since long and short ones
 * differ in size.  Rows of no sequence must be zero in gradients (d..), and finite in outputs (o),
 * which products multiply by zeros. */
static void expect_rows(struct op_test *test, const char *what, const void *array_dev,
                        const double *want, int heads, int width, const struct op_sequences *at,
                        double relative, double absolute, const double *spread)
{
    const double *got = op_test_read(test, array_dev);
    for (int h = 0; h < heads; h++)
        for (int s = 0; s < at->count; s++) {
            int64_t first = (h * at->head_rows + at->start[s]) * width;
            op_test_compare(what, got + first, want + first, (int64_t)at->length[s] * width,
                            relative, absolute, spread != NULL ? spread + first : NULL);
        }
    for (int64_t r = 0; r < heads * at->rows; r++)
        for (int i = 0; !in_a_sequence(at, r % at->rows) && i < width; i++) {
            double value = got[(r / at->rows * at->head_rows + r % at->rows) * width + i];
            if ((what[0] == 'd' && value != 0.0) || (what[0] == 'o' && !isfinite(value)))
                fail_msg("%s: padding row %lld holds %g", what, (long long)r, value);
        }
}

/* The reference's spreads; room for them. */
static struct reference_attention_spread spread_of(struct op_test *test, const double *o,
                                                   const double *d_o, const double *q,
                                                   const double *k, const double *v,
                                                   const struct reference_attention *at)
{
    int64_t query_count = at->query_rows * at->heads * at->head_width;
    int64_t key_count = at->key_rows * at->heads * at->head_width;
    struct reference_attention_spread out = {
        op_test_doubles(test, query_count), op_test_doubles(test, query_count),
        op_test_doubles(test, key_count), op_test_doubles(test, key_count)};
    reference_attention_spread(&out, o, d_o, q, k, v, at);
    return out;
}

static void attention(struct op_test *test, const void *argument)
{
    const struct attention_case *c = argument;
    int heads = c->heads, width = c->head_width;
    struct op_sequences queries = lay_out(test, c->query_length, c);
    struct op_sequences keys = lay_out(test, c->key_length, c);
    struct reference_attention at = reference_of(c, &queries, &keys);
    int64_t query_count = queries.head_rows * heads * width;
    int64_t key_count = keys.head_rows * heads * width;
    double *q = op_test_random(test, query_count, c->dtype, 1.0);
    double *k = op_test_random(test, key_count, c->dtype, 1.0);
    double *v = op_test_random(test, key_count, c->dtype, 1.0);
    double *d_o = op_test_random(test, query_count, c->dtype, 1.0);
    double *o = op_test_doubles(test, query_count), *lse = op_test_doubles(test, query_count);
    double *dq = op_test_doubles(test, query_count), *dk = op_test_doubles(test, key_count);
    double *dv = op_test_doubles(test, key_count);
    reference_attention_fwd(o, lse, q, k, v, &at);
    reference_attention_bwd(dq, dk, dv, d_o, q, k, v, &at);
    struct reference_attention_spread spread = spread_of(test, o, d_o, q, k, v, &at);
    spoil_padding(q, heads, width, &queries);
    spoil_padding(k, heads, width, &keys);
    spoil_padding(v, heads, width, &keys);

    void *q_dev = op_test_array(test, q, query_count, c->dtype);
    void *k_dev = op_test_array(test, k, key_count, c->dtype);
    void *v_dev = op_test_array(test, v, key_count, c->dtype);
    struct op_matrix out = op_test_matrix(test, NULL, queries.rows, heads * width, c->dtype);
    float *lse_dev = op_test_array(test, NULL, queries.head_rows * heads, OP_F32);
    op_test_ok(test->table->attention_fwd(test->device, out, lse_dev, q_dev, k_dev, v_dev, heads,
                                          width, &queries, &keys));
    double most = (double)keys.max_length;
    double bound = (12.0 + 2.0 * sqrt((double)width) + 2.0 * sqrt(most)) * 0x1p-24;
    /* What belongs to a key is summed over the queries. */
    double key_bound =
        (12.0 + 2.0 * sqrt((double)width) + 2.0 * sqrt((double)queries.max_length)) * 0x1p-24;
    double store = c->dtype == OP_BF16 ? 1.01 * op_test_epsilon(OP_BF16) : 0.0;
    double inner = c->dtype == OP_BF16 ? BF16_SPREADS * op_test_epsilon(OP_BF16) : 0.0;
    expect_rows(test, "o", out.data_dev, o, 1, heads * width, &queries, store + bound,
                inner + bound, spread.o);
    bool keys_everywhere = true; /* of no numbers the log of a sum is what you like */
    for (int seq = 0; seq < c->sequences; seq++)
        keys_everywhere = keys_everywhere && c->key_length[seq] > 0;
    if (keys_everywhere)
        expect_rows(test, "lse", lse_dev, lse, heads, 1, &queries, bound, bound, NULL);

    void *dq_dev = op_test_array(test, NULL, query_count, c->dtype);
    void *dk_dev = op_test_array(test, NULL, key_count, c->dtype);
    void *dv_dev = op_test_array(test, NULL, key_count, c->dtype);
    op_test_ok(test->table->attention_bwd(
        test->device, dq_dev, dk_dev, dv_dev,
        op_test_matrix(test, d_o, queries.rows, heads * width, c->dtype), out, lse_dev, q_dev,
        k_dev, v_dev, heads, width, &queries, &keys));
    expect_rows(test, "dq", dq_dev, dq, heads, width, &queries, store + 2.0 * bound,
                inner + 2.0 * bound, spread.dq);
    expect_rows(test, "dk", dk_dev, dk, heads, width, &keys, store + 2.0 * key_bound,
                inner + 2.0 * key_bound, spread.dk);
    expect_rows(test, "dv", dv_dev, dv, heads, width, &keys, store + 2.0 * key_bound,
                inner + 2.0 * key_bound, spread.dv);
}

static void attention_matches_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        op_test_repeat(attention, &cases[i]);
}

/* Scores of several hundred: exp must neither overflow nor lose the largest. */
static void large_scores(struct op_test *test, const void *argument)
{
    const struct attention_case *c = argument;
    struct op_sequences at = lay_out(test, c->query_length, c);
    struct reference_attention reference = reference_of(c, &at, &at);
    int64_t count = at.head_rows * c->heads * c->head_width;
    double *q = op_test_random(test, count, OP_F32, 12.0);
    double *k = op_test_random(test, count, OP_F32, 12.0);
    double *v = op_test_random(test, count, OP_F32, 1.0);
    double *o = op_test_doubles(test, count), *lse = op_test_doubles(test, count);
    reference_attention_fwd(o, lse, q, k, v, &reference);
    struct op_matrix out = op_test_matrix(test, NULL, at.rows, c->heads * c->head_width, OP_F32);
    op_test_ok(test->table->attention_fwd(
        test->device, out, NULL, op_test_array(test, q, count, OP_F32),
        op_test_array(test, k, count, OP_F32), op_test_array(test, v, count, OP_F32), c->heads,
        c->head_width, &at, &at));
    /* Partial sums of a score grow up to it and round width times at random, half a unit in the
     * last place each; the exponential is relative to the score's error. */
    double top = 0.0;
    for (int64_t i = 0; i < at.rows * c->heads; i++)
        top = fmax(top, fabs(lse[i]));
    assert_true(top > 300.0);
    op_test_expect(test, "o", out.data_dev, o, 0.0, sqrt((double)c->head_width) * top * 0x1p-24);
}

static void attention_stands_large_scores(void **state)
{
    (void)state;
    static const struct attention_case c = {2, 32, 2, OP_F32, 0, {70, 33}, {70, 33}};
    op_test_repeat(large_scores, &c);
}

struct differences {
    struct reference_attention at;
    double *q, *k, *v, *o, *lse, *weight;
};

static double weighted_output(void *context)
{
    struct differences *d = context;
    double sum = 0.0;
    reference_attention_fwd(d->o, d->lse, d->q, d->k, d->v, &d->at);
    for (int64_t i = 0; i < d->at.query_rows * d->at.heads * d->at.head_width; i++)
        sum += d->weight[i] * d->o[i];
    return sum;
}

static void differentiate(struct op_test *test, const void *argument)
{
    const struct attention_case *c = argument;
    struct op_sequences queries = lay_out(test, c->query_length, c);
    struct op_sequences keys = lay_out(test, c->key_length, c);
    struct differences d = {.at = reference_of(c, &queries, &keys)};
    int64_t query_count = queries.head_rows * c->heads * c->head_width;
    int64_t key_count = keys.head_rows * c->heads * c->head_width;
    d.q = op_test_random(test, query_count, OP_F32, 1.0);
    d.k = op_test_random(test, key_count, OP_F32, 1.0);
    d.v = op_test_random(test, key_count, OP_F32, 1.0);
    d.weight = op_test_random(test, query_count, OP_F32, 1.0);
    d.o = op_test_doubles(test, query_count);
    d.lse = op_test_doubles(test, query_count);
    double *dq = op_test_doubles(test, query_count), *dk = op_test_doubles(test, key_count);
    double *dv = op_test_doubles(test, key_count);
    reference_attention_bwd(dq, dk, dv, d.weight, d.q, d.k, d.v, &d.at);
    op_test_differences("dq", weighted_output, &d, d.q, dq, query_count);
    op_test_differences("dk", weighted_output, &d, d.k, dk, key_count);
    op_test_differences("dv", weighted_output, &d, d.v, dv, key_count);
}

static void the_reference_gradients_are_its_differences(void **state)
{
    (void)state;
    static const struct attention_case c = {2, 3, 2, OP_F32, 1, {4, 3}, {5, 2}};
    op_test_repeat(differentiate, &c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_matches_the_reference),
        cmocka_unit_test(attention_stands_large_scores),
        cmocka_unit_test(the_reference_gradients_are_its_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
