/* One run of the file: outputs of the first step, losses of every micro-batch, gradients of the
 * first step, and the change of the state over all steps.  Bounds: golden/README.md. */
#include "tests/support/golden_pretrain.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/golden_pretrain_parts.h"

static const struct golden_bounds bounds_float32 = {
    .output = 5e-6, .loss = 1e-6, .gradient = 1e-5, .change = 1e-3, .change_all = 2e-5};
/* By array the change of the state means little in bf16: a key bias has no gradient but rounding,
 * and AdamW makes a full step of it. */
static const struct golden_bounds bounds_bfloat16 = {.output = 6e-3,
                                                     .loss = 2e-4,
                                                     .gradient = 4.5e-2,
                                                     .gradient_all = 2.1e-2,
                                                     .one_less_cosine = 2e-3,
                                                     .change_all = 9e-2};

static ls_status open_model(struct golden_state *run, struct jepa **out, bool whole_target)
{
    ls_status st = LS_OK;
    struct jepa_options options = run->options;
    options.whole_target = whole_target;
    LS_TRY(jepa_open(out, &options, run->how->table, run->how->device));
    if (run->parameters == NULL) {
        run->parameters = jepa_parameters(*out);
        LS_TRY(golden_run_state(run));
    }
    const struct jepa_state state = {
        .weights = run->weights, .ema = run->ema, .count = run->parameters->flat_count};
    LS_TRY(jepa_state_upload(*out, &state));
done:
    return st;
}

static ls_status check_output(const struct golden_state *run, struct jepa *model, int micro,
                              const char *quantity, enum jepa_output which, int group)
{
    ls_status st = LS_OK;
    char name[96];
    float *wanted = NULL;
    float *got = NULL;
    struct golden_shape shape;
    (void)snprintf(name, sizeof name, "step0/micro%d/%s", micro, quantity);
    LS_TRY(golden_floats(&wanted, &shape, run->golden, name));
    got = malloc((size_t)shape.count * sizeof *got);
    if (got == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for %s", name);
        goto done;
    }
    LS_TRY(jepa_output(model, which, group, got));
    golden_report_check(run->report, name, golden_error(got, wanted, shape.count),
                        run->bounds->output);
done:
    free(wanted);
    free(got);
    return st;
}

/* The gradient is reduced in one piece when backward is done. */
static ls_status ignore_ready(void *context, int64_t offset, int64_t count)
{
    (void)context;
    (void)offset;
    (void)count;
    return LS_OK;
}

/* Target outputs come from a model that computes all tokens of the last block. */
static ls_status check_targets(struct golden_state *run)
{
    ls_status st = LS_OK;
    struct jepa *whole = NULL;
    struct golden_batch micro = {0};
    LS_TRY(open_model(run, &whole, true));
    for (int m = 0; m < run->micro_batches; m++) {
        LS_TRY(golden_batch_read(&micro, run, 0, m));
        LS_TRY(jepa_begin_step(whole));
        LS_TRY(jepa_micro_batch(whole, &micro.batch, 1.0, NULL, NULL));
        LS_TRY(check_output(run, whole, m, "target_raw", JEPA_TARGET_RAW, 0));
        LS_TRY(check_output(run, whole, m, "target_norm", JEPA_TARGET_NORM, 0));
        golden_batch_free(&micro);
    }
done:
    golden_batch_free(&micro);
    jepa_close(&whole);
    return st;
}

/* Run micro-batches [first, last) of a step on one model; losses[m] out. */
static ls_status run_micro_batches(struct golden_state *run, struct jepa *model, int step,
                                   int first, int last, double *losses)
{
    ls_status st = LS_OK;
    struct golden_batch micro = {0};
    double before = 0.0;
    LS_TRY(jepa_begin_step(model));
    for (int m = first; m < last; m++) {
        struct jepa_result result;
        LS_TRY(golden_batch_read(&micro, run, step, m));
        LS_TRY(jepa_micro_batch(model, &micro.batch, 1.0 / run->micro_batches,
                                m + 1 == last ? ignore_ready : NULL, NULL));
        LS_TRY(jepa_result(model, &result));
        losses[m] = (result.loss - before) * run->micro_batches;
        before = result.loss;
        if (step == 0) {
            LS_TRY(check_output(run, model, m, "context0", JEPA_CONTEXT, 0));
            LS_TRY(check_output(run, model, m, "context1", JEPA_CONTEXT, 1));
            LS_TRY(check_output(run, model, m, "prediction0", JEPA_PREDICTION, 0));
            LS_TRY(check_output(run, model, m, "prediction1", JEPA_PREDICTION, 1));
        }
        golden_batch_free(&micro);
    }
done:
    golden_batch_free(&micro);
    return st;
}

