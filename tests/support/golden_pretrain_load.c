/* The state is loaded by the parameters' names, so that a name or a shape that differs from the
 * public code's fails here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/golden_pretrain_parts.h"

bool golden_is_pretrain(const struct golden *golden)
{
    return golden_has(golden, "init/encoder") && golden_has(golden, "init/predictor") &&
           golden_has(golden, "step0/micro0/mask_enc0");
}

ls_status golden_run_shape(struct golden_state *run)
{
    ls_status st = LS_OK;
    const struct golden *g = run->golden;
    struct model_shape *s = &run->options.shape;
    int crop = 0;
    double mlp_ratio = 0.0;
    const struct {
        int *to;
        const char *name;
    } numbers[] = {
        {&s->patch, "patch"},
        {&s->tubelet, "tubelet"},
        {&s->dim, "dim"},
        {&s->depth, "depth"},
        {&s->heads, "heads"},
        {&s->pred_dim, "pred_dim"},
        {&s->pred_depth, "pred_depth"},
        {&s->pred_heads, "pred_heads"},
        {&crop, "crop"},
        {&run->options.frames, "frames"},
        {&run->options.clips, "batch"},
        {&run->micro_batches, "micro_batches"},
        {&run->steps, "steps"},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        LS_TRY(golden_attribute_int(numbers[i].to, g, "/", numbers[i].name));
    LS_TRY(golden_attribute(&mlp_ratio, g, "/", "mlp_ratio"));
    if (run->micro_batches < 1 || run->micro_batches > GOLDEN_MICRO_BATCHES_MAX)
        return LS_FAIL(LS_DATA, "%d micro-batches", run->micro_batches);
    s->hidden = (int)(s->dim * mlp_ratio);
    s->pred_hidden = 4 * s->pred_dim; /* mlp_ratio is the encoder's */
    run->options.height = crop;
    run->options.width = crop;
    char name[64];
    for (;; s->mask_tokens++) {
        (void)snprintf(name, sizeof name, "init/predictor/mask_tokens.%d", s->mask_tokens);
        if (!golden_has(g, name))
            break;
    }
    run->options.dtype = run->how->dtype;
    run->options.groups = GOLDEN_GROUPS;
    run->options.loss_exponent = 1.0;
    run->options.beta1 = 0.9;
    run->options.beta2 = 0.999;
    run->options.eps = 1e-8;
    run->options.float_clips = true;
    run->options.activation_checkpointing = run->how->activation_checkpointing;
    run->options.bucket_tokens = run->how->bucket_tokens;
done:
    return st;
}

ls_status golden_run_parameter(float **out, const struct golden_state *run, const char *when,
                               const char *network, const struct parameter *parameter)
{
    ls_status st = LS_OK;
    char name[160];
    struct golden_shape shape;
    *out = NULL;
    const char *local = strchr(parameter->name, '.') + 1;
    (void)snprintf(name, sizeof name, "%s/%s/%s", when, network, local);
    LS_TRY(golden_floats(out, &shape, run->golden, name));
    bool same = shape.dimensions == parameter->dimensions;
    for (int i = 0; same && i < shape.dimensions; i++)
        same = shape.size[i] == parameter->shape[i];
    if (!same) {
        free(*out);
        *out = NULL;
        st = LS_FAIL(LS_DATA, "%s has another shape than %s", name, parameter->name);
    }
done:
    return st;
}

const char *golden_run_network(const struct parameter *parameter)
{
    return parameter->encoder ? "encoder" : "predictor";
}

/* The names in the file are all in the table (the other way round, golden_run_parameter sees to
 * it). */
static ls_status check_names(const struct golden_state *run)
{
    ls_status st = LS_OK;
    size_t in_file = 0;
    const char *const networks[] = {"init/encoder", "init/predictor"};
    for (int i = 0; i < 2; i++) {
        char **names = NULL;
        size_t count = 0;
        LS_TRY(golden_names(&names, &count, run->golden, networks[i]));
        golden_names_free(names, count);
        in_file += count;
    }
    if (in_file != (size_t)run->parameters->count)
        st = LS_FAIL(LS_DATA, "the file has %zu parameters, the table %d", in_file,
                     run->parameters->count);
done:
    return st;
}

ls_status golden_run_state(struct golden_state *run)
{
    ls_status st = LS_OK;
    float *values = NULL;
    const size_t bytes = sizeof(float);
    LS_TRY(check_names(run));
    run->weights = calloc((size_t)run->parameters->flat_count, bytes);
    run->ema = calloc((size_t)run->parameters->flat_count, bytes);
    if (run->weights == NULL || run->ema == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for the state");
        goto done;
    }
    for (int i = 0; i < run->parameters->count; i++) {
        const struct parameter *p = &run->parameters->table[i];
        LS_TRY(golden_run_parameter(&values, run, "init", golden_run_network(p), p));
        memcpy(run->weights + p->offset, values, (size_t)p->count * bytes);
        free(values);
        values = NULL;
        if (!p->encoder)
            continue;
        LS_TRY(golden_run_parameter(&values, run, "init", "target", p));
        memcpy(run->ema + p->offset, values, (size_t)p->count * bytes);
        free(values);
        values = NULL;
    }
done:
    free(values);
    return st;
}

void golden_batch_free(struct golden_batch *micro)
{
    free(micro->clips);
    for (int i = 0; i < 2 * GOLDEN_GROUPS; i++)
        free(micro->lists[i]);
    memset(micro, 0, sizeof *micro);
}

ls_status golden_batch_read(struct golden_batch *out, const struct golden_state *run, int step,
                            int micro)
{
    ls_status st = LS_OK;
    char name[96];
    struct golden_shape shape;
    memset(out, 0, sizeof *out);
    (void)snprintf(name, sizeof name, "step%d/micro%d/clips", step, micro);
    LS_TRY(golden_floats(&out->clips, &shape, run->golden, name));
    out->batch = (struct jepa_batch){.pixels = out->clips,
                                     .clips = (int)shape.size[0],
                                     .frames = (int)shape.size[2],
                                     .mask_token = 0};
    for (int g = 0; g < GOLDEN_GROUPS; g++) {
        (void)snprintf(name, sizeof name, "step%d/micro%d/mask_enc%d", step, micro, g);
        LS_TRY(golden_ints(&out->lists[g], &shape, run->golden, name));
        out->batch.context[g] = out->lists[g];
        out->batch.context_count[g] = (int)shape.size[1];
        (void)snprintf(name, sizeof name, "step%d/micro%d/mask_pred%d", step, micro, g);
        LS_TRY(golden_ints(&out->lists[GOLDEN_GROUPS + g], &shape, run->golden, name));
        out->batch.predicted[g] = out->lists[GOLDEN_GROUPS + g];
        out->batch.predicted_count[g] = (int)shape.size[1];
    }
done:
    if (st != LS_OK)
        golden_batch_free(out);
    return st;
}
