/* The inner loops of the CPU twin by themselves, for every instruction set that this machine has.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/random.h"
#include "model/cpu/kernels.h"
#include "tests/reference/linear.h"

enum { TABLES_MAX = 3 };

/* Tables that can run here; the fewest lanes first. */
static int tables(const struct cpu_kernels *out[TABLES_MAX])
{
    int count = 0;
    if (__builtin_cpu_supports("sse4.1"))
        out[count++] = &cpu_kernels_sse41;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        out[count++] = &cpu_kernels_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        out[count++] = &cpu_kernels_avx512;
    return count;
}

static double ulp_of(double x)
{
    float f = (float)fabs(x);
    return (double)(nextafterf(f, INFINITY) - f);
}

static void for_all_tables(void (*check)(const struct cpu_kernels *kernels))
{
    const struct cpu_kernels *table[TABLES_MAX];
    int count = tables(table);
    assert_true(count > 0);
    for (int i = 0; i < count; i++)
        check(table[i]);
}

static void fill(float *x, int64_t count, uint32_t sample)
{
    struct random_stream stream;
    random_open(&stream, 7, RANDOM_TEST, 0, 0, sample);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)random_normal(&stream);
}

/* `count` random numbers; sample 0: zeros. */
static float *numbers(int64_t count, uint32_t sample)
{
    float *x = calloc((size_t)count, sizeof *x);
    if (x == NULL)
        abort();
    if (sample > 0)
        fill(x, count, sample);
    return x;
}

static void check_exponential(const struct cpu_kernels *kernels)
{
    enum { COUNT = 40001 };
    float *x = numbers(COUNT, 0), *got = numbers(COUNT, 0);
    double worst = 0.0;
    for (int i = 0; i < COUNT; i++) /* densest near 0, where softmax has most of its arguments */
        x[i] = (float)(i % 2 == 0 ? 87.0 * (2.0 * i / COUNT - 1.0) : 1.5 * (2.0 * i / COUNT - 1.0));
    kernels->exponential(got, x, COUNT);
    for (int i = 0; i < COUNT; i++) {
        double want = exp((double)x[i]);
        worst = fmax(worst, fabs((double)got[i] - want) / ulp_of(want));
    }
    if (worst > 2.0)
        fail_msg("%d lanes: exp is off by %.3g ulp", kernels->lanes, worst);
    free(x);
    free(got);
}

static void exponential_is_within_two_ulp(void **state)
{
    (void)state;
    for_all_tables(check_exponential);
}

static void check_ends(const struct cpu_kernels *kernels)
{
    const float x[] = {-INFINITY, -1e30f, -200.0f, -88.0f, 0.0f, 88.0f, NAN};
    float got[7];
    kernels->exponential(got, x, 7);
    for (int i = 0; i < 4; i++)
        assert_true(got[i] >= 0.0f && got[i] < 2e-38f);
    assert_true(got[4] == 1.0f);
    assert_true(fabs((double)got[5] / exp(88.0) - 1.0) < 1e-5);
    assert_true(isnan(got[6]));
}

static void exponential_ends_softly_and_keeps_nan(void **state)
{
    (void)state;
    for_all_tables(check_ends);
}

static void check_bf16(const struct cpu_kernels *kernels)
{
    /* Ties to even, carry into the exponent, overflow to infinity, NaN that would round to it. */
    static const struct {
        uint32_t in;
        uint16_t out;
    } cases[] = {
        {0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81},
        {0x3fffffff, 0x4000}, {0x7f7fffff, 0x7f80}, {0xff800000, 0xff80}, {0x7f800001, 0x7fc0},
        {0xffffffff, 0xffff}, {0x00000001, 0x0000}, {0x80000000, 0x8000}, {0x00018000, 0x0002},
    };
    enum { COUNT = sizeof cases / sizeof *cases };
    float in[COUNT], back[COUNT];
    uint16_t out[COUNT];
    for (int i = 0; i < COUNT; i++)
        memcpy(&in[i], &cases[i].in, sizeof in[i]);
    kernels->to_bf16(out, in, COUNT);
    kernels->to_f32(back, out, COUNT);
    for (int i = 0; i < COUNT; i++) {
        uint32_t bits;
        memcpy(&bits, &back[i], sizeof bits);
        assert_int_equal(out[i], cases[i].out);
        assert_int_equal(bits, (uint32_t)cases[i].out << 16);
    }
}

