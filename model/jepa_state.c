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

/* Make [offset, offset + count) of the copies in the dtype of products anew. */
static ls_status refresh(struct jepa *jepa, void *compute_dev, const float *master_dev,
                         int64_t offset, int64_t count)
{
    if (jepa->on.dtype == OP_F32 || count == 0)
        return LS_OK;
    char *to = (char *)compute_dev + (size_t)offset * arena_element_bytes(jepa->on.dtype);
    return jepa->on.ops->cast(jepa->on.device, layer_matrix(to, 1, count, jepa->on.dtype),
                              layer_matrix(master_dev, 1, count, OP_F32));
}

/* Where the range begins in this rank's own arrays. */
struct state_place {
    int64_t masters, moments;
};

static ls_status find_range(struct state_place *out, const struct jepa *jepa,
                            const struct jepa_state *state)
{
    const int64_t all = jepa->parameters->flat_count;
    const bool moments = state->moment1 != NULL || state->moment2 != NULL;
    const bool masters = state->weights != NULL || state->ema != NULL;
    *out = (struct state_place){.masters = state->offset, .moments = state->offset};
    if (state->offset < 0 || state->count < 0 || state->count > all - state->offset)
        return LS_FAIL(LS_USAGE, "state range %lld + %lld of %lld", (long long)state->offset,
                       (long long)state->count, (long long)all);
    if (!jepa->held.divided || state->count == 0 ||
        !(moments || (masters && jepa->held.parts_only)))
        return LS_OK;
    const int64_t first = jepa_own_place(jepa, state->offset);
    const int64_t last = jepa_own_place(jepa, state->offset + state->count - 1);
    if (first < 0 || last != first + state->count - 1)
        return LS_FAIL(LS_USAGE, "state range %lld + %lld is in no slice of rank %d",
                       (long long)state->offset, (long long)state->count, jepa->options.rank);
    out->moments = first;
    if (jepa->held.parts_only)
        out->masters = first;
    return LS_OK;
}

/* What all ranks compute with, as float32: the values lie in the upper halves of the words. */
static ls_status download_copy(struct jepa *jepa, float *out, const void *copy_dev, int64_t offset,
                               int64_t count)
{
    ls_status st = LS_OK;
    const size_t bytes = arena_element_bytes(jepa->on.dtype);
    uint16_t *packed = (uint16_t *)(void *)out + count;
    if (out == NULL || count == 0)
        return LS_OK;
    LS_TRY(jepa->on.ops->download(jepa->on.device, packed,
                                  (const char *)copy_dev + (size_t)offset * bytes,
                                  (size_t)count * bytes));
    LS_TRY(jepa->on.ops->synchronize(jepa->on.device));
    for (int64_t i = 0; i < count; i++) {
        uint16_t upper = 0;
        memcpy(&upper, &packed[i], sizeof upper);
        const uint32_t bits = (uint32_t)upper << 16;
        memcpy(&out[i], &bits, sizeof bits);
    }
done:
    return st;
}

static ls_status download_copies(struct jepa *jepa, const struct jepa_state *state)
{
    ls_status st = LS_OK;
    LS_TRY(download_copy(jepa, state->weights, jepa->flat.weights_compute_dev, state->offset,
                         state->count));
    LS_TRY(download_copy(jepa, state->ema, jepa->flat.ema_compute_dev, state->offset,
                         ema_count(jepa, state->offset, state->count)));
done:
    return st;
}

