/* Devices of other kinds than the CPU, played by the CPU's operators: memory that is not the
 * host's, and rows that are padded.  And what a step counts: its FLOPs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "model/jepa_parts.h"
#include "tests/support/jepa_case.h"
#include "tests/support/op_timing.h"

static struct op_device *device;

/* State and gradient of two steps with updates between. */
struct outcome {
    float *gradient, *weights, *ema;
    double loss, norm;
};

static void run(struct outcome *out, const struct jepa_case *it, const struct op_table *table)
{
    struct jepa *jepa = NULL;
    struct jepa_result result;
    const int64_t count = it->parameters->flat_count;
    const struct jepa_update update = {
        .lr = 0.01, .weight_decay = 0.1, .ema_keep = 0.9, .gradient_scale = 1.0};
    assert_int_equal(jepa_case_model(&jepa, it, table, device), LS_OK);
    for (int step = 0; step < 2; step++) {
        assert_int_equal(jepa_case_step(jepa, it, &result), LS_OK);
        assert_int_equal(jepa_gradient_norm(jepa, &out->norm), LS_OK);
        assert_int_equal(jepa_update(jepa, &update), LS_OK);
    }
    out->loss = result.loss;
    out->gradient = jepa_case_copy(jepa_gradient_host(jepa), count);
    out->weights = calloc((size_t)count, sizeof(float));
    out->ema = calloc((size_t)count, sizeof(float));
    assert_non_null(out->weights);
    assert_non_null(out->ema);
    const struct jepa_state state = {
        .weights = out->weights, .ema = out->ema, .count = it->parameters->flat_count};
    assert_int_equal(jepa_state_download(jepa, &state), LS_OK);
    jepa_close(&jepa);
}

static void free_outcome(struct outcome *outcome)
{
    free(outcome->gradient);
    free(outcome->weights);
    free(outcome->ema);
}

static void open_case(struct jepa_case *it, int which)
{
    int count = 0;
    assert_int_equal(jepa_case_open(it, &jepa_case_shapes(&count)[which], 5), LS_OK);
}

static void memory_that_is_not_the_hosts_gives_the_same_bits(void **state)
{
    (void)state;
    struct op_table apart = op_table_cpu;
    apart.host_memory = false;
    for (int which = 0; which < 3; which++) {
        struct jepa_case it;
        struct outcome here;
        struct outcome there;
        open_case(&it, which);
        const int64_t count = it.parameters->flat_count;
        run(&here, &it, &op_table_cpu);
        run(&there, &it, &apart);
        assert_true(here.loss == there.loss);
        assert_true(here.norm == there.norm);
        assert_true(jepa_case_same_bits(here.gradient, there.gradient, count));
        assert_true(jepa_case_same_bits(here.weights, there.weights, count));
        assert_true(jepa_case_same_bits(here.ema, there.ema, count));
        free_outcome(&here);
        free_outcome(&there);
        jepa_case_close(&it);
    }
}

/* Where memory is apart, the sum over ranks is made in the host's copy and must come back. */
static void a_gradient_changed_on_the_host_is_what_the_update_uses(void **state)
{
    (void)state;
    struct op_table apart = op_table_cpu;
    struct jepa_case it;
    struct jepa *jepa = NULL;
    double norm = 0.0;
    apart.host_memory = false;
    open_case(&it, 1);
    const int64_t count = it.parameters->flat_count;
    assert_int_equal(jepa_case_model(&jepa, &it, &apart, device), LS_OK);
    assert_int_equal(jepa_case_step(jepa, &it, NULL), LS_OK);
    memset(jepa_gradient_host(jepa), 0, (size_t)count * sizeof(float));
    jepa_gradient_host(jepa)[0] = 3.0F;
    jepa_gradient_host(jepa)[count - 1] = 4.0F;
    assert_int_equal(jepa_gradient_norm(jepa, &norm), LS_OK);
    assert_true(fabs(norm - 5.0) < 1e-9);
    jepa_close(&jepa);
    jepa_case_close(&it);
}

/* A key bias moves all scores of a query alike, so its gradient is rounding alone, and AdamW's
 * first update makes a full step of its sign. */
static void forget_key_biases(const struct parameters *parameters, float *weights)
{
    for (int i = 0; i < parameters->count; i++) {
        const struct parameter *p = &parameters->table[i];
        if (strstr(p->name, "attn.qkv.bias") != NULL)
            memset(weights + p->offset + p->count / 3, 0, (size_t)p->count / 3 * sizeof(float));
    }
}

static void padded_rows_change_nothing_but_rounding(void **state)
{
    (void)state;
    struct op_table padded = op_table_cpu;
    padded.row_multiple = 32; /* more than some of the matrices have */
    for (int which = 0; which < 3; which++) {
        struct jepa_case it;
        struct outcome exact;
        struct outcome rounded;
        open_case(&it, which);
        run(&exact, &it, &op_table_cpu);
        run(&rounded, &it, &padded);
        const int64_t count = it.parameters->flat_count;
        assert_true(fabs(rounded.loss - exact.loss) < 1e-5 * exact.loss);
        assert_true(jepa_case_difference(rounded.gradient, exact.gradient, count) < 1e-5);
        forget_key_biases(it.parameters, rounded.weights);
        forget_key_biases(it.parameters, exact.weights);
        assert_true(jepa_case_difference(rounded.weights, exact.weights, count) < 1e-4);
        free_outcome(&exact);
        free_outcome(&rounded);
        jepa_case_close(&it);
    }
}