static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    for_all_tables(check_bf16);
}

struct product_case {
    int64_t m, n_vectors, k;
    bool a_across, packed, accumulate;
};

/* c[i,j] (+)= sum over l of a[i,l] * rows[j,l]; columns from n on must stay as they were. */
static void expect_product(const float *got, const float *before, const struct tile_product *p,
                           const float *rows, int64_t width, int64_t spare)
{
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < p->n; j++) {
            double sum = p->accumulate ? (double)before[i * p->c_row + j] : 0.0, size = 1.0;
            for (int64_t l = 0; l < p->k; l++) {
                double left = (double)p->a[i * p->a_row + l * p->a_step];
                sum += left * (double)rows[j * width + l];
                size += fabs(left * (double)rows[j * width + l]);
            }
            /* Two roundings a step at most, each of a partial sum below the sum of sizes. */
            double bound = 2.0 * (double)(p->k + 1) * 0x1p-24 * size;
            assert_true(fabs((double)got[i * p->c_row + j] - sum) <= bound);
        }
        for (int64_t j = p->n; j < p->n + spare; j++)
            assert_true(got[i * p->c_row + j] == before[i * p->c_row + j]);
    }
}

static void check_product(const struct cpu_kernels *kernels, const struct product_case *c)
{
    const int64_t n = c->n_vectors * kernels->lanes, spare = 5, width = c->k + spare;
    float *a = numbers(c->m * c->k, 1), *rows = numbers(n * width, 2), *b = numbers(n * c->k, 0);
    float *got = numbers(c->m * (n + spare), 3), *before = numbers(c->m * (n + spare), 3);
    const struct tile_product product = {.c = got,
                                         .c_row = n + spare,
                                         .a = a,
                                         .a_row = c->a_across ? 1 : c->k,
                                         .a_step = c->a_across ? c->m : 1,
                                         .b = b,
                                         .b_row = c->packed ? 0 : n,
                                         .m = c->m,
                                         .n = n,
                                         .k = c->k,
                                         .accumulate = c->accumulate};
    if (c->packed)
        kernels->pack_transposed(b, rows, width, n, c->k);
    for (int64_t j = 0; !c->packed && j < n; j++)
        for (int64_t l = 0; l < c->k; l++)
            b[l * n + j] = rows[j * width + l];
    kernels->product(&product);
    expect_product(got, before, &product, rows, width, spare);
    free(a);
    free(rows);
    free(b);
    free(got);
    free(before);
}

