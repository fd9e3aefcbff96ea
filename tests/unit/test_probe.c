/* The attentive classifier: golden/probe.h5, finite differences of the whole head, padding, heads
 * that do not meet, and a problem that it has to learn. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/random.h"
#include "model/device.h"
#include "model/probe.h"
#include "tests/support/golden.h"
#include "tests/support/test_device.h"

static const struct op_table *table;
static struct op_device *device;

static double difference(const float *got, const float *golden, int64_t count)
{
    double error = 0.0;
    double norm = 0.0;
    for (int64_t i = 0; i < count; i++) {
        error += pow((double)got[i] - (double)golden[i], 2);
        norm += pow((double)golden[i], 2);
    }
    return sqrt(error / norm);
}

/* The golden file's parts: shape, features, labels, weights laid out as the table says. */
struct case_of {
    struct golden *golden;
    struct probe_options options;
    float *features, *weights, *gradient, *logits;
    int32_t *labels;
    struct probe *probe;
};

static void attribute(int *out, const struct case_of *it, const char *name)
{
    assert_int_equal(golden_attribute_int(out, it->golden, "/", name), LS_OK);
}

static void load_weights(const struct case_of *it)
{
    char name[120];
    const struct parameters *p = probe_parameters(it->probe);
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(golden_names(&names, &count, it->golden, "init"), LS_OK);
    assert_int_equal((int)count, p->count);
    golden_names_free(names, count);
    for (int i = 0; i < p->count; i++) {
        const struct parameter *q = &p->table[i];
        struct golden_shape shape;
        float *values = NULL;
        (void)snprintf(name, sizeof name, "init/%s", q->name);
        assert_int_equal(golden_floats(&values, &shape, it->golden, name), LS_OK);
        assert_int_equal(shape.dimensions, q->dimensions);
        for (int d = 0; d < shape.dimensions; d++)
            assert_int_equal(shape.size[d], q->shape[d]);
        memcpy(it->weights + q->offset, values, (size_t)q->count * sizeof *values);
        free(values);
    }
}

static bool open_case(struct case_of *it, enum op_dtype dtype, int heads)
{
    char path[512];
    struct golden_shape shape;
    double ratio = 0.0;
    *it = (struct case_of){0};
    if (!golden_path(path, sizeof path, "probe.h5"))
        return false;
    assert_int_equal(golden_open(&it->golden, path), LS_OK);
    it->options = (struct probe_options){.dtype = dtype, .heads = heads};
    attribute(&it->options.videos, it, "batch");
    attribute(&it->options.tokens, it, "tokens");
    attribute(&it->options.shape.dim, it, "dim");
    attribute(&it->options.shape.heads, it, "heads");
    attribute(&it->options.shape.depth, it, "depth");
    attribute(&it->options.shape.classes, it, "classes");
    assert_int_equal(golden_attribute(&ratio, it->golden, "/", "mlp_ratio"), LS_OK);
    it->options.shape.hidden = (int)(it->options.shape.dim * ratio);
    assert_int_equal(golden_floats(&it->features, &shape, it->golden, "features"), LS_OK);
    assert_int_equal(golden_ints(&it->labels, &shape, it->golden, "labels"), LS_OK);
    assert_int_equal(probe_open(&it->probe, &it->options, table, device), LS_OK);
    const size_t count = (size_t)probe_parameters(it->probe)->flat_count;
    it->weights = calloc(count, sizeof(float));
    it->gradient = calloc(count, sizeof(float));
    it->logits =
        calloc((size_t)it->options.videos * (size_t)it->options.shape.classes, sizeof(float));
    assert_non_null(it->weights);
    assert_non_null(it->gradient);
    assert_non_null(it->logits);
    load_weights(it);
    for (int h = 0; h < heads; h++)
        assert_int_equal(probe_upload(it->probe, h, it->weights), LS_OK);
    assert_int_equal(probe_features(it->probe, it->features, it->options.videos), LS_OK);
    return true;
}

static void close_case(struct case_of *it)
{
    probe_close(&it->probe);
    golden_close(&it->golden);
    free(it->features);
    free(it->labels);
    free(it->weights);
    free(it->gradient);
    free(it->logits);
}

