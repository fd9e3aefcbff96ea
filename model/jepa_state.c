/* State in and out: initial values, ranges for checkpoints, and the last micro-batch's outputs. */
#include <string.h>

#include "model/jepa_parts.h"

/* The part of [offset, offset + count) that the EMA copy has. */
static int64_t ema_count(const struct jepa *jepa, int64_t offset, int64_t count)
{
    const int64_t left = jepa->parameters->encoder_count - offset;
    if (left <= 0)
        return 0;
    return left < count ? left : count;
}

/* Make the copies in the dtype of products anew. */
static ls_status refresh(struct jepa *jepa, void *compute_dev, float *master_dev, int64_t offset,
                         int64_t count)
{
    if (jepa->on.dtype == OP_F32 || count == 0)
        return LS_OK;
    char *to = (char *)compute_dev + (size_t)offset * arena_element_bytes(jepa->on.dtype);
    return jepa->on.ops->cast(jepa->on.device, layer_matrix(to, 1, count, jepa->on.dtype),
                              layer_matrix(master_dev + offset, 1, count, OP_F32));
}

static ls_status check_range(const struct jepa *jepa, const struct jepa_state *state)
{
    const int64_t all = jepa->parameters->flat_count;
    if (state->offset < 0 || state->count < 0 || state->count > all - state->offset)
        return LS_FAIL(LS_USAGE, "state range %lld + %lld of %lld", (long long)state->offset,
                       (long long)state->count, (long long)all);
    return LS_OK;
}