static void block_products_match_plain_loops(void **state)
{
    (void)state;
    static const struct product_case cases[] = {
        {6, 1, 1, false, false, false},  {12, 2, 16, false, true, false},
        {6, 3, 22, true, false, true},   {48, 4, 64, false, true, false},
        {18, 5, 7, true, true, true},    {192, 6, 48, true, false, true},
        {48, 12, 33, false, true, true},
    };
    const struct cpu_kernels *table[TABLES_MAX];
    int count = tables(table);
    for (int t = 0; t < count; t++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            check_product(table[t], &cases[i]);
}

/* Transposing 19 rows fills the last vector up with zeros, whatever lay there before. */
static void check_packing(const struct cpu_kernels *kernels)
{
    enum { ROWS = 19, WIDTH = 3, ROOM = 32 };
    float rows[ROWS * WIDTH], panels[ROOM * WIDTH];
    fill(rows, (int64_t)ROWS * WIDTH, 4);
    for (int i = 0; i < ROOM * WIDTH; i++)
        panels[i] = NAN;
    kernels->pack_transposed(panels, rows, WIDTH, ROWS, WIDTH);
    int padded = (ROWS + kernels->lanes - 1) / kernels->lanes * kernels->lanes;
    for (int first = 0; first < padded; first += kernels->panel_lanes) {
        int columns = padded - first < kernels->panel_lanes ? padded - first : kernels->panel_lanes;
        for (int j = 0; j < columns; j++)
            for (int c = 0; c < WIDTH; c++) {
                float want = first + j < ROWS ? rows[(first + j) * WIDTH + c] : 0.0f;
                assert_true(panels[first * WIDTH + c * columns + j] == want);
            }
    }
}

static void transposed_panels_are_filled_with_zeros(void **state)
{
    (void)state;
    for_all_tables(check_packing);
}

/* Every count around a vector's width: the tails are where such loops go wrong. */
static void check_tails(const struct cpu_kernels *kernels)
{
    enum { MOST = 70 };
    float x[MOST], y[MOST + 1], gradient[MOST];
    fill(x, MOST, 5);
    fill(gradient, MOST, 6);
    for (int n = 0; n < MOST; n++) {
        double square = 0.0, dot = 0.0;
        y[n] = 123.0f;
        kernels->gelu(y, x, n);
        for (int i = 0; i < n; i++) {
            assert_true(fabs((double)y[i] - reference_gelu((double)x[i])) < 1e-6);
            square += (double)x[i] * (double)x[i];
            dot += (double)x[i] * (double)gradient[i];
        }
        assert_true(fabs(kernels->square_sum(x, n) - square) <= 1e-12 * square);
        assert_true(fabs((double)kernels->dot(x, gradient, n) - dot) < 1e-5);
        kernels->gelu_bwd(y, gradient, x, n);
        for (int i = 0; i < n; i++)
            assert_true(fabs((double)y[i] -
                             (double)gradient[i] * reference_gelu_slope((double)x[i])) < 3e-6);
        assert_true(y[n] == 123.0f);
    }
}

static void tails_of_every_length_are_right(void **state)
{
    (void)state;
    for_all_tables(check_tails);
}

/* Scores in units of log(2), so 2^score is the exponential. */
static void check_softmax(const struct cpu_kernels *kernels)
{
    enum { MOST = 50, PADDED = 64 };
    float scores[PADDED], p[PADDED], inverse;
    fill(scores, PADDED, 8);
    for (int i = 0; i < PADDED; i += 3)
        scores[i] *= 30.0f;
    for (int n = 1; n <= MOST; n++) {
        double sum = 0x1p-1000;
        for (int i = 0; i < n; i++)
            sum += exp2((double)scores[i]);
        /* With a factor of 2 as well, which changes no digit. */
        float factor = n % 2 == 0 ? 2.0f : 1.0f;
        for (int i = 0; i < PADDED; i++)
            p[i] = scores[i] / factor;
        float lse = kernels->softmax(p, &inverse, n, PADDED, factor);
        assert_true(fabs((double)lse - log(sum)) <= 4 * 0x1p-24 * (1.0 + fabs(log(sum))));
        for (int i = 0; i < n; i++) {
            /* The difference to the largest score, up to 150, is rounded once. */
            double want = exp2((double)scores[i]) / sum;
            assert_true(fabs((double)(p[i] * inverse) - want) <= 100 * 0x1p-24 * want);
        }
        for (int i = n; i < PADDED; i++)
            assert_true(p[i] == 0.0f);
    }
}

static void softmax_ignores_what_is_beyond_the_keys(void **state)
{
    (void)state;
    for_all_tables(check_softmax);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponential_is_within_two_ulp),
        cmocka_unit_test(exponential_ends_softly_and_keeps_nan),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(block_products_match_plain_loops),
        cmocka_unit_test(transposed_panels_are_filled_with_zeros),
        cmocka_unit_test(tails_of_every_length_are_right),
        cmocka_unit_test(softmax_ignores_what_is_beyond_the_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
