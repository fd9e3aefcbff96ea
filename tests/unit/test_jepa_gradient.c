/* Loss and gradients of whole models against the double-precision reference and its central
 * differences, on odd shapes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/random.h"
#include "tests/reference/jepa.h"
#include "tests/support/jepa_case.h"

static struct op_device *device;

struct doubles {
    double *weights, *ema;
};

static void to_doubles(struct doubles *out, const struct jepa_case *it)
{
    const int64_t count = it->parameters->flat_count;
    out->weights = calloc((size_t)count, sizeof *out->weights);
    out->ema = calloc((size_t)count, sizeof *out->ema);
    assert_non_null(out->weights);
    assert_non_null(out->ema);
    for (int64_t i = 0; i < count; i++) {
        out->weights[i] = (double)it->weights[i];
        out->ema[i] = (double)it->ema[i];
    }
}

static struct reference_jepa reference_of(const struct jepa_case *it)
{
    return (struct reference_jepa){.parameters = it->parameters,
                                   .batch = &it->batch,
                                   .height = it->options.height,
                                   .width = it->options.width,
                                   .groups = it->options.groups,
                                   .exponent = it->options.loss_exponent};
}

static void loss_is_the_references(void **state)
{
    (void)state;
    int count = 0;
    const struct jepa_case_shape *shapes = jepa_case_shapes(&count);
    for (int i = 0; i < count; i++) {
        struct jepa_case it;
        struct jepa *jepa = NULL;
        struct doubles at;
        struct jepa_result got;
        double groups[JEPA_CASE_GROUPS_MAX];
        assert_int_equal(jepa_case_open(&it, &shapes[i], 11), LS_OK);
        assert_int_equal(jepa_case_model(&jepa, &it, &op_table_cpu, device), LS_OK);
        assert_int_equal(jepa_case_step(jepa, &it, &got), LS_OK);
        to_doubles(&at, &it);
        const struct reference_jepa reference = reference_of(&it);
        const double loss = reference_jepa_loss(&reference, at.weights, at.ema, groups);
        if (!(fabs(got.loss - loss) <= 1e-6 * loss))
            fail_msg("%s: loss %.9g instead of %.9g", shapes[i].name, got.loss, loss);
        for (int g = 0; g < shapes[i].groups; g++)
            if (!(fabs(got.group_loss[g] - groups[g]) <= 1e-6 * groups[g]))
                fail_msg("%s: loss of group %d %.9g instead of %.9g", shapes[i].name, g,
                         got.group_loss[g], groups[g]);
        free(at.weights);
        free(at.ema);
        jepa_close(&jepa);
        jepa_case_close(&it);
    }
}

static double norm(const float *values, int64_t count)
{
    double square = 0.0;
    for (int64_t i = 0; i < count; i++)
        square += (double)values[i] * (double)values[i];
    return sqrt(square);
}

/* Directions with independent standard normal elements: the difference between the central
 * difference and the gradient's product with one has the variance |error of the gradient|^2, so
 * that the root mean square over a few of them estimates that error without bias. */
static double gradient_error(const struct reference_jepa *reference, const struct parameter *p,
                             struct doubles *at, const float *gradient, uint64_t seed)
{
    enum { DIRECTIONS = 3 };
    const double step = 1e-6;
    double square = 0.0;
    double *saved = calloc((size_t)p->count, sizeof *saved);
    double *direction = calloc((size_t)p->count, sizeof *direction);
    struct random_stream stream;
    assert_non_null(saved);
    assert_non_null(direction);
    random_open(&stream, seed, RANDOM_TEST, (uint64_t)p->offset, 0, 0);
    double *weights = at->weights + p->offset;
    for (int64_t i = 0; i < p->count; i++)
        saved[i] = weights[i];
    for (int k = 0; k < DIRECTIONS; k++) {
        double product = 0.0;
        double loss[2];
        for (int64_t i = 0; i < p->count; i++) {
            direction[i] = random_normal(&stream);
            product += direction[i] * (double)gradient[p->offset + i];
        }
        for (int side = 0; side < 2; side++) {
            for (int64_t i = 0; i < p->count; i++)
                weights[i] = saved[i] + (side == 0 ? step : -step) * direction[i];
            loss[side] = reference_jepa_loss(reference, at->weights, at->ema, NULL);
        }
        const double off = (loss[0] - loss[1]) / (2.0 * step) - product;
        square += off * off / DIRECTIONS;
    }
    for (int64_t i = 0; i < p->count; i++)
        weights[i] = saved[i];
    free(saved);
    free(direction);
    return sqrt(square);
}

static void check_gradients(const struct jepa_case_shape *shape)
{
    struct jepa_case it;
    struct jepa *jepa = NULL;
    struct doubles at;
    assert_int_equal(jepa_case_open(&it, shape, 7), LS_OK);
    assert_int_equal(jepa_case_model(&jepa, &it, &op_table_cpu, device), LS_OK);
    assert_int_equal(jepa_case_step(jepa, &it, NULL), LS_OK);
    const float *gradient = jepa_gradient_host(jepa);
    const struct reference_jepa reference = reference_of(&it);
    to_doubles(&at, &it);
    for (int i = 0; i < it.parameters->count; i++) {
        const struct parameter *p = &it.parameters->table[i];
        const double size = norm(gradient + p->offset, p->count);
        const double error = gradient_error(&reference, p, &at, gradient, 3);
        if (!(error <= 1e-4 * size + 1e-9))
            fail_msg("%s, %s: gradient of norm %.3g is off by %.3g", shape->name, p->name, size,
                     error);
    }
    free(at.weights);
    free(at.ema);
    jepa_close(&jepa);
    jepa_case_close(&it);
}

static void gradient_is_that_of_finite_differences_with_two_groups(void **state)
{
    (void)state;
    check_gradients(&jepa_case_shapes(&(int){0})[0]);
}

static void gradient_is_that_of_finite_differences_with_one_block(void **state)
{
    (void)state;
    check_gradients(&jepa_case_shapes(&(int){0})[1]);
}

static void gradient_is_that_of_finite_differences_with_three_groups(void **state)
{
    (void)state;
    check_gradients(&jepa_case_shapes(&(int){0})[2]);
}

static int open_device(void **state)
{
    (void)state;
    return op_cpu_open(&device, 2) == LS_OK ? 0 : -1;
}

static int close_device(void **state)
{
    (void)state;
    op_cpu_close(&device);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_is_the_references),
        cmocka_unit_test(gradient_is_that_of_finite_differences_with_two_groups),
        cmocka_unit_test(gradient_is_that_of_finite_differences_with_one_block),
        cmocka_unit_test(gradient_is_that_of_finite_differences_with_three_groups),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
