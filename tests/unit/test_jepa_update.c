/* The update, and the state that it works on. */
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

static const struct jepa_update plain_update = {
    .lr = 0.01, .weight_decay = 0.1, .ema_keep = 0.9, .gradient_scale = 1.0};

static void step_and_update(struct jepa *jepa, const struct jepa_case *it)
{
    assert_int_equal(jepa_case_step(jepa, it, NULL), LS_OK);
    assert_int_equal(jepa_update(jepa, &plain_update), LS_OK);
}

/* Weights, moments and step counts of a model; arrays of the flat space. */
struct state {
    float *weights, *moment1, *moment2, *ema;
    int64_t *adam_steps;
};

static void download(struct state *out, struct jepa *jepa)
{
    const struct parameters *p = jepa_parameters(jepa);
    const size_t count = (size_t)p->flat_count;
    *out = (struct state){
        .weights = calloc(count, sizeof(float)),
        .moment1 = calloc(count, sizeof(float)),
        .moment2 = calloc(count, sizeof(float)),
        .ema = calloc(count, sizeof(float)),
        .adam_steps = calloc((size_t)p->count, sizeof(int64_t)),
    };
    const struct jepa_state state = {.weights = out->weights,
                                     .moment1 = out->moment1,
                                     .moment2 = out->moment2,
                                     .ema = out->ema,
                                     .adam_steps = out->adam_steps,
                                     .count = p->flat_count};
    assert_int_equal(jepa_state_download(jepa, &state), LS_OK);
}

static void free_state(struct state *state)
{
    free(state->weights);
    free(state->moment1);
    free(state->moment2);
    free(state->ema);
    free(state->adam_steps);
}

static void an_unused_mask_token_is_left_alone(void **state)
{
    (void)state;
    struct jepa_case it;
    struct state after;
    open_case(&it, 0); /* three mask tokens, of which clips use number 1 */
    struct jepa *jepa = model_of(&it);
    for (int step = 0; step < 3; step++)
        step_and_update(jepa, &it);
    assert_int_equal(jepa_mask_tokens_used(jepa), 2);
    download(&after, jepa);
    for (int i = 0; i < it.parameters->count; i++) {
        const struct parameter *p = &it.parameters->table[i];
        const bool unused =
            p->kind == PARAMETER_MASK_TOKEN && strcmp(p->name, "predictor.mask_tokens.1") != 0;
        const bool same =
            jepa_case_same_bits(after.weights + p->offset, it.weights + p->offset, p->count);
        assert_int_equal(same, unused);
        assert_int_equal(after.adam_steps[i], unused ? 0 : 3);
        for (int64_t k = 0; unused && k < p->count; k++)
            assert_true(after.moment1[p->offset + k] == 0.0F &&
                        after.moment2[p->offset + k] == 0.0F);
    }
    free_state(&after);
    jepa_close(&jepa);
    jepa_case_close(&it);
}

static void a_mask_token_used_late_counts_its_own_steps(void **state)
{
    (void)state;
    struct jepa_case it;
    struct state after;
    open_case(&it, 0);
    struct jepa *jepa = model_of(&it);
    step_and_update(jepa, &it);
    step_and_update(jepa, &it);
    it.batch.mask_token = 2;
    step_and_update(jepa, &it);
    const struct parameter *p = parameters_find(it.parameters, "predictor.mask_tokens.2");
    const int number = (int)(p - it.parameters->table);
    download(&after, jepa);
    assert_int_equal(after.adam_steps[number], 1);
    assert_int_equal(after.adam_steps[number - 1], 2);
    assert_int_equal(after.adam_steps[0], 3);
    /* A first step of AdamW moves every weight by lr, after the decay, whatever the gradient. */
    const double decay = 1.0 - plain_update.lr * plain_update.weight_decay;
    for (int64_t i = p->offset; i < p->offset + p->count; i++)
        assert_true(fabs(fabs((double)after.weights[i] - decay * (double)it.weights[i]) -
                         plain_update.lr) < 1e-5);
    free_state(&after);
    jepa_close(&jepa);
    jepa_case_close(&it);
}

static void mask_tokens_that_another_rank_used_are_updated(void **state)
{
    (void)state;
    struct jepa_case it;
    struct state after;
    open_case(&it, 0);
    struct jepa *jepa = model_of(&it);
    assert_int_equal(jepa_case_step(jepa, &it, NULL), LS_OK);
    jepa_mask_tokens_set(jepa, jepa_mask_tokens_used(jepa) | 1U);
    assert_int_equal(jepa_update(jepa, &plain_update), LS_OK);
    download(&after, jepa);
    const struct parameter *p = parameters_find(it.parameters, "predictor.mask_tokens.0");
    assert_int_equal(after.adam_steps[p - it.parameters->table], 1);
    assert_false(jepa_case_same_bits(after.weights + p->offset, it.weights + p->offset, p->count));
    free_state(&after);
    jepa_close(&jepa);
    jepa_case_close(&it);
}