/* Worst error over bound of all gradient arrays. */
static double worst_gradient(const struct case_of *it, int head, double bound)
{
    char name[120];
    const struct parameters *p = probe_parameters(it->probe);
    double worst = 0.0;
    assert_int_equal(probe_download(it->probe, head, NULL, it->gradient), LS_OK);
    for (int i = 0; i < p->count; i++) {
        const struct parameter *q = &p->table[i];
        float *golden = NULL;
        (void)snprintf(name, sizeof name, "grad/%s", q->name);
        assert_int_equal(golden_floats(&golden, NULL, it->golden, name), LS_OK);
        const double error = difference(it->gradient + q->offset, golden, q->count) / bound;
        if (!(error <= worst))
            worst = error;
        free(golden);
    }
    return worst;
}

/* Bounds of the golden files' README. */
struct bounds {
    double logits, loss, gradient;
};

static void hold_golden(enum op_dtype dtype, struct bounds bounds)
{
    struct case_of it;
    struct probe_result result;
    double loss = 0.0;
    float *golden = NULL;
    if (!open_case(&it, dtype, 1)) {
        skip();
        return;
    }
    const int64_t count = (int64_t)it.options.videos * it.options.shape.classes;
    assert_int_equal(golden_floats(&golden, NULL, it.golden, "logits"), LS_OK);
    assert_int_equal(probe_logits(it.probe, 0, it.logits), LS_OK);
    const double logits = difference(it.logits, golden, count) / bounds.logits;
    free(golden);
    assert_int_equal(golden_attribute(&loss, it.golden, "/", "loss"), LS_OK);
    assert_int_equal(probe_begin_step(it.probe), LS_OK);
    assert_int_equal(probe_train(it.probe, 0, it.labels, 1.0, &result), LS_OK);
    const double losses = fabs(result.loss - loss) / loss / bounds.loss;
    const double gradients = worst_gradient(&it, 0, bounds.gradient);
    print_message("of the bounds: logits %.3f, loss %.3f, worst gradient %.3f\n", logits, losses,
                  gradients);
    assert_true(logits <= 1.0);
    assert_true(losses <= 1.0);
    assert_true(gradients <= 1.0);
    close_case(&it);
}

static void golden_file_holds_in_float32(void **state)
{
    (void)state;
    hold_golden(OP_F32, (struct bounds){5e-6, 1e-6, 1e-5});
}

static void golden_file_holds_in_bfloat16(void **state)
{
    (void)state;
    if (table == &op_table_cpu && !op_cpu_has_fast_bf16(device)) {
        skip();
        return;
    }
    hold_golden(OP_BF16, (struct bounds){6e-3, 2e-4, 4.5e-2});
}

/* A short micro-batch gives what its videos alone give; one without a label counts for nothing. */
static void missing_videos_count_for_nothing(void **state)
{
    (void)state;
    struct case_of it;
    struct probe_result result;
    if (!open_case(&it, OP_F32, 1)) {
        skip();
        return;
    }
    const int videos = it.options.videos - 2;
    const int64_t count = probe_parameters(it.probe)->flat_count;
    float *whole = calloc((size_t)count, sizeof *whole);
    assert_non_null(whole);
    it.labels[videos] = it.labels[videos + 1] = -1;
    assert_int_equal(probe_begin_step(it.probe), LS_OK);
    assert_int_equal(probe_train(it.probe, 0, it.labels, 0.5, &result), LS_OK);
    assert_int_equal(result.videos, videos);
    const double loss = result.loss;
    assert_int_equal(probe_download(it.probe, 0, NULL, whole), LS_OK);

    assert_int_equal(probe_features(it.probe, it.features, videos), LS_OK);
    assert_int_equal(probe_begin_step(it.probe), LS_OK);
    assert_int_equal(probe_train(it.probe, 0, it.labels, 0.5, &result), LS_OK);
    assert_int_equal(probe_download(it.probe, 0, NULL, it.gradient), LS_OK);
    assert_true(fabs(result.loss - loss) < 1e-6);
    assert_true(difference(it.gradient, whole, count) < 1e-6);
    free(whole);
    close_case(&it);
}