/* Sum the gradients over the models of this process, then over the ranks; all get the sum. */
static ls_status reduce(struct golden_state *run, double *losses)
{
    ls_status st = LS_OK;
    const int64_t count = run->parameters->flat_count;
    float *sum = jepa_gradient_host(run->models[0]);
    for (int w = 1; w < run->how->workers; w++) {
        const float *part = jepa_gradient_host(run->models[w]);
        for (int64_t i = 0; i < count; i++)
            sum[i] += part[i];
    }
    if (run->how->size > 1) {
        LS_TRY(run->how->sum_floats(run->how->context, sum, count));
        LS_TRY(run->how->sum_doubles(run->how->context, losses, run->micro_batches));
    }
    for (int w = 1; w < run->how->workers; w++)
        memcpy(jepa_gradient_host(run->models[w]), sum, (size_t)count * sizeof *sum);
done:
    return st;
}

static ls_status check_loss(const struct golden_state *run, const char *name, double got)
{
    ls_status st = LS_OK;
    double wanted = 0.0;
    char line[96];
    LS_TRY(golden_attribute(&wanted, run->golden, name, "loss"));
    (void)snprintf(line, sizeof line, "%s/loss", name);
    const double off = got > wanted ? got - wanted : wanted - got;
    golden_report_check(run->report, line, got == got ? off / wanted : got, run->bounds->loss);
done:
    return st;
}

static ls_status check_losses(const struct golden_state *run, int step, const double *losses)
{
    ls_status st = LS_OK;
    char name[64];
    double mean = 0.0;
    for (int m = 0; m < run->micro_batches; m++) {
        mean += losses[m] / run->micro_batches;
        (void)snprintf(name, sizeof name, "step%d/micro%d", step, m);
        LS_TRY(check_loss(run, name, losses[m]));
    }
    (void)snprintf(name, sizeof name, "step%d", step);
    LS_TRY(check_loss(run, name, mean));
done:
    return st;
}

static bool all_zero(const float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (values[i] != 0.0F)
            return false;
    return true;
}

static ls_status check_gradients(const struct golden_state *run)
{
    ls_status st = LS_OK;
    float *wanted = NULL;
    struct golden_sums sums = {0};
    char name[160];
    const float *gradient = jepa_gradient_host(run->models[0]);
    for (int i = 0; i < run->parameters->count; i++) {
        const struct parameter *p = &run->parameters->table[i];
        (void)snprintf(name, sizeof name, "step0/grad/%s/%s", golden_run_network(p),
                       strchr(p->name, '.') + 1);
        if (!golden_has(run->golden, name)) {
            golden_report_exact(run->report, name, all_zero(gradient + p->offset, p->count));
            continue;
        }
        LS_TRY(golden_run_parameter(&wanted, run, "step0/grad", golden_run_network(p), p));
        golden_report_check(run->report, name, golden_error(gradient + p->offset, wanted, p->count),
                            run->bounds->gradient);
        golden_sums_add(&sums, gradient + p->offset, wanted, NULL, p->count);
        free(wanted);
        wanted = NULL;
    }
    if (run->bounds->gradient_all > 0.0) {
        golden_report_check(run->report, "step0/grad, all together", golden_sums_error(&sums),
                            run->bounds->gradient_all);
        golden_report_check(run->report, "step0/grad, 1 - cosine", 1.0 - golden_sums_cosine(&sums),
                            run->bounds->one_less_cosine);
    }
done:
    free(wanted);
    return st;
}

static ls_status run_step(struct golden_state *run, int step)
{
    ls_status st = LS_OK;
    double losses[GOLDEN_MICRO_BATCHES_MAX] = {0};
    struct jepa_update update = {.gradient_scale = 1.0};
    char name[32];
    const int mine = run->last - run->first;
    for (int w = 0; w < run->how->workers; w++)
        LS_TRY(run_micro_batches(run, run->models[w], step,
                                 run->first + w * mine / run->how->workers,
                                 run->first + (w + 1) * mine / run->how->workers, losses));
    LS_TRY(reduce(run, losses));
    LS_TRY(check_losses(run, step, losses));
    if (step == 0)
        LS_TRY(check_gradients(run));
    (void)snprintf(name, sizeof name, "step%d", step);
    LS_TRY(golden_attribute(&update.lr, run->golden, name, "lr"));
    LS_TRY(golden_attribute(&update.weight_decay, run->golden, name, "weight_decay"));
    LS_TRY(golden_attribute(&update.ema_keep, run->golden, name, "ema"));
    for (int w = 0; w < run->how->workers; w++)
        LS_TRY(jepa_update(run->models[w], &update));
done:
    return st;
}

