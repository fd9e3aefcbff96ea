/* LayerNorm against the reference.  Error bound: sums of N float32 numbers by vector lanes have
 * about sqrt(N) / 4 roundings, each output a handful more: 24 roundings of the result or of the
 * results' rms up to N = 4096.  Subtracting a mean that is large against the spread costs digits of
 * x itself, so that case has its own bound. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/reference/layernorm.h"
#include "tests/support/op_test.h"

static const double EPS = 1e-6;

struct layernorm_case {
    int64_t rows, columns;
    enum op_dtype in, out;
    bool gain, accumulate;
    double shift; /* added to x: mean large against the spread */
};

static const struct layernorm_case cases[] = {
    {1, 3, OP_F32, OP_F32, true, false, 0.0},     {3, 5, OP_F32, OP_F32, true, true, 0.0},
    {33, 17, OP_F32, OP_F32, false, false, 0.0},  {200, 192, OP_F32, OP_F32, true, true, 0.0},
    {67, 384, OP_F32, OP_F32, false, true, 0.0},  {40, 1000, OP_F32, OP_F32, true, false, 0.0},
    {30, 100, OP_F32, OP_F32, true, false, 64.0}, {70, 96, OP_F32, OP_BF16, true, false, 0.0},
    {41, 83, OP_BF16, OP_BF16, true, true, 0.0},
};

/* Roundings that are lost where the mean cancels. */
static double bound_of(const struct layernorm_case *c)
{
    return (24.0 + 4.0 * c->shift) * 0x1p-24;
}

static double store_bound(enum op_dtype dtype)
{
    return dtype == OP_BF16 ? 1.01 * op_test_epsilon(OP_BF16) : 0.0;
}

static double *shifted_input(struct op_test *test, const struct layernorm_case *c)
{
    double *x = op_test_random(test, c->rows * c->columns, c->in, 1.0);
    for (int64_t i = 0; c->shift != 0.0 && i < c->rows * c->columns; i++)
        x[i] = (double)(float)(x[i] + c->shift);
    return x;
}

static void layernorm_fwd(struct op_test *test, const void *argument)
{
    const struct layernorm_case *c = argument;
    int64_t count = c->rows * c->columns;
    double *x = shifted_input(test, c);
    double *gain = op_test_random(test, c->columns, OP_F32, 1.0);
    double *bias = op_test_random(test, c->columns, OP_F32, 1.0);
    double *y = op_test_doubles(test, count);
    double *mean = op_test_doubles(test, c->rows), *rstd = op_test_doubles(test, c->rows);
    struct op_matrix out = op_test_matrix(test, NULL, c->rows, c->columns, c->out);
    float *mean_dev = op_test_array(test, NULL, c->rows, OP_F32);
    float *rstd_dev = op_test_array(test, NULL, c->rows, OP_F32);
    op_test_ok(test->table->layernorm_fwd(
        test->device, out, mean_dev, rstd_dev, op_test_matrix(test, x, c->rows, c->columns, c->in),
        c->gain ? op_test_array(test, gain, c->columns, OP_F32) : NULL,
        c->gain ? op_test_array(test, bias, c->columns, OP_F32) : NULL, (float)EPS));
    reference_layernorm_fwd(y, mean, rstd, x, c->gain ? gain : NULL, c->gain ? bias : NULL, c->rows,
                            c->columns, (double)(float)EPS);
    op_test_expect(test, "y", out.data_dev, y, bound_of(c) + store_bound(c->out), bound_of(c));
    op_test_expect(test, "mean", mean_dev, mean, bound_of(c), bound_of(c));
    op_test_expect(test, "rstd", rstd_dev, rstd, bound_of(c), 0.0);
}