ls_status jepa_state_download(struct jepa *jepa, const struct jepa_state *state)
{
    ls_status st = LS_OK;
    const struct jepa_flat *flat = &jepa->flat;
    LS_TRY(check_range(jepa, state));
    const struct {
        float *to;
        const float *from_dev;
        int64_t count;
    } arrays[] = {
        {state->weights, flat->weights_dev, state->count},
        {state->moment1, flat->moment1_dev, state->count},
        {state->moment2, flat->moment2_dev, state->count},
        {state->ema, flat->ema_dev, ema_count(jepa, state->offset, state->count)},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        if (arrays[i].to != NULL && arrays[i].count > 0)
            LS_TRY(jepa->on.ops->download(jepa->on.device, arrays[i].to,
                                          arrays[i].from_dev + state->offset,
                                          (size_t)arrays[i].count * sizeof(float)));
    if (state->adam_steps != NULL)
        memcpy(state->adam_steps, jepa->adam_steps,
               (size_t)jepa->parameters->count * sizeof *jepa->adam_steps);
    LS_TRY(jepa->on.ops->synchronize(jepa->on.device));
done:
    return st;
}

ls_status jepa_state_upload(struct jepa *jepa, const struct jepa_state *state)
{
    ls_status st = LS_OK;
    const struct jepa_flat *flat = &jepa->flat;
    LS_TRY(check_range(jepa, state));
    const int64_t in_ema = ema_count(jepa, state->offset, state->count);
    const struct {
        float *to_dev;
        const float *from;
        int64_t count;
    } arrays[] = {
        {flat->weights_dev, state->weights, state->count},
        {flat->moment1_dev, state->moment1, state->count},
        {flat->moment2_dev, state->moment2, state->count},
        {flat->ema_dev, state->ema, in_ema},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        if (arrays[i].from != NULL && arrays[i].count > 0)
            LS_TRY(jepa->on.ops->upload(jepa->on.device, arrays[i].to_dev + state->offset,
                                        arrays[i].from, (size_t)arrays[i].count * sizeof(float)));
    if (state->weights != NULL)
        LS_TRY(refresh(jepa, flat->weights_compute_dev, flat->weights_dev, state->offset,
                       state->count));
    if (state->ema != NULL)
        LS_TRY(refresh(jepa, flat->ema_compute_dev, flat->ema_dev, state->offset, in_ema));
    if (state->adam_steps != NULL)
        memcpy(jepa->adam_steps, state->adam_steps,
               (size_t)jepa->parameters->count * sizeof *jepa->adam_steps);
    LS_TRY(jepa->on.ops->synchronize(jepa->on.device));
done:
    return st;
}

ls_status jepa_initialize(struct jepa *jepa, uint64_t seed)
{
    ls_status st = LS_OK;
    const struct op_table *ops = jepa->on.ops;
    const struct jepa_flat *flat = &jepa->flat;
    const int64_t all = jepa->parameters->flat_count;
    const int64_t encoder = jepa->parameters->encoder_count;
    void *staging = NULL;
    if (ops->host_memory) {
        parameters_initialize(jepa->parameters, flat->weights_dev, seed);
    } else {
        LS_TRY(ops->host_allocate(jepa->on.device, &staging, (size_t)all * sizeof(float)));
        parameters_initialize(jepa->parameters, staging, seed);
        LS_TRY(
            ops->upload(jepa->on.device, flat->weights_dev, staging, (size_t)all * sizeof(float)));
    }
    LS_TRY(ops->copy(jepa->on.device, flat->ema_dev, flat->weights_dev,
                     (size_t)encoder * sizeof(float)));
    LS_TRY(ops->zero(jepa->on.device, flat->moment1_dev, (size_t)all * sizeof(float)));
    LS_TRY(ops->zero(jepa->on.device, flat->moment2_dev, (size_t)all * sizeof(float)));
    LS_TRY(refresh(jepa, flat->weights_compute_dev, flat->weights_dev, 0, all));
    LS_TRY(refresh(jepa, flat->ema_compute_dev, flat->ema_dev, 0, encoder));
    memset(jepa->adam_steps, 0, (size_t)jepa->parameters->count * sizeof *jepa->adam_steps);
    LS_TRY(ops->synchronize(jepa->on.device));
done:
    if (staging != NULL)
        ops->host_release(jepa->on.device, staging);
    return st;
}

/* The true rows of sequences [first, first + count) of a matrix, one after another. */
static ls_status download(struct jepa *jepa, float *out, const float *from_dev,
                          const struct op_sequences *rows, int first, int count)
{
    ls_status st = LS_OK;
    const int64_t dim = jepa->options.shape.dim;
    for (int s = first; s < first + count; s++) {
        LS_TRY(jepa->on.ops->download(jepa->on.device, out, from_dev + rows->start[s] * dim,
                                      (size_t)(rows->length[s] * dim) * sizeof(float)));
        out += rows->length[s] * dim;
    }
    LS_TRY(jepa->on.ops->synchronize(jepa->on.device));
done:
    return st;
}

/* The context is kept in the dtype of products; dx is free once backward is done. */
static ls_status download_context(struct jepa *jepa, int group, float *out)
{
    ls_status st = LS_OK;
    const struct layout *layout = &jepa->layout;
    const int64_t dim = jepa->options.shape.dim;
    const struct op_sequences *all = &layout->context.sequences;
    LS_TRY(jepa->on.ops->cast(
        jepa->on.device, layer_matrix(jepa->dx, all->rows, dim, OP_F32),
        layer_matrix(jepa->context_memory.normed, all->rows, dim, jepa->on.dtype)));
    LS_TRY(download(jepa, out, jepa->dx, all, group * layout->clips, layout->clips));
done:
    return st;
}

ls_status jepa_output(struct jepa *jepa, enum jepa_output which, int group, float *out)
{
    const struct layout *layout = &jepa->layout;
    const struct op_sequences *queries = &layout->queries.sequences;
    const bool of_target = which == JEPA_TARGET_RAW || which == JEPA_TARGET_NORM;
    if (layout->groups == 0)
        return LS_FAIL(LS_USAGE, "no micro-batch has run yet");
    if (!of_target && (group < 0 || group >= layout->groups))
        return LS_FAIL(LS_USAGE, "mask group %d of %d", group, layout->groups);
    if (of_target && !jepa->options.whole_target)
        return LS_FAIL(LS_USAGE, "the model was opened without whole_target");
    switch (which) {
    case JEPA_TARGET_RAW:
        return download(jepa, out, jepa->target_memory.raw, queries, 0, layout->clips);
    case JEPA_TARGET_NORM:
        return download(jepa, out, jepa->target_memory.goal, queries, 0, layout->clips);
    case JEPA_CONTEXT:
        return download_context(jepa, group, out);
    case JEPA_PREDICTION:
        break;
    }
    return download(jepa, out, jepa->predictor_memory.predictions, &layout->predictions.sequences,
                    group * layout->clips, layout->clips);
}