/* The change of one array of the state, by itself and into the sums over all. */
static ls_status check_change(const struct golden_state *run, struct golden_sums *sums,
                              const char *network, const struct parameter *p, const float *before,
                              const float *after)
{
    ls_status st = LS_OK;
    float *wanted = NULL;
    char name[160];
    struct golden_sums own = {0};
    LS_TRY(golden_run_parameter(&wanted, run, "final", network, p));
    golden_sums_add(&own, after + p->offset, wanted, before + p->offset, p->count);
    golden_sums_add(sums, after + p->offset, wanted, before + p->offset, p->count);
    (void)snprintf(name, sizeof name, "final/%s/%s", network, strchr(p->name, '.') + 1);
    if (own.wanted == 0.0) /* the file says that it stays: then exactly */
        golden_report_exact(run->report, name, own.got == 0.0);
    else if (run->bounds->change > 0.0)
        golden_report_check(run->report, name, golden_sums_error(&own), run->bounds->change);
done:
    free(wanted);
    return st;
}

static ls_status check_same(const struct golden_state *run, const float *weights, const float *ema,
                            float *other)
{
    ls_status st = LS_OK;
    const int64_t count = run->parameters->flat_count;
    const size_t encoder_bytes = (size_t)run->parameters->encoder_count * sizeof *ema;
    for (int w = 1; w < run->how->workers; w++) {
        struct jepa_state state = {.weights = other, .count = count};
        LS_TRY(jepa_state_download(run->models[w], &state));
        bool same = memcmp(other, weights, (size_t)count * sizeof *other) == 0;
        state = (struct jepa_state){.ema = other, .count = count};
        LS_TRY(jepa_state_download(run->models[w], &state));
        same = same && memcmp(other, ema, encoder_bytes) == 0;
        golden_report_exact(run->report, "final state, the same bits on all workers", same);
    }
done:
    return st;
}

static ls_status check_final(struct golden_state *run)
{
    ls_status st = LS_OK;
    const int64_t count = run->parameters->flat_count;
    struct golden_sums sums = {0};
    float *weights = calloc((size_t)count, sizeof *weights);
    float *ema = calloc((size_t)count, sizeof *ema);
    float *other = calloc((size_t)count, sizeof *other);
    if (weights == NULL || ema == NULL || other == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for the final state");
        goto done;
    }
    const struct jepa_state state = {.weights = weights, .ema = ema, .count = count};
    LS_TRY(jepa_state_download(run->models[0], &state));
    for (int i = 0; i < run->parameters->count; i++) {
        const struct parameter *p = &run->parameters->table[i];
        LS_TRY(check_change(run, &sums, golden_run_network(p), p, run->weights, weights));
        if (p->encoder)
            LS_TRY(check_change(run, &sums, "target", p, run->ema, ema));
    }
    golden_report_check(run->report, "final, all together", golden_sums_error(&sums),
                        run->bounds->change_all);
    LS_TRY(check_same(run, weights, ema, other));
done:
    free(weights);
    free(ema);
    free(other);
    return st;
}

ls_status golden_pretrain(struct golden_report *report, const struct golden *golden,
                          const struct golden_run *how)
{
    ls_status st = LS_OK;
    struct golden_state run = {.report = report,
                               .golden = golden,
                               .how = how,
                               .bounds = how->dtype == OP_F32 ? &bounds_float32 : &bounds_bfloat16};
    if (how->workers < 1 || how->workers > GOLDEN_WORKERS_MAX || how->size < 1)
        return LS_FAIL(LS_USAGE, "%d workers of %d ranks: 1 to %d, and at least 1", how->workers,
                       how->size, GOLDEN_WORKERS_MAX);
    LS_TRY(golden_run_shape(&run));
    run.first = how->rank * run.micro_batches / how->size;
    run.last = (how->rank + 1) * run.micro_batches / how->size;
    if (run.last - run.first < how->workers) {
        st = LS_FAIL(LS_USAGE, "%d micro-batches are too few for %d ranks of %d workers",
                     run.micro_batches, how->size, how->workers);
        goto done;
    }
    for (int w = 0; w < how->workers; w++)
        LS_TRY(open_model(&run, &run.models[w], false));
    LS_TRY(check_targets(&run));
    for (int step = 0; step < run.steps; step++)
        LS_TRY(run_step(&run, step));
    LS_TRY(check_final(&run));
done:
    for (int w = 0; w < GOLDEN_WORKERS_MAX; w++)
        jepa_close(&run.models[w]);
    free(run.weights);
    free(run.ema);
    return st;
}
