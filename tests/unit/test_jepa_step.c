/* What a step promises beside its numbers: bits, order of the gradient reports, memory, mask
 * tokens, refusals. */
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

static void activation_checkpointing_changes_no_bit(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        struct jepa_case it;
        struct jepa_result kept;
        struct jepa_result recomputed;
        open_case(&it, which);
        float *first = gradient_of(&it, &kept);
        it.options.activation_checkpointing = true;
        for (int blocks = 0; blocks <= jepa_checkpointable(&it.options.shape); blocks++) {
            it.options.checkpointed_blocks = blocks;
            float *second = gradient_of(&it, &recomputed);
            assert_true(jepa_case_same_bits(first, second, it.parameters->flat_count));
            assert_true(kept.loss == recomputed.loss);
            free(second);
        }
        free(first);
        jepa_case_close(&it);
    }
}

static void activation_checkpointing_takes_less_memory(void **state)
{
    (void)state;
    struct jepa_case it;
    struct jepa_memory all;
    struct jepa_memory less;
    open_case(&it, 2); /* three blocks each */
    assert_int_equal(jepa_plan(&all, &it.options, &op_table_cpu, device), LS_OK);
    it.options.activation_checkpointing = true;
    assert_int_equal(jepa_plan(&less, &it.options, &op_table_cpu, device), LS_OK);
    assert_true(less.activations < all.activations * 3 / 4);
    assert_true(less.device < all.device);
    assert_int_equal(less.weights, all.weights);
    /* Block by block in between; the first of each network frees nothing. */
    int64_t before = all.activations;
    int steps = 0;
    for (int blocks = 1; blocks <= jepa_checkpointable(&it.options.shape); blocks++) {
        struct jepa_memory some;
        it.options.checkpointed_blocks = blocks;
        assert_int_equal(jepa_plan(&some, &it.options, &op_table_cpu, device), LS_OK);
        assert_true(some.activations <= before);
        steps += some.activations < before ? 1 : 0;
        before = some.activations;
    }
    assert_int_equal(before, less.activations);
    assert_int_equal(steps, jepa_checkpointable(&it.options.shape) - 2);
    jepa_case_close(&it);
}

static void a_step_repeats_bit_for_bit(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        struct jepa_case it;
        struct op_device *own = NULL;
        struct jepa *jepa = NULL;
        open_case(&it, 0);
        assert_int_equal(op_cpu_open(&own, threads), LS_OK);
        assert_int_equal(jepa_case_model(&jepa, &it, &op_table_cpu, own), LS_OK);
        assert_int_equal(jepa_case_step(jepa, &it, NULL), LS_OK);
        float *first = jepa_case_copy(jepa_gradient_host(jepa), it.parameters->flat_count);
        for (int repeat = 0; repeat < 20; repeat++) {
            assert_int_equal(jepa_case_step(jepa, &it, NULL), LS_OK);
            assert_true(
                jepa_case_same_bits(first, jepa_gradient_host(jepa), it.parameters->flat_count));
        }
        free(first);
        jepa_close(&jepa);
        op_cpu_close(&own);
        jepa_case_close(&it);
    }
}

static void micro_batches_accumulate(void **state)
{
    (void)state;
    struct jepa_case it;
    struct jepa_case other;
    struct jepa_result result;
    struct jepa_result of_first;
    struct jepa_result of_second;
    open_case(&it, 0);
    assert_int_equal(jepa_case_open(&other, it.shape, 6), LS_OK);
    memcpy(other.weights, it.weights, (size_t)it.parameters->flat_count * sizeof(float));
    memcpy(other.ema, it.ema, (size_t)it.parameters->flat_count * sizeof(float));
    float *first = gradient_of(&it, &of_first);
    float *second = gradient_of(&other, &of_second);
    for (int64_t i = 0; i < it.parameters->flat_count; i++)
        first[i] = 0.25F * first[i] + 0.75F * second[i];

    struct jepa *jepa = model_of(&it);
    assert_int_equal(jepa_begin_step(jepa), LS_OK);
    assert_int_equal(jepa_micro_batch(jepa, &it.batch, 0.25, NULL, NULL), LS_OK);
    assert_int_equal(jepa_micro_batch(jepa, &other.batch, 0.75, jepa_case_ignore, NULL), LS_OK);
    assert_int_equal(jepa_result(jepa, &result), LS_OK);
    assert_true(jepa_case_difference(jepa_gradient_host(jepa), first, it.parameters->flat_count) <
                1e-6);
    assert_true(fabs(result.loss - 0.25 * of_first.loss - 0.75 * of_second.loss) < 1e-12);
    assert_true(fabs(result.group_loss[1] - 0.25 * of_first.group_loss[1] -
                     0.75 * of_second.group_loss[1]) < 1e-12);
    assert_true(result.flops == of_first.flops + of_second.flops);
    assert_int_equal(result.target_rows, of_first.target_rows + of_second.target_rows);
    free(first);
    free(second);
    jepa_close(&jepa);
    jepa_case_close(&it);
    jepa_case_close(&other);
}

struct reports {
    const float *gradient;
    float *seen; /* the gradient as it was when it was reported */
    int64_t end;
    int calls;
    int fail_at; /* call that fails; 0: none */
};