/* Central differences along random directions: the head's loss in float32 allows 1e-3. */
static void gradients_are_the_differences(void **state)
{
    (void)state;
    struct case_of it;
    struct probe_result result;
    struct random_stream stream;
    if (!open_case(&it, OP_F32, 1)) {
        skip();
        return;
    }
    const struct parameters *p = probe_parameters(it.probe);
    const int64_t count = p->flat_count;
    float *moved = calloc((size_t)count, sizeof *moved);
    float *way = calloc((size_t)count, sizeof *way);
    assert_non_null(moved);
    assert_non_null(way);
    assert_int_equal(probe_begin_step(it.probe), LS_OK);
    assert_int_equal(probe_train(it.probe, 0, it.labels, 1.0, &result), LS_OK);
    assert_int_equal(probe_download(it.probe, 0, NULL, it.gradient), LS_OK);
    for (int trial = 0; trial < 4; trial++) {
        const double reach = 2e-3;
        double slope = 0.0;
        double loss[2];
        random_open(&stream, 5, RANDOM_TEST, (uint64_t)trial, 0, 0);
        for (int i = 0; i < p->count; i++)
            for (int64_t k = 0; k < p->table[i].count; k++)
                way[p->table[i].offset + k] = (float)random_normal(&stream);
        for (int64_t i = 0; i < count; i++)
            slope += (double)way[i] * (double)it.gradient[i];
        for (int side = 0; side < 2; side++) {
            for (int64_t i = 0; i < count; i++)
                moved[i] = (float)(it.weights[i] + (side == 0 ? -reach : reach) * way[i]);
            assert_int_equal(probe_upload(it.probe, 0, moved), LS_OK);
            assert_int_equal(probe_train(it.probe, 0, it.labels, 1.0, &result), LS_OK);
            loss[side] = result.loss;
        }
        const double measured = (loss[1] - loss[0]) / (2.0 * reach);
        assert_true(fabs(measured - slope) < 1e-2 * fabs(slope) + 1e-3);
    }
    free(moved);
    free(way);
    close_case(&it);
}

/* A head's update touches no other head. */
static void heads_do_not_meet(void **state)
{
    (void)state;
    struct case_of it;
    struct probe_result result;
    if (!open_case(&it, OP_F32, 2)) {
        skip();
        return;
    }
    const int64_t count = probe_parameters(it.probe)->flat_count;
    float *weights = calloc((size_t)count, sizeof *weights);
    assert_non_null(weights);
    assert_int_equal(probe_begin_step(it.probe), LS_OK);
    assert_int_equal(probe_train(it.probe, 1, it.labels, 1.0, &result), LS_OK);
    assert_int_equal(probe_update(it.probe, 1, 1e-2, 0.1, 1), LS_OK);
    assert_int_equal(probe_download(it.probe, 0, weights, it.gradient), LS_OK);
    assert_memory_equal(weights, it.weights, (size_t)count * sizeof *weights);
    for (int64_t i = 0; i < count; i++)
        assert_true(it.gradient[i] == 0.0F);
    assert_int_equal(probe_download(it.probe, 1, weights, NULL), LS_OK);
    assert_true(difference(weights, it.weights, count) > 1e-3);
    free(weights);
    close_case(&it);
}

/* Steps of AdamW on one micro-batch have to fit it. */
static void learns_a_micro_batch(void **state)
{
    (void)state;
    struct case_of it;
    struct probe_result result = {0};
    double first = 0.0;
    if (!open_case(&it, OP_F32, 1)) {
        skip();
        return;
    }
    it.options.shape.init_std = 0.02;
    probe_close(&it.probe);
    assert_int_equal(probe_open(&it.probe, &it.options, table, device), LS_OK);
    assert_int_equal(probe_initialize(it.probe, 3), LS_OK);
    assert_int_equal(probe_features(it.probe, it.features, it.options.videos), LS_OK);
    for (int64_t step = 1; step <= 40; step++) {
        assert_int_equal(probe_begin_step(it.probe), LS_OK);
        assert_int_equal(probe_train(it.probe, 0, it.labels, 1.0, &result), LS_OK);
        first = step == 1 ? result.loss : first;
        assert_int_equal(probe_update(it.probe, 0, 3e-3, 0.01, step), LS_OK);
    }
    assert_true(fabs(first - log(it.options.shape.classes)) < 0.5);
    assert_true(result.loss < 0.1 * first);
    assert_int_equal(result.right, it.options.videos);
    close_case(&it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_file_holds_in_float32),
        cmocka_unit_test(golden_file_holds_in_bfloat16),
        cmocka_unit_test(missing_videos_count_for_nothing),
        cmocka_unit_test(gradients_are_the_differences),
        cmocka_unit_test(heads_do_not_meet),
        cmocka_unit_test(learns_a_micro_batch),
    };
    struct model_device opened;
    enum config_device wanted;
    if (test_device_wanted(&wanted) != LS_OK ||
        model_device_open(&opened, wanted, 2, 0, true) != LS_OK) {
        print_error("%s\n", status_message());
        return 1;
    }
    table = opened.table;
    device = opened.device;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    model_device_close(&opened);
    return failed;
}
