/* Plans by shape: after jepa_prepare no product and no fused attention of any step lacks one,
 * whatever the masks' lengths and the model's widths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>

#include "model/device.h"
#include "tests/support/jepa_case.h"
}

#include <vector>

static struct model_device card;

static int open_card(void **)
{
    return model_device_open(&card, CONFIG_DEVICE_EMULATED, 1, 0, true) == LS_OK ? 0 : -1;
}

static int close_card(void **)
{
    model_device_close(&card);
    return 0;
}

struct widths {
    int dim, heads, hidden, pred_dim, pred_heads, pred_hidden;
};
static const struct widths eights = {16, 2, 24, 8, 1, 16};
/* Rows that end where no array may begin; heads of 6 and 10 channels. */
static const struct widths odd = {18, 3, 22, 10, 1, 14};

/* Two groups on a grid of 2 x 4 x 4 tokens. */
static struct jepa_case_shape shape(const struct widths &of = eights)
{
    struct jepa_case_shape out = {};
    out.name = "plans";
    out.model.patch = 2;
    out.model.tubelet = 1;
    out.model.dim = of.dim;
    out.model.depth = 2;
    out.model.heads = of.heads;
    out.model.hidden = of.hidden;
    out.model.pred_dim = of.pred_dim;
    out.model.pred_depth = 2;
    out.model.pred_heads = of.pred_heads;
    out.model.pred_hidden = of.pred_hidden;
    out.model.mask_tokens = 1;
    out.model.init_std = 0.02;
    out.clips = 2;
    out.groups = 2;
    out.grid[0] = 2;
    out.grid[1] = out.grid[2] = 4;
    out.context[0] = out.context[1] = 3;
    out.predicted[0] = out.predicted[1] = 5;
    out.exponent = 1.0;
    return out;
}

/* Context tokens first, predicted ones from the clip's end. */
struct lists {
    std::vector<int32_t> context, predicted;

    lists(int clips, int tokens, int contexts, int predictions)
    {
        for (int c = 0; c < clips; c++) {
            for (int i = 0; i < contexts; i++)
                context.push_back(i);
            for (int i = 0; i < predictions; i++)
                predicted.push_back(tokens - 1 - i);
        }
    }
};

static void step(struct jepa *jepa, const struct jepa_case &it, const int counts[4])
{
    enum { TOKENS = 32 };
    struct jepa_batch batch = it.batch;
    struct jepa_result result;
    const lists first(it.shape->clips, TOKENS, counts[0], counts[1]);
    const lists second(it.shape->clips, TOKENS, counts[2], counts[3]);
    batch.context[0] = first.context.data();
    batch.predicted[0] = first.predicted.data();
    batch.context[1] = second.context.data();
    batch.predicted[1] = second.predicted.data();
    batch.context_count[0] = counts[0];
    batch.predicted_count[0] = counts[1];
    batch.context_count[1] = counts[2];
    batch.predicted_count[1] = counts[3];
    assert_int_equal(jepa_begin_step(jepa), LS_OK);
    assert_int_equal(jepa_want_gram(jepa), LS_OK);
    assert_int_equal(jepa_micro_batch(jepa, &batch, 1.0, nullptr, nullptr), LS_OK);
    assert_int_equal(jepa_result(jepa, &result), LS_OK);
}

static const int lengths[][4] = {{1, 1, 1, 1},   {31, 1, 1, 31}, {1, 31, 31, 1}, {16, 16, 16, 16},
                                 {9, 8, 17, 15}, {4, 27, 3, 2},  {20, 5, 7, 25}};