/* What an arena holds before its first use. */
static void poison(struct jepa *jepa)
{
    memset(jepa->arena.base_dev, 0xFF, jepa->arena.peak);
}

/* Memory full of NaNs and padding between all sequences: neither may reach a result. */
static void buckets_change_nothing_but_rounding(void **state)
{
    (void)state;
    static const int buckets[] = {2, 5, 16, 64};
    struct op_table padded = op_table_cpu;
    padded.row_multiple = 8;
    for (int which = 0; which < 3; which++) {
        for (size_t i = 0; i < sizeof buckets / sizeof *buckets; i++) {
            struct jepa_case it;
            struct jepa_result exact;
            struct jepa_result got;
            struct jepa *plain = NULL;
            struct jepa *jepa = NULL;
            open_case(&it, which);
            const int64_t count = it.parameters->flat_count;
            const int64_t sums = 4 * (int64_t)it.shape->model.dim + 1;
            double statistics[2][4 * 32 + 1];
            assert_int_equal(jepa_case_model(&plain, &it, &op_table_cpu, device), LS_OK);
            it.options.bucket_tokens = buckets[i];
            assert_int_equal(jepa_case_model(&jepa, &it, &padded, device), LS_OK);
            poison(jepa);
            assert_int_equal(jepa_case_step(plain, &it, &exact), LS_OK);
            assert_int_equal(jepa_case_step(jepa, &it, &got), LS_OK);
            assert_true(fabs(got.loss - exact.loss) < 1e-6 * exact.loss);
            assert_true(got.flops == exact.flops);
            assert_int_equal(got.target_rows, exact.target_rows);
            assert_int_equal(exact.padding_rows, 0);
            assert_true(got.padding_rows > 0);
            assert_int_equal(got.rows - got.padding_rows, exact.rows);
            assert_true(jepa_case_difference(jepa_gradient_host(jepa), jepa_gradient_host(plain),
                                             count) < 1e-5);
            assert_int_equal(jepa_statistics_count(jepa), sums);
            assert_int_equal(jepa_statistics(plain, statistics[0]), LS_OK);
            assert_int_equal(jepa_statistics(jepa, statistics[1]), LS_OK);
            for (int64_t k = 0; k < sums; k++)
                assert_true(fabs(statistics[1][k] - statistics[0][k]) <
                            1e-4 * (1.0 + fabs(statistics[0][k])));
            jepa_close(&plain);
            jepa_close(&jepa);
            jepa_case_close(&it);
        }
    }
}

static void model_flops_are_those_of_the_operators(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        struct jepa_case it;
        struct jepa *jepa = NULL;
        struct jepa_result result;
        double counted = 0.0;
        open_case(&it, which);
        assert_int_equal(
            jepa_case_model(&jepa, &it, op_timing_table(&op_table_cpu, clock_now_s), device),
            LS_OK);
        op_timing_reset();
        assert_int_equal(jepa_case_step(jepa, &it, &result), LS_OK);
        for (int i = 0; i < OP_FAMILY_COUNT; i++)
            counted += op_timing_read((enum op_family)i).flops;
        assert_true(counted > 1e5);
        assert_true(result.flops == counted);
        jepa_close(&jepa);
        jepa_case_close(&it);
    }
}

static void model_flops_do_not_count_padding_or_recomputation(void **state)
{
    (void)state;
    struct op_table padded = op_table_cpu;
    struct jepa_case it;
    struct jepa *jepa = NULL;
    struct jepa_result plain;
    struct jepa_result more;
    padded.row_multiple = 32;
    open_case(&it, 2);
    assert_int_equal(jepa_case_model(&jepa, &it, &op_table_cpu, device), LS_OK);
    assert_int_equal(jepa_case_step(jepa, &it, &plain), LS_OK);
    jepa_close(&jepa);
    it.options.activation_checkpointing = true;
    assert_int_equal(jepa_case_model(&jepa, &it, &padded, device), LS_OK);
    assert_int_equal(jepa_case_step(jepa, &it, &more), LS_OK);
    assert_true(more.flops == plain.flops);
    jepa_close(&jepa);
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
        cmocka_unit_test(memory_that_is_not_the_hosts_gives_the_same_bits),
        cmocka_unit_test(a_gradient_changed_on_the_host_is_what_the_update_uses),
        cmocka_unit_test(padded_rows_change_nothing_but_rounding),
        cmocka_unit_test(buckets_change_nothing_but_rounding),
        cmocka_unit_test(model_flops_are_those_of_the_operators),
        cmocka_unit_test(model_flops_do_not_count_padding_or_recomputation),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
