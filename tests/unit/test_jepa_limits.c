/* What a model takes and what it refuses. */
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
}

static struct jepa *model_of(const struct jepa_case *it)
{
    struct jepa *jepa = NULL;
    assert_int_equal(jepa_case_model(&jepa, it, &op_table_cpu, device), LS_OK);
    return jepa;
}

/* The gradient of one step of the case as its options are; the caller frees. */
static float *gradient_of(const struct jepa_case *it, struct jepa_result *result)
{
    struct jepa *jepa = model_of(it);
    assert_int_equal(jepa_case_step(jepa, it, result), LS_OK);
    float *copy = jepa_case_copy(jepa_gradient_host(jepa), it->parameters->flat_count);
    jepa_close(&jepa);
    return copy;
}

static void smaller_batches_and_shorter_clips_fit_a_larger_model(void **state)
{
    (void)state;
    struct jepa_case it;
    struct jepa_result exact;
    struct jepa_result roomy;
    open_case(&it, 0);
    float *wanted = gradient_of(&it, &exact);
    it.options.clips += 2;
    it.options.frames += 2;
    float *got = gradient_of(&it, &roomy);
    assert_true(jepa_case_same_bits(got, wanted, it.parameters->flat_count));
    assert_true(exact.loss == roomy.loss);
    free(wanted);
    free(got);
    jepa_case_close(&it);
}

static void batches_beyond_the_limits_are_refused(void **state)
{
    (void)state;
    struct jepa_case it;
    open_case(&it, 0);
    it.options.max_context[0] = 8;
    struct jepa *jepa = model_of(&it);
    const int32_t negative[] = {-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    const int32_t beyond[] = {0, 1, 2, 3, 4, 5, 24, 6, 7, 8, 9, 10, 11, 12};
    const struct {
        struct jepa_batch batch;
        const char *message;
    } cases[] = {
        {{.clips = 3}, "a batch of 3 clips of 24 tokens, but the limits are 2 and 24"},
        {{.frames = 4}, "clips of 4 frames: at most 3, a multiple of 1"},
        {{.mask_token = 3}, "mask token 3 of 3"},
        {{.context_count = {9}},
         "mask group 0: 9 context tokens a clip, but the limits are 1 and 8"},
        {{.predicted_count = {0, 25}},
         "mask group 1: 25 predicted tokens a clip, but the limits are 1 and 24"},
        {{.predicted_count = {20}}, "mask group 0: 7 context and 20 predicted tokens of 24"},
        {{.context = {negative}}, "mask group 0: context token -1 of a clip of 24"},
        {{.context = {beyond}}, "mask group 0: context token 24 of a clip of 24"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct jepa_batch *change = &cases[i].batch;
        struct jepa_batch batch = it.batch;
        int32_t *longer = calloc(128, sizeof *longer); /* room for counts that are refused */
        assert_non_null(longer);
        batch.clips = change->clips > 0 ? change->clips : batch.clips;
        batch.frames = change->frames > 0 ? change->frames : batch.frames;
        batch.mask_token = change->mask_token > 0 ? change->mask_token : batch.mask_token;
        for (int g = 0; g < 2; g++) {
            if (change->context_count[g] > 0) {
                batch.context_count[g] = change->context_count[g];
                batch.context[g] = longer;
            }
            if (change->predicted_count[g] > 0) {
                batch.predicted_count[g] = change->predicted_count[g];
                batch.predicted[g] = longer;
            }
            if (change->context[g] != NULL)
                batch.context[g] = change->context[g];
        }
        assert_int_equal(jepa_begin_step(jepa), LS_OK);
        assert_int_equal(jepa_micro_batch(jepa, &batch, 1.0, NULL, NULL), LS_USAGE);
        assert_string_equal(status_message(), cases[i].message);
        free(longer);
    }
    /* A refusal leaves the model as it was. */
    assert_int_equal(jepa_case_step(jepa, &it, NULL), LS_OK);
    jepa_close(&jepa);
    jepa_case_close(&it);
}

static void options_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct jepa_case it;
    struct jepa *jepa = NULL;
    open_case(&it, 0);
    const struct jepa_options good = it.options;
    struct jepa_options wrong[6];
    for (int i = 0; i < 6; i++)
        wrong[i] = good;
    wrong[0].width += 1;
    wrong[1].groups = CONFIG_MASK_GROUPS_MAX + 1;
    wrong[2].clips = 0;
    wrong[3].shape.heads = 3;
    wrong[4].loss_exponent = 0.0;
    wrong[5].clips = 1 << 30;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(jepa_open(&jepa, &wrong[i], &op_table_cpu, device), LS_USAGE);
        assert_null(jepa);
    }
    jepa_case_close(&it);
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
        cmocka_unit_test(smaller_batches_and_shorter_clips_fit_a_larger_model),
        cmocka_unit_test(batches_beyond_the_limits_are_refused),
        cmocka_unit_test(options_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