static void ema_follows_the_encoder_and_keep_one_is_identity(void **state)
{
    (void)state;
    struct jepa_case it;
    struct state after;
    open_case(&it, 0);
    struct jepa *jepa = model_of(&it);
    struct jepa_update update = plain_update;
    update.ema_keep = 1.0;
    assert_int_equal(jepa_case_step(jepa, &it, NULL), LS_OK);
    assert_int_equal(jepa_update(jepa, &update), LS_OK);
    download(&after, jepa);
    assert_true(jepa_case_same_bits(after.ema, it.ema, it.parameters->encoder_count));
    free_state(&after);
    update.ema_keep = 0.0;
    assert_int_equal(jepa_case_step(jepa, &it, NULL), LS_OK);
    assert_int_equal(jepa_update(jepa, &update), LS_OK);
    download(&after, jepa);
    /* The EMA moves by a share of its distance, so that a share of one may be an ulp off. */
    assert_true(jepa_case_difference(after.ema, after.weights, it.parameters->encoder_count) <
                1e-7);
    free_state(&after);
    jepa_close(&jepa);
    jepa_case_close(&it);
}

static void the_gradient_norm_is_over_all_parameters(void **state)
{
    (void)state;
    struct jepa_case it;
    double got = 0.0;
    double square = 0.0;
    open_case(&it, 1);
    struct jepa *jepa = model_of(&it);
    assert_int_equal(jepa_case_step(jepa, &it, NULL), LS_OK);
    assert_int_equal(jepa_gradient_norm(jepa, &got), LS_OK);
    for (int64_t i = 0; i < it.parameters->flat_count; i++)
        square += pow((double)jepa_gradient_host(jepa)[i], 2.0);
    assert_true(fabs(got - sqrt(square)) < 1e-9 * got);
    jepa_gradient_host(jepa)[3] = INFINITY;
    assert_int_equal(jepa_gradient_norm(jepa, &got), LS_OK);
    assert_true(!isfinite(got));
    jepa_close(&jepa);
    jepa_case_close(&it);
}

static void state_goes_in_and_out_by_ranges(void **state)
{
    (void)state;
    struct jepa_case it;
    struct state whole;
    struct state again;
    open_case(&it, 0);
    const int64_t count = it.parameters->flat_count;
    struct jepa *jepa = model_of(&it);
    struct jepa *other = model_of(&it);
    step_and_update(jepa, &it);
    download(&whole, jepa);
    /* The second border is inside the predictor, the first inside an array of the encoder. */
    const int64_t borders[] = {0, it.parameters->encoder_count / 2 + 13, count - 77, count};
    for (int i = 0; i < 3; i++) {
        const int64_t at = borders[i];
        const struct jepa_state part = {.weights = whole.weights + at,
                                        .moment1 = whole.moment1 + at,
                                        .moment2 = whole.moment2 + at,
                                        .ema = whole.ema + at,
                                        .adam_steps = whole.adam_steps,
                                        .offset = at,
                                        .count = borders[i + 1] - at};
        assert_int_equal(jepa_state_upload(other, &part), LS_OK);
    }
    step_and_update(jepa, &it);
    step_and_update(other, &it);
    free_state(&whole);
    download(&whole, jepa);
    download(&again, other);
    assert_true(jepa_case_same_bits(whole.weights, again.weights, count));
    assert_true(jepa_case_same_bits(whole.moment1, again.moment1, count));
    assert_true(jepa_case_same_bits(whole.moment2, again.moment2, count));
    assert_true(jepa_case_same_bits(whole.ema, again.ema, it.parameters->encoder_count));
    const struct jepa_state beyond = {.weights = whole.weights, .offset = 64, .count = count};
    assert_int_equal(jepa_state_upload(other, &beyond), LS_USAGE);
    free_state(&whole);
    free_state(&again);
    jepa_close(&jepa);
    jepa_close(&other);
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
        cmocka_unit_test(an_unused_mask_token_is_left_alone),
        cmocka_unit_test(a_mask_token_used_late_counts_its_own_steps),
        cmocka_unit_test(mask_tokens_that_another_rank_used_are_updated),
        cmocka_unit_test(ema_follows_the_encoder_and_keep_one_is_identity),
        cmocka_unit_test(the_gradient_norm_is_over_all_parameters),
        cmocka_unit_test(state_goes_in_and_out_by_ranges),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
