/* GELU against the reference.  Error bounds: the argument's own rounding moves gelu by at most two
 * roundings of the result; the tail's polynomial and exponential add a few: 12 roundings relative
 * to the result, also in the tail (down to where e^(-x^2/2) itself amplifies the rounding of x^2:
 * x^2/2 roundings more).  The tanh form is 2e-4 off and must fail these bounds. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/reference/linear.h"
#include "tests/support/op_test.h"

struct gelu_case {
    int64_t m, n, k;
    enum op_dtype dtype;
    bool keep_pre;
};

static const struct gelu_case cases[] = {
    {1, 1, 3, OP_F32, true},     {3, 17, 5, OP_F32, false},    {100, 129, 40, OP_F32, true},
    {64, 768, 64, OP_F32, true}, {33, 250, 70, OP_BF16, true}, {5, 31, 8, OP_BF16, false},
};

static void gelu_of_a_linear_map(struct op_test *test, const void *argument)
{
    const struct gelu_case *c = argument;
    int64_t count = c->m * c->n;
    double *x = op_test_random(test, c->m * c->k, c->dtype, 1.0);
    double *w = op_test_random(test, c->n * c->k, c->dtype, 1.5 / sqrt((double)c->k));
    double *b = op_test_random(test, c->n, OP_F32, 0.5);
    double *want = op_test_doubles(test, count);
    struct op_matrix y = op_test_matrix(test, NULL, c->m, c->n, c->dtype);
    struct op_matrix pre = {NULL, c->m, c->n, c->dtype};
    if (c->keep_pre)
        pre = op_test_matrix(test, NULL, c->m, c->n, c->dtype);
    if (!op_test_product_ok(test, c->dtype,
                            test->table->linear_gelu_fwd(
                                test->device, y, pre, op_test_matrix(test, x, c->m, c->k, c->dtype),
                                op_test_matrix(test, w, c->n, c->k, c->dtype),
                                op_test_array(test, b, c->n, OP_F32))))
        return;
    if (test->table->rounds_bias)
        b = op_test_rounded(test, b, c->n, c->dtype);
    reference_linear_fwd(want, x, w, b, c->m, c->n, c->k, false);
    double sum = (4.0 + 2.0 * sqrt((double)c->k)) * 0x1p-24;
    /* `pre` may have been rounded to bf16 on its way to y. */
    double store = c->dtype == OP_BF16 ? 1.01 * op_test_epsilon(OP_BF16) : 0.0;
    if (c->keep_pre)
        op_test_expect(test, "pre", pre.data_dev, want, store + sum, sum);
    for (int64_t i = 0; i < count; i++)
        want[i] = reference_gelu(want[i]);
    op_test_expect(test, "y", y.data_dev, want, 2.0 * store + sum + 0x1p-21, sum + store);
}

static void gelu_follows_its_linear_map(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        op_test_repeat(gelu_of_a_linear_map, &cases[i]);
}

/* x = 0, +-1e-6 .. +-13 through a linear map of width 1 with weight 1: gelu itself. */
enum { POINTS = 4001 };

static double *points(struct op_test *test, enum op_dtype dtype)
{
    double *x = op_test_random(test, POINTS, dtype, 0.0);
    for (int i = 0; i < POINTS; i++) {
        float value = (float)(i * (26.0 / POINTS) - 13.0);
        if (i % 7 == 0)
            value *= 1e-3f;
        if (dtype == OP_BF16) {
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            bits &= 0xffff0000u;
            memcpy(&value, &bits, sizeof bits);
        }
        x[i] = (double)value;
    }
    return x;
}

static double point_bound(double x, enum op_dtype dtype)
{
    return (12.0 + x * x) * 0x1p-24 + (dtype == OP_BF16 ? 1.01 * op_test_epsilon(OP_BF16) : 0.0);
}