static ls_status take_report(void *context, int64_t offset, int64_t count)
{
    struct reports *reports = context;
    if (++reports->calls == reports->fail_at)
        return LS_FAIL(LS_COMM, "the peer has left");
    assert_true(count > 0);
    assert_int_equal(offset + count, reports->end);
    reports->end = offset;
    memcpy(reports->seen + offset, reports->gradient + offset, (size_t)count * sizeof(float));
    return LS_OK;
}

static void gradients_are_reported_when_final_from_the_end_to_the_front(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        struct jepa_case it;
        open_case(&it, which);
        const int64_t count = it.parameters->flat_count;
        struct jepa *jepa = model_of(&it);
        struct reports reports = {.gradient = jepa_gradient_host(jepa), .end = count};
        reports.seen = calloc((size_t)count, sizeof(float));
        assert_non_null(reports.seen);
        assert_int_equal(jepa_begin_step(jepa), LS_OK);
        assert_int_equal(jepa_micro_batch(jepa, &it.batch, 0.5, NULL, NULL), LS_OK);
        assert_int_equal(reports.calls, 0);
        assert_int_equal(jepa_micro_batch(jepa, &it.batch, 0.5, take_report, &reports), LS_OK);
        assert_int_equal(reports.end, 0);
        assert_true(jepa_case_same_bits(reports.seen, jepa_gradient_host(jepa), count));
        /* Six linear maps and norms a block, so that buckets can leave early. */
        const struct model_shape *s = &it.options.shape;
        assert_int_equal(reports.calls, 6 * (s->depth + s->pred_depth) + 5);
        free(reports.seen);
        jepa_close(&jepa);
        jepa_case_close(&it);
    }
}

static void a_failing_report_ends_the_micro_batch_with_its_status(void **state)
{
    (void)state;
    struct jepa_case it;
    open_case(&it, 0);
    struct jepa *jepa = model_of(&it);
    struct reports reports = {
        .gradient = jepa_gradient_host(jepa), .end = it.parameters->flat_count, .fail_at = 4};
    reports.seen = calloc((size_t)it.parameters->flat_count, sizeof(float));
    assert_non_null(reports.seen);
    assert_int_equal(jepa_begin_step(jepa), LS_OK);
    assert_int_equal(jepa_micro_batch(jepa, &it.batch, 1.0, take_report, &reports), LS_COMM);
    assert_string_equal(status_message(), "the peer has left");
    assert_int_equal(reports.calls, 4);
    free(reports.seen);
    jepa_close(&jepa);
    jepa_case_close(&it);
}

static void the_whole_target_changes_nothing_but_rounding(void **state)
{
    (void)state;
    struct jepa_case it;
    struct jepa_result some;
    struct jepa_result all;
    open_case(&it, 0);
    float *wanted = gradient_of(&it, &some);
    it.options.whole_target = true;
    float *got = gradient_of(&it, &all);
    assert_true(jepa_case_difference(got, wanted, it.parameters->flat_count) < 1e-5);
    assert_true(fabs(all.loss - some.loss) < 1e-6 * some.loss);
    free(wanted);
    free(got);
    jepa_case_close(&it);
}

/* The same clip as uint8 [B, T, H, W, 3] and as what normalising it by hand gives. */
static void bytes_are_normalised_like_the_public_code(void **state)
{
    (void)state;
    static const double mean[3] = {0.485, 0.456, 0.406};
    static const double std[3] = {0.229, 0.224, 0.225};
    struct jepa_case it;
    struct jepa_result of_floats;
    struct jepa_result of_bytes;
    open_case(&it, 0);
    const struct jepa_options *o = &it.options;
    const int64_t plane = (int64_t)o->height * o->width;
    uint8_t *bytes = calloc((size_t)it.pixel_count, 1);
    assert_non_null(bytes);
    for (int64_t clip = 0; clip < o->clips; clip++)
        for (int64_t t = 0; t < o->frames; t++)
            for (int64_t i = 0; i < plane; i++)
                for (int64_t c = 0; c < 3; c++) {
                    const uint8_t byte = (uint8_t)((clip * 91 + t * 57 + i * 29 + c * 83) % 256);
                    bytes[((clip * o->frames + t) * plane + i) * 3 + c] = byte;
                    it.pixels[((clip * 3 + c) * o->frames + t) * plane + i] =
                        (float)((byte / 255.0 - mean[c]) / std[c]);
                }
    float *wanted = gradient_of(&it, &of_floats);
    it.options.float_clips = false;
    it.batch.pixels = bytes;
    float *got = gradient_of(&it, &of_bytes);
    assert_true(fabs(of_bytes.loss - of_floats.loss) < 1e-6 * of_floats.loss);
    assert_true(jepa_case_difference(got, wanted, it.parameters->flat_count) < 1e-5);
    free(wanted);
    free(got);
    free(bytes);
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
        cmocka_unit_test(activation_checkpointing_changes_no_bit),
        cmocka_unit_test(activation_checkpointing_takes_less_memory),
        cmocka_unit_test(a_step_repeats_bit_for_bit),
        cmocka_unit_test(micro_batches_accumulate),
        cmocka_unit_test(gradients_are_reported_when_final_from_the_end_to_the_front),
        cmocka_unit_test(a_failing_report_ends_the_micro_batch_with_its_status),
        cmocka_unit_test(the_whole_target_changes_nothing_but_rounding),
        cmocka_unit_test(bytes_are_normalised_like_the_public_code),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