static void layernorm_bwd(struct op_test *test, const void *argument)
{
    const struct layernorm_case *c = argument;
    int64_t count = c->rows * c->columns;
    double *x = shifted_input(test, c);
    double *dy = op_test_random(test, count, c->out, 1.0);
    double *gain = op_test_random(test, c->columns, OP_F32, 1.0);
    double *before = op_test_random(test, count, c->in, 1.0);
    double *dgain = op_test_random(test, c->columns, OP_F32, 1.0);
    double *dbias = op_test_random(test, c->columns, OP_F32, 1.0);
    double *dx = op_test_doubles(test, count), *y = op_test_doubles(test, count);
    double *mean = op_test_doubles(test, c->rows), *rstd = op_test_doubles(test, c->rows);
    reference_layernorm_fwd(y, mean, rstd, x, NULL, NULL, c->rows, c->columns, (double)(float)EPS);
    struct op_matrix out =
        op_test_matrix(test, c->accumulate ? before : NULL, c->rows, c->columns, c->in);
    float *dgain_dev = c->gain ? op_test_array(test, dgain, c->columns, OP_F32) : NULL;
    float *dbias_dev = c->gain ? op_test_array(test, dbias, c->columns, OP_F32) : NULL;
    op_test_ok(test->table->layernorm_bwd(
        test->device, out, dgain_dev, dbias_dev,
        op_test_matrix(test, dy, c->rows, c->columns, c->out),
        op_test_matrix(test, x, c->rows, c->columns, c->in),
        op_test_array(test, mean, c->rows, OP_F32), op_test_array(test, rstd, c->rows, OP_F32),
        c->gain ? op_test_array(test, gain, c->columns, OP_F32) : NULL, c->accumulate));
    reference_layernorm_bwd(dx, dgain, dbias, dy, x, c->gain ? gain : NULL, c->rows, c->columns,
                            (double)(float)EPS);
    for (int64_t i = 0; c->accumulate && i < count; i++)
        dx[i] += before[i];
    op_test_expect(test, "dx", out.data_dev, dx, bound_of(c) + store_bound(c->in), bound_of(c));
    if (c->gain) {
        op_test_expect(test, "dgain", dgain_dev, dgain, bound_of(c), bound_of(c));
        op_test_expect(test, "dbias", dbias_dev, dbias, bound_of(c), bound_of(c));
    }
}

static void layernorm_forward_matches_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        op_test_repeat(layernorm_fwd, &cases[i]);
}

static void layernorm_gradient_matches_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        op_test_repeat(layernorm_bwd, &cases[i]);
}

/* One rounding of a constant row would be blown up by 1 / sqrt(eps): two passes give exactly 0. */
static void constant_rows(struct op_test *test, const void *argument)
{
    (void)argument;
    enum { ROWS = 2, COLUMNS = 64 };
    double *x = op_test_doubles(test, (int64_t)ROWS * COLUMNS);
    for (int i = 0; i < ROWS * COLUMNS; i++)
        x[i] = i < COLUMNS ? 1024.5 : -0.3;
    struct op_matrix y = op_test_matrix(test, NULL, ROWS, COLUMNS, OP_F32);
    op_test_ok(test->table->layernorm_fwd(test->device, y, NULL, NULL,
                                          op_test_matrix(test, x, ROWS, COLUMNS, OP_F32), NULL,
                                          NULL, (float)EPS));
    const double *got = op_test_read(test, y.data_dev);
    for (int i = 0; i < ROWS * COLUMNS; i++)
        assert_true(got[i] == 0.0);
}

static void layernorm_of_constant_rows_is_zero(void **state)
{
    (void)state;
    op_test_repeat(constant_rows, NULL);
}

struct differences {
    double *x, *gain, *bias, *y, *mean, *rstd, *weight;
    int64_t rows, columns;
};

static double weighted_output(void *context)
{
    struct differences *d = context;
    double sum = 0.0;
    reference_layernorm_fwd(d->y, d->mean, d->rstd, d->x, d->gain, d->bias, d->rows, d->columns,
                            EPS);
    for (int64_t i = 0; i < d->rows * d->columns; i++)
        sum += d->weight[i] * d->y[i];
    return sum;
}

static void differentiate(struct op_test *test, const void *argument)
{
    (void)argument;
    struct differences d = {.rows = 4, .columns = 7};
    int64_t count = d.rows * d.columns;
    d.x = op_test_random(test, count, OP_F32, 1.0);
    d.gain = op_test_random(test, d.columns, OP_F32, 1.0);
    d.bias = op_test_random(test, d.columns, OP_F32, 1.0);
    d.weight = op_test_random(test, count, OP_F32, 1.0);
    d.y = op_test_doubles(test, count);
    d.mean = op_test_doubles(test, d.rows);
    d.rstd = op_test_doubles(test, d.rows);
    double *dx = op_test_doubles(test, count), *dgain = op_test_doubles(test, d.columns);
    double *dbias = op_test_doubles(test, d.columns);
    reference_layernorm_bwd(dx, dgain, dbias, d.weight, d.x, d.gain, d.rows, d.columns, EPS);
    op_test_differences("dx", weighted_output, &d, d.x, dx, count);
    op_test_differences("dgain", weighted_output, &d, d.gain, dgain, d.columns);
    op_test_differences("dbias", weighted_output, &d, d.bias, dbias, d.columns);
}

static void the_reference_gradients_are_its_differences(void **state)
{
    (void)state;
    op_test_repeat(differentiate, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layernorm_forward_matches_the_reference),
        cmocka_unit_test(layernorm_gradient_matches_the_reference),
        cmocka_unit_test(layernorm_of_constant_rows_is_zero),
        cmocka_unit_test(the_reference_gradients_are_its_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