ls_status jepa_state_download(struct jepa *jepa, const struct jepa_state *state)
{
    ls_status st = LS_OK;
    const struct jepa_flat *flat = &jepa->flat;
    struct state_place at;
    if (state->copies && jepa->on.dtype != OP_F32)
        return download_copies(jepa, state);
    LS_TRY(find_range(&at, jepa, state));
    const struct {
        float *to;
        const float *from_dev;
        int64_t count;
    } arrays[] = {
        {state->weights, flat->weights_dev + at.masters, state->count},
        {state->moment1, flat->moment1_dev + at.moments, state->count},
        {state->moment2, flat->moment2_dev + at.moments, state->count},
        {state->ema, flat->ema_dev + at.masters, ema_count(jepa, state->offset, state->count)},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        if (arrays[i].to != NULL && arrays[i].count > 0)
            LS_TRY(jepa->on.ops->download(jepa->on.device, arrays[i].to, arrays[i].from_dev,
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
    struct state_place at;
    LS_TRY(find_range(&at, jepa, state));
    const int64_t in_ema = ema_count(jepa, state->offset, state->count);
    const struct {
        float *to_dev;
        const float *from;
        int64_t count;
    } arrays[] = {
        {flat->weights_dev + at.masters, state->weights, state->count},
        {flat->moment1_dev + at.moments, state->moment1, state->count},
        {flat->moment2_dev + at.moments, state->moment2, state->count},
        {flat->ema_dev + at.masters, state->ema, in_ema},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        if (arrays[i].from != NULL && arrays[i].count > 0)
            LS_TRY(jepa->on.ops->upload(jepa->on.device, arrays[i].to_dev, arrays[i].from,
                                        (size_t)arrays[i].count * sizeof(float)));
    if (state->weights != NULL)
        LS_TRY(refresh(jepa, flat->weights_compute_dev, flat->weights_dev + at.masters,
                       state->offset, state->count));
    if (state->ema != NULL)
        LS_TRY(refresh(jepa, flat->ema_compute_dev, flat->ema_dev + at.masters, state->offset,
                       in_ema));
    if (state->adam_steps != NULL)
        memcpy(jepa->adam_steps, state->adam_steps,
               (size_t)jepa->parameters->count * sizeof *jepa->adam_steps);
    LS_TRY(jepa->on.ops->synchronize(jepa->on.device));
done:
    return st;
}

/* This rank's slices of weights and EMA, from weights of the whole flat space. */
static ls_status keep_slices(struct jepa *jepa, const float *weights_dev)
{
    ls_status st = LS_OK;
    const struct op_table *ops = jepa->on.ops;
    const struct division *division = &jepa->options.division;
    const int64_t totals[2] = {jepa->parameters->flat_count, jepa->parameters->encoder_count};
    float *const to_dev[2] = {jepa->flat.weights_dev, jepa->flat.ema_dev};
    for (int a = 0; a < 2; a++)
        for (int64_t b = 0; b < division_buckets(division, totals[a]); b++) {
            int64_t offset = 0;
            const int64_t count =
                division_part(&offset, division, b, jepa->options.rank, totals[a]);
            if (count > 0)
                LS_TRY(ops->copy(jepa->on.device, to_dev[a] + b * division->slice,
                                 weights_dev + offset, (size_t)count * sizeof(float)));
        }
    LS_TRY(jepa_vectors_set(jepa, weights_dev));
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
    const size_t moment_bytes = (size_t)jepa->held.moments * sizeof(float);
    /* Where there is no room for all weights they pass through that of the gradient. */
    float *whole_dev = jepa->held.parts_only ? flat->gradient_dev : flat->weights_dev;
    void *staging = NULL;
    if (ops->host_memory) {
        parameters_initialize(jepa->parameters, whole_dev, seed);
    } else {
        LS_TRY(ops->host_allocate(jepa->on.device, &staging, (size_t)all * sizeof(float)));
        parameters_initialize(jepa->parameters, staging, seed);
        LS_TRY(ops->upload(jepa->on.device, whole_dev, staging, (size_t)all * sizeof(float)));
    }
    if (jepa->held.parts_only)
        LS_TRY(keep_slices(jepa, whole_dev));
    else
        LS_TRY(ops->copy(jepa->on.device, flat->ema_dev, flat->weights_dev,
                         (size_t)encoder * sizeof(float)));
    LS_TRY(ops->zero(jepa->on.device, flat->moment1_dev, moment_bytes));
    LS_TRY(ops->zero(jepa->on.device, flat->moment2_dev, moment_bytes));
    LS_TRY(refresh(jepa, flat->weights_compute_dev, whole_dev, 0, all));
    LS_TRY(refresh(jepa, flat->ema_compute_dev, whole_dev, 0, encoder));
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