static void gelu_points(struct op_test *test, const void *argument)
{
    enum op_dtype dtype = *(const enum op_dtype *)argument;
    double *x = points(test, dtype);
    double one[1] = {1.0};
    struct op_matrix y = op_test_matrix(test, NULL, POINTS, 1, dtype);
    struct op_matrix pre = op_test_matrix(test, NULL, POINTS, 1, dtype);
    if (!op_test_product_ok(test, dtype,
                            test->table->linear_gelu_fwd(
                                test->device, y, pre, op_test_matrix(test, x, POINTS, 1, dtype),
                                op_test_matrix(test, one, 1, 1, dtype), NULL)))
        return;
    const double *got = op_test_read(test, y.data_dev);
    int tanh_would_miss = 0;
    for (int i = 0; i < POINTS; i++) {
        double want = reference_gelu(x[i]), bound = point_bound(x[i], dtype) * fabs(want);
        if (fabs(x[i]) > 10.0) /* below e^-50 only the size of the value is kept */
            bound = 1e-21;
        if (!(fabs(got[i] - want) <= bound))
            fail_msg("gelu(%.9g) = %.9g, want %.9g", x[i], got[i], want);
        tanh_would_miss += fabs(reference_gelu_tanh(x[i]) - want) > bound;
    }
    /* The bounds tell the tanh form apart at hundreds of the points, in bf16 too. */
    assert_true(tanh_would_miss > 400);
}

static void gelu_is_the_exact_one_and_not_the_tanh_form(void **state)
{
    (void)state;
    static const enum op_dtype dtypes[] = {OP_F32, OP_BF16};
    for (int i = 0; i < 2; i++)
        op_test_repeat(gelu_points, &dtypes[i]);
}

struct gradient_case {
    enum op_dtype dtype;
    bool in_place;
};

static void gelu_gradient(struct op_test *test, const void *argument)
{
    const struct gradient_case *c = argument;
    double *x = points(test, c->dtype), *want = op_test_doubles(test, POINTS);
    double *dy = op_test_random(test, POINTS, c->dtype, 1.0);
    struct op_matrix in = op_test_matrix(test, dy, POINTS, 1, c->dtype);
    struct op_matrix out = c->in_place ? in : op_test_matrix(test, NULL, POINTS, 1, c->dtype);
    op_test_ok(
        test->table->gelu_bwd(test->device, out, in, op_test_matrix(test, x, POINTS, 1, c->dtype)));
    for (int i = 0; i < POINTS; i++)
        want[i] = dy[i] * reference_gelu_slope(x[i]);
    /* Near x = -0.75 the slope is a difference of two numbers of size 0.3. */
    double store = c->dtype == OP_BF16 ? 1.01 * op_test_epsilon(OP_BF16) : 0.0;
    op_test_expect(test, "dpre", out.data_dev, want, 0x1p-21 + store, 0x1p-21);
}

static void gelu_gradient_matches_the_reference(void **state)
{
    (void)state;
    static const struct gradient_case kinds[] = {
        {OP_F32, false}, {OP_F32, true}, {OP_BF16, false}, {OP_BF16, true}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        op_test_repeat(gelu_gradient, &kinds[i]);
}

static double gelu_at(void *context)
{
    return reference_gelu(*(double *)context);
}

static void the_reference_slope_is_its_differences(void **state)
{
    (void)state;
    for (int i = -11; i <= 11; i++) {
        double at = 0.37 * i, slope = reference_gelu_slope(at);
        op_test_differences("gelu", gelu_at, &at, &at, &slope, 1);
    }
}

static void not_a_number(struct op_test *test, const void *argument)
{
    (void)argument;
    double x[3] = {1.0, (double)NAN, -1.0}, one[1] = {1.0};
    struct op_matrix y = op_test_matrix(test, NULL, 3, 1, OP_F32);
    op_test_ok(test->table->linear_gelu_fwd(test->device, y, (struct op_matrix){NULL, 3, 1, OP_F32},
                                            op_test_matrix(test, x, 3, 1, OP_F32),
                                            op_test_matrix(test, one, 1, 1, OP_F32), NULL));
    const double *got = op_test_read(test, y.data_dev);
    assert_true(isfinite(got[0]) && isnan(got[1]) && isfinite(got[2]));
}

static void not_a_number_stays_one(void **state)
{
    (void)state;
    op_test_repeat(not_a_number, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gelu_follows_its_linear_map),
        cmocka_unit_test(gelu_is_the_exact_one_and_not_the_tanh_form),
        cmocka_unit_test(gelu_gradient_matches_the_reference),
        cmocka_unit_test(the_reference_slope_is_its_differences),
        cmocka_unit_test(not_a_number_stays_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
