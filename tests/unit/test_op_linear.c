/* Linear maps against the reference.  Error bound: a float32 sum of K terms rounds its partial
 * sums, which grow like sqrt(K) up to the result.  So its error is about sqrt(K) roundings of the
 * result or of the results' rms, whichever is larger, with a factor for the worst of 10^5 elements.
 * bf16 operands are exact inputs here: only the store adds its own rounding, and the bias of a bf16
 * output may be rounded (rounds_bias). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/reference/linear.h"
#include "tests/support/op_test.h"

struct linear_case {
    int64_t m, n, k;
    enum op_dtype in, out;
    bool bias, accumulate;
};

static const struct linear_case cases[] = {
    {1, 1, 1, OP_F32, OP_F32, true, false},      {3, 5, 7, OP_F32, OP_F32, false, true},
    {17, 33, 19, OP_F32, OP_F32, true, true},    {64, 96, 32, OP_F32, OP_F32, true, false},
    {131, 77, 101, OP_F32, OP_F32, true, true},  {300, 192, 768, OP_F32, OP_F32, true, false},
    {1, 100, 300, OP_F32, OP_F32, false, false}, {33, 66, 130, OP_BF16, OP_F32, true, true},
    {65, 70, 31, OP_BF16, OP_BF16, true, false}, {16, 48, 200, OP_BF16, OP_BF16, false, true},
};

static double sum_bound(int64_t terms)
{
    return (4.0 + 2.0 * sqrt((double)terms)) * 0x1p-24;
}

static double store_bound(enum op_dtype dtype)
{
    return dtype == OP_BF16 ? 1.01 * op_test_epsilon(OP_BF16) : 0.0;
}

static void linear_fwd(struct op_test *test, const void *argument)
{
    const struct linear_case *c = argument;
    double *x = op_test_random(test, c->m * c->k, c->in, 1.0);
    double *w = op_test_random(test, c->n * c->k, c->in, 1.0);
    double *b = op_test_random(test, c->n, OP_F32, 3.0);
    double *y = op_test_random(test, c->m * c->n, c->out, 2.0);
    struct op_matrix out = op_test_matrix(test, c->accumulate ? y : NULL, c->m, c->n, c->out);
    const float *bias = c->bias ? op_test_array(test, b, c->n, OP_F32) : NULL;
    if (!op_test_product_ok(test, c->in,
                            test->table->linear_fwd(
                                test->device, out, op_test_matrix(test, x, c->m, c->k, c->in),
                                op_test_matrix(test, w, c->n, c->k, c->in), bias, c->accumulate)))
        return;
    if (test->table->rounds_bias)
        b = op_test_rounded(test, b, c->n, c->out);
    reference_linear_fwd(y, x, w, c->bias ? b : NULL, c->m, c->n, c->k, c->accumulate);
    op_test_expect(test, "y", out.data_dev, y, store_bound(c->out) + sum_bound(c->k),
                   sum_bound(c->k));
}

static void linear_bwd_data(struct op_test *test, const void *argument)
{
    const struct linear_case *c = argument;
    double *dy = op_test_random(test, c->m * c->n, c->in, 1.0);
    double *w = op_test_random(test, c->n * c->k, c->in, 1.0);
    double *dx = op_test_random(test, c->m * c->k, c->out, 2.0);
    struct op_matrix out = op_test_matrix(test, c->accumulate ? dx : NULL, c->m, c->k, c->out);
    if (!op_test_product_ok(test, c->in,
                            test->table->linear_bwd_data(
                                test->device, out, op_test_matrix(test, dy, c->m, c->n, c->in),
                                op_test_matrix(test, w, c->n, c->k, c->in), c->accumulate)))
        return;
    reference_linear_bwd_data(dx, dy, w, c->m, c->n, c->k, c->accumulate);
    op_test_expect(test, "dx", out.data_dev, dx, store_bound(c->out) + sum_bound(c->n),
                   sum_bound(c->n));
}

static void linear_bwd_weight(struct op_test *test, const void *argument)
{
    const struct linear_case *c = argument;
    double *dy = op_test_random(test, c->m * c->n, c->in, 1.0);
    double *x = op_test_random(test, c->m * c->k, c->in, 1.0);
    double *dw = op_test_random(test, c->n * c->k, OP_F32, 1.0);
    double *db = op_test_random(test, c->n, OP_F32, 1.0);
    float *dw_dev = op_test_array(test, dw, c->n * c->k, OP_F32);
    float *db_dev = c->bias ? op_test_array(test, db, c->n, OP_F32) : NULL;
    if (!op_test_product_ok(
            test, c->in,
            test->table->linear_bwd_weight(test->device, dw_dev, db_dev,
                                           op_test_matrix(test, dy, c->m, c->n, c->in),
                                           op_test_matrix(test, x, c->m, c->k, c->in))))
        return;
    reference_linear_bwd_weight(dw, c->bias ? db : NULL, dy, x, c->m, c->n, c->k);
    op_test_expect(test, "dw", dw_dev, dw, sum_bound(c->m), sum_bound(c->m));
    if (c->bias)
        op_test_expect(test, "db", db_dev, db, sum_bound(c->m), sum_bound(c->m));
}

static void gram(struct op_test *test, const void *argument)
{
    const struct linear_case *c = argument;
    double *x = op_test_random(test, c->m * c->k, c->in, 1.0);
    double *sums = op_test_random(test, c->k * c->k, OP_F32, 1.0);
    float *out = op_test_array(test, sums, c->k * c->k, OP_F32);
    if (!op_test_product_ok(
            test, c->in,
            test->table->gram(test->device, out, op_test_matrix(test, x, c->m, c->k, c->in))))
        return;
    reference_linear_bwd_weight(sums, NULL, x, x, c->m, c->k, c->k);
    /* The diagonal is a sum of squares: all of one sign, so larger than the rest by sqrt(M). */
    op_test_expect(test, "gram", out, sums, sum_bound(c->m), sum_bound(c->m));
}