/* Misses over all the lengths, with and without plans made ahead. */
static struct op_plan_counts run(bool prepared, int bucket, const struct widths &of = eights,
                                 enum op_dtype dtype = OP_F32)
{
    struct jepa_case it;
    struct jepa *jepa = nullptr;
    const struct jepa_case_shape form = shape(of);
    assert_int_equal(jepa_case_open(&it, &form, 3), LS_OK);
    it.options.bucket_tokens = bucket;
    it.options.dtype = dtype;
    assert_int_equal(jepa_case_model(&jepa, &it, card.table, card.device), LS_OK);
    const struct op_plan_counts before = card.table->plan_counts(card.device);
    if (prepared)
        assert_int_equal(jepa_prepare(jepa, it.options.frames), LS_OK);
    for (const int *counts : lengths)
        step(jepa, it, counts);
    struct op_plan_counts after = card.table->plan_counts(card.device);
    after.prepared -= before.prepared;
    after.hits -= before.hits;
    after.misses -= before.misses;
    after.attention_prepared -= before.attention_prepared;
    after.attention_hits -= before.attention_hits;
    after.attention_misses -= before.attention_misses;
    jepa_close(&jepa);
    jepa_case_close(&it);
    return after;
}

static void nothing_is_missed_after_the_preparation(void **)
{
    const struct op_plan_counts counts = run(true, 4);
    assert_true(counts.prepared > 50);
    assert_true(counts.hits > 100);
    assert_int_equal(counts.misses, 0);
}

static void no_attention_is_missed_either(void **)
{
    const struct op_plan_counts counts = run(true, 4, eights, OP_BF16);
    /* Bounds of 4, 8 ... 32 tokens, forward and backward, of the context and of the predictor,
     * whose last block has as many; two of the target. */
    assert_int_equal(counts.attention_prepared, 2 * 2 * 8 + 2);
    assert_true(counts.attention_hits > 50);
    assert_int_equal(counts.attention_misses, 0);
    assert_int_equal(counts.misses, 0);
    assert_int_equal(card.table->plan_counts(card.device).attention_refused, 0);
}

static void widths_that_are_no_multiple_of_8_miss_nothing(void **)
{
    for (int dtype = OP_F32; dtype <= OP_BF16; dtype++)
        for (int bucket = 3; bucket <= 8; bucket += 5) {
            const struct op_plan_counts counts = run(true, bucket, odd, (enum op_dtype)dtype);
            assert_true(counts.hits > 100);
            assert_int_equal(counts.misses, 0);
            assert_int_equal(counts.attention_misses, 0);
        }
}

static void without_preparation_plans_are_missed_once(void **)
{
    close_card(nullptr);
    assert_int_equal(open_card(nullptr), 0);
    const struct op_plan_counts first = run(false, 4);
    assert_true(first.misses > 20);
    assert_int_equal(first.prepared, 0);
    const struct op_plan_counts again = run(false, 4);
    assert_int_equal(again.misses, 0);
}

static void preparing_computes_nothing(void **)
{
    struct jepa_case it;
    struct jepa *jepa = nullptr;
    struct jepa_result result;
    const struct jepa_case_shape form = shape();
    assert_int_equal(jepa_case_open(&it, &form, 3), LS_OK);
    it.options.bucket_tokens = 8;
    assert_int_equal(jepa_case_model(&jepa, &it, card.table, card.device), LS_OK);
    assert_int_equal(jepa_begin_step(jepa), LS_OK);
    assert_int_equal(jepa_micro_batch(jepa, &it.batch, 1.0, jepa_case_ignore, nullptr), LS_OK);
    assert_int_equal(jepa_prepare(jepa, it.options.frames), LS_OK);
    assert_int_equal(jepa_result(jepa, &result), LS_OK);
    const double loss = result.loss;
    const int64_t count = it.parameters->flat_count;
    const float *host = jepa_gradient_host(jepa);
    const std::vector<float> gradient(host, host + count);
    assert_int_equal(jepa_case_step(jepa, &it, &result), LS_OK);
    assert_true(result.loss == loss);
    assert_true(jepa_case_same_bits(gradient.data(), jepa_gradient_host(jepa), count));
    jepa_close(&jepa);
    jepa_case_close(&it);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_missed_after_the_preparation),
        cmocka_unit_test(no_attention_is_missed_either),
        cmocka_unit_test(widths_that_are_no_multiple_of_8_miss_nothing),
        cmocka_unit_test(without_preparation_plans_are_missed_once),
        cmocka_unit_test(preparing_computes_nothing),
    };
    return cmocka_run_group_tests(tests, open_card, close_card);
}
