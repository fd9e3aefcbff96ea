/* A model that only predicts: the outputs of one that trains, losses by token, less memory. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/jepa_case.h"

static struct op_device *device;

static void open_case(struct jepa_case *it, int which)
{
    int count = 0;
    const struct jepa_case_shape *shapes = jepa_case_shapes(&count);
    assert_true(which < count);
    assert_int_equal(jepa_case_open(it, &shapes[which], 5), LS_OK);
    it->options.whole_target = true;
}

static struct jepa *model_of(struct jepa_case *it, bool forward_only)
{
    struct jepa *jepa = NULL;
    it->options.forward_only = forward_only;
    it->options.activation_checkpointing = forward_only;
    assert_int_equal(jepa_case_model(&jepa, it, &op_table_cpu, device), LS_OK);
    return jepa;
}

static float *output_of(struct jepa *jepa, enum jepa_output which, int group, int64_t count)
{
    float *out = malloc((size_t)count * sizeof *out);
    assert_non_null(out);
    assert_int_equal(jepa_output(jepa, which, group, out), LS_OK);
    return out;
}

/* As the training code's docstring has it: tokens by the lists, channels by hand. */
static double loss_of_token(const struct jepa_case *it, const float *predictions,
                            const float *targets, int group, int clip, int k)
{
    const int64_t dim = it->options.shape.dim;
    const int count = it->batch.predicted_count[group];
    const int64_t tokens = (int64_t)it->shape->grid[0] * it->shape->grid[1] * it->shape->grid[2];
    const int64_t token = it->batch.predicted[group][clip * count + k];
    const float *z = predictions + ((int64_t)clip * count + k) * dim;
    const float *h = targets + (clip * tokens + token) * dim;
    double sum = 0;
    for (int64_t c = 0; c < dim; c++)
        sum += pow(fabs((double)z[c] - h[c]), it->options.loss_exponent);
    return sum / it->options.loss_exponent / (double)dim;
}

static void check_group(const struct jepa_case *it, struct jepa *jepa, int group, double group_loss)
{
    const int count = it->batch.predicted_count[group];
    const int64_t dim = it->options.shape.dim;
    const int64_t tokens = (int64_t)it->shape->grid[0] * it->shape->grid[1] * it->shape->grid[2];
    double *losses = calloc((size_t)it->batch.clips * (size_t)count, sizeof *losses);
    assert_non_null(losses);
    float *predictions =
        output_of(jepa, JEPA_PREDICTION, group, (int64_t)it->batch.clips * count * dim);
    float *targets = output_of(jepa, JEPA_TARGET_NORM, 0, it->batch.clips * tokens * dim);
    double mean = 0;
    assert_int_equal(jepa_token_losses(jepa, group, losses), LS_OK);
    for (int b = 0; b < it->batch.clips; b++)
        for (int k = 0; k < count; k++) {
            const double wanted = loss_of_token(it, predictions, targets, group, b, k);
            assert_true(fabs(losses[b * count + k] - wanted) <= 1e-12 * wanted);
            mean += losses[b * count + k] / (it->batch.clips * count);
        }
    assert_true(fabs(mean - group_loss) <= 1e-6 * group_loss);
    free(losses);
    free(predictions);
    free(targets);
}

static void the_mean_of_token_losses_is_the_loss(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        struct jepa_case it;
        struct jepa_result result;
        open_case(&it, which);
        struct jepa *trained = model_of(&it, false);
        struct jepa *asked = model_of(&it, true);
        assert_int_equal(jepa_case_step(trained, &it, &result), LS_OK);
        assert_int_equal(jepa_predict(asked, &it.batch), LS_OK);
        for (int g = 0; g < it.options.groups; g++) {
            check_group(&it, trained, g, result.group_loss[g]);
            check_group(&it, asked, g, result.group_loss[g]);
        }
        jepa_close(&trained);
        jepa_close(&asked);
        jepa_case_close(&it);
    }
}

static void predictions_are_those_of_a_model_that_trains(void **state)
{
    (void)state;
    struct jepa_case it;
    open_case(&it, 1);
    struct jepa *models[2] = {model_of(&it, false), model_of(&it, true)};
    float *outputs[2];
    const int64_t count =
        (int64_t)it.batch.clips * it.batch.predicted_count[0] * it.options.shape.dim;
    assert_int_equal(jepa_case_step(models[0], &it, NULL), LS_OK);
    assert_int_equal(jepa_predict(models[1], &it.batch), LS_OK);
    for (int m = 0; m < 2; m++) {
        outputs[m] = output_of(models[m], JEPA_PREDICTION, 0, count);
        jepa_close(&models[m]);
    }
    assert_true(jepa_case_same_bits(outputs[0], outputs[1], count));
    free(outputs[0]);
    free(outputs[1]);
    jepa_case_close(&it);
}

static void it_takes_no_gradient_and_no_moments(void **state)
{
    (void)state;
    struct jepa_case it;
    struct jepa_memory memory;
    open_case(&it, 0);
    it.options.forward_only = true;
    assert_int_equal(jepa_plan(&memory, &it.options, &op_table_cpu, device), LS_OK);
    assert_int_equal(memory.gradient, 0);
    assert_int_equal(memory.moments, 0);
    assert_true(memory.weights > 0 && memory.ema > 0);
    jepa_case_close(&it);
}

static void it_cannot_be_trained(void **state)
{
    (void)state;
    struct jepa_case it;
    open_case(&it, 0);
    struct jepa *jepa = model_of(&it, true);
    double losses[4];
    assert_int_equal(jepa_token_losses(jepa, 0, losses), LS_USAGE); /* nothing has run */
    assert_int_equal(jepa_begin_step(jepa), LS_USAGE);
    jepa_close(&jepa);
    jepa_case_close(&it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mean_of_token_losses_is_the_loss),
        cmocka_unit_test(predictions_are_those_of_a_model_that_trains),
        cmocka_unit_test(it_takes_no_gradient_and_no_moments),
        cmocka_unit_test(it_cannot_be_trained),
    };
    if (op_cpu_open(&device, 2) != LS_OK)
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    op_cpu_close(&device);
    return failed;
}