static void for_all_cases(void (*one)(struct op_test *, const void *))
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        op_test_repeat(one, &cases[i]);
}

static void linear_forward_matches_the_reference(void **state)
{
    (void)state;
    for_all_cases(linear_fwd);
}

static void linear_data_gradient_matches_the_reference(void **state)
{
    (void)state;
    for_all_cases(linear_bwd_data);
}

static void linear_weight_gradient_matches_the_reference(void **state)
{
    (void)state;
    for_all_cases(linear_bwd_weight);
}

static void gram_matrix_matches_the_reference(void **state)
{
    (void)state;
    for_all_cases(gram);
}

struct differences {
    double *x, *w, *b, *y, *weight;
    int64_t m, n, k;
};

static double weighted_output(void *context)
{
    struct differences *d = context;
    double sum = 0.0;
    reference_linear_fwd(d->y, d->x, d->w, d->b, d->m, d->n, d->k, false);
    for (int64_t i = 0; i < d->m * d->n; i++)
        sum += d->weight[i] * d->y[i];
    return sum;
}

static void differentiate(struct op_test *test, const void *argument)
{
    (void)argument;
    struct differences d = {.m = 5, .n = 3, .k = 7};
    d.x = op_test_random(test, d.m * d.k, OP_F32, 1.0);
    d.w = op_test_random(test, d.n * d.k, OP_F32, 1.0);
    d.b = op_test_random(test, d.n, OP_F32, 1.0);
    d.weight = op_test_random(test, d.m * d.n, OP_F32, 1.0);
    d.y = op_test_doubles(test, d.m * d.n);
    double *dx = op_test_doubles(test, d.m * d.k), *dw = op_test_doubles(test, d.n * d.k);
    double *db = op_test_doubles(test, d.n);
    reference_linear_bwd_data(dx, d.weight, d.w, d.m, d.n, d.k, false);
    reference_linear_bwd_weight(dw, db, d.weight, d.x, d.m, d.n, d.k);
    op_test_differences("dx", weighted_output, &d, d.x, dx, d.m * d.k);
    op_test_differences("dw", weighted_output, &d, d.w, dw, d.n * d.k);
    op_test_differences("db", weighted_output, &d, d.b, db, d.n);
}

static void the_reference_gradients_are_its_differences(void **state)
{
    (void)state;
    op_test_repeat(differentiate, NULL);
}

static void refuse(struct op_test *test, const void *argument)
{
    (void)argument;
    struct op_matrix a = op_test_matrix(test, NULL, 4, 8, OP_F32);
    struct op_matrix b = op_test_matrix(test, NULL, 4, 7, OP_F32);
    struct op_matrix c = op_test_matrix(test, NULL, 4, 8, OP_BF16);
    struct op_matrix y = op_test_matrix(test, NULL, 4, 4, OP_F32);
    assert_int_equal(test->table->linear_fwd(test->device, y, a, b, NULL, false), LS_USAGE);
    assert_int_equal(test->table->linear_fwd(test->device, y, a, c, NULL, false), LS_USAGE);
    assert_int_equal(test->table->linear_bwd_data(test->device, a, y, b, false), LS_USAGE);
}

static void shapes_and_dtypes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    op_test_repeat(refuse, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_forward_matches_the_reference),
        cmocka_unit_test(linear_data_gradient_matches_the_reference),
        cmocka_unit_test(linear_weight_gradient_matches_the_reference),
        cmocka_unit_test(gram_matrix_matches_the_reference),
        cmocka_unit_test(the_reference_gradients_are_its_differences),
        cmocka_unit_test(shapes_and_dtypes_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
