/* A step's micro-batches, forward and backward; jepa_update.c has what follows them.
 *
 * The target pass comes first and leaves only the goals; from there on all memory belongs to what
 * is trained.  Nothing here allocates, and nothing waits for the device but what brings numbers to
 * the host. */
#include <string.h>

#include "core/trace.h"
#include "model/jepa_parts.h"

ls_status jepa_begin_step(struct jepa *jepa)
{
    ls_status st = LS_OK;
    const struct op_table *ops = jepa->on.ops;
    if (jepa->options.forward_only)
        return LS_FAIL(LS_USAGE, "the model was opened with forward_only: it cannot be trained");
    jepa->mask_tokens_used = 0;
    jepa->want_gram = false;
    jepa->gradient_staged = false;
    jepa->flops = 0.0;
    jepa->target_rows = 0;
    jepa->rows = 0;
    jepa->padding_rows = 0;
    LS_TRY(ops->zero(jepa->on.device, jepa->flat.gradient_dev,
                     (size_t)jepa->held.all * sizeof(float)));
    LS_TRY(
        ops->zero(jepa->on.device, jepa->sums.loss_dev, (size_t)jepa->sums.count * sizeof(double)));
done:
    return st;
}

ls_status jepa_want_gram(struct jepa *jepa)
{
    const size_t dim = (size_t)jepa->options.shape.dim;
    jepa->want_gram = true;
    return jepa->on.ops->zero(jepa->on.device, jepa->sums.gram_dev, dim * dim * sizeof(float));
}

/* goals: the layer-normed target features of every prediction. */
static ls_status run_target(struct jepa *jepa, struct op_clips clips)
{
    ls_status st = LS_OK;
    const struct layout *layout = &jepa->layout;
    const int64_t dim = jepa->options.shape.dim;
    const struct op_matrix goals =
        layer_matrix(jepa->goals, layout->predictions.sequences.rows, dim, OP_F32);
    const struct op_matrix made =
        layer_matrix(jepa->target_memory.goal, layout->queries.sequences.rows, dim, OP_F32);
    LS_TRY(encoder_target_fwd(&jepa->on, &jepa->target, &jepa->target_memory, clips, layout,
                              jepa->options.whole_target));
    LS_TRY(jepa->on.ops->gather_rows(jepa->on.device, goals, made, layout->goal_index_dev, NULL));
done:
    return st;
}

/* Rows of group `g` in a matrix of predictions. */
static struct op_matrix group_view(const struct layout *layout, int g, void *data_dev, int64_t dim,
                                   enum op_dtype dtype)
{
    char *first =
        (char *)data_dev + (size_t)(layout->group_first[g] * dim) * arena_element_bytes(dtype);
    return layer_matrix(first, layout->group_rows[g].rows, dim, dtype);
}

static ls_status run_loss(struct jepa *jepa, double micro_batch_weight)
{
    ls_status st = LS_OK;
    const struct layout *layout = &jepa->layout;
    const int64_t dim = jepa->options.shape.dim;
    for (int g = 0; g < layout->groups; g++) {
        const struct op_sequences *rows = &layout->group_rows[g];
        const double share = micro_batch_weight / (double)(rows->true_rows * dim);
        LS_TRY(jepa->on.ops->loss(
            jepa->on.device, group_view(layout, g, jepa->dpredictions, dim, jepa->on.dtype),
            jepa->sums.loss_dev + g,
            group_view(layout, g, jepa->predictor_memory.predictions, dim, OP_F32),
            group_view(layout, g, jepa->goals, dim, OP_F32), rows, jepa->options.loss_exponent,
            share / layout->groups, share));
    }
done:
    return st;
}

static ls_status run_statistics(struct jepa *jepa)
{
    ls_status st = LS_OK;
    const struct layout *layout = &jepa->layout;
    const struct op_table *ops = jepa->on.ops;
    const struct op_sequences *rows = &layout->predictions.sequences;
    const int64_t dim = jepa->options.shape.dim;
    const struct op_matrix goals = layer_matrix(jepa->goals, rows->rows, dim, OP_F32);
    const struct op_matrix predictions =
        layer_matrix(jepa->predictor_memory.predictions, rows->rows, dim, OP_F32);
    LS_TRY(ops->column_statistics(jepa->on.device, jepa->sums.target_dev,
                                  jepa->sums.target_square_dev, NULL, goals, rows));
    LS_TRY(ops->column_statistics(jepa->on.device, jepa->sums.prediction_dev,
                                  jepa->sums.prediction_square_dev, jepa->sums.prediction_unit_dev,
                                  predictions, rows));
    if (jepa->want_gram)
        LS_TRY(ops->gram(jepa->on.device, jepa->sums.gram_dev, goals));
    jepa->target_rows += rows->true_rows;
done:
    return st;
}

/* Context encoder and predictor. */
static ls_status run_prediction(struct jepa *jepa, struct op_matrix context, struct op_clips clips,
                                int mask_token)
{
    ls_status st = LS_OK;
    const struct layout *layout = &jepa->layout;
    trace_begin("context");
    LS_TRY(trace_ended(encoder_context_fwd(&jepa->on, &jepa->context, &jepa->context_memory,
                                           &jepa->encoder_scratch, clips, layout)));
    trace_begin("predictor");
    LS_TRY(trace_ended(predictor_fwd(&jepa->on, &jepa->predictor, &jepa->predictor_memory,
                                     &jepa->predictor_scratch, context, mask_token, layout)));
done:
    return st;
}

static struct op_matrix context_of(const struct jepa *jepa)
{
    return layer_matrix(jepa->context_memory.normed, jepa->layout.context.sequences.rows,
                        jepa->options.shape.dim, jepa->on.dtype);
}

static ls_status run_trained(struct jepa *jepa, struct op_clips clips, int mask_token,
                             double micro_batch_weight, struct layer_report *report)
{
    ls_status st = LS_OK;
    const struct layout *layout = &jepa->layout;
    const int64_t dim = jepa->options.shape.dim;
    const int64_t rows = layout->context.sequences.rows;
    const struct op_matrix context = context_of(jepa);
    const struct op_matrix dcontext = layer_matrix(jepa->dcontext, rows, dim, jepa->on.dtype);
    const struct op_matrix dpredictions =
        layer_matrix(jepa->dpredictions, layout->predictions.sequences.rows, dim, jepa->on.dtype);
    LS_TRY(run_prediction(jepa, context, clips, mask_token));
    trace_begin("loss");
    LS_TRY(trace_ended(run_loss(jepa, micro_batch_weight)));
    trace_begin("statistics");
    LS_TRY(trace_ended(run_statistics(jepa)));
    trace_begin("predictor backward");
    LS_TRY(trace_ended(predictor_bwd(&jepa->on, &jepa->predictor, &jepa->predictor_memory,
                                     &jepa->predictor_scratch, dcontext, dpredictions, context,
                                     mask_token, layout, report)));
    trace_begin("context backward");
    LS_TRY(trace_ended(encoder_context_bwd(&jepa->on, &jepa->context, &jepa->context_memory,
                                           &jepa->encoder_scratch, jepa->dx, jepa->dcontext, layout,
                                           report)));
done:
    return st;
}

ls_status jepa_run(struct jepa *jepa, struct op_clips clips, int mask_token,
                   double micro_batch_weight, struct layer_report *report)
{
    ls_status st = LS_OK;
    trace_begin("target");
    LS_TRY(trace_ended(run_target(jepa, clips)));
    LS_TRY(run_trained(jepa, clips, mask_token, micro_batch_weight, report));
done:
    return st;
}

ls_status jepa_predict(struct jepa *jepa, const struct jepa_batch *batch)
{
    ls_status st = LS_OK;
    struct jepa_slot *slot = NULL;
    if (jepa->staged > 0)
        return LS_FAIL(LS_USAGE, "%d micro-batches are staged already", jepa->staged);
    LS_TRY(jepa_stage(jepa, batch));
    LS_TRY(jepa_slot_take(jepa, &slot));
    jepa->layout = slot->layout;
    LS_TRY(run_target(jepa, slot->clips));
    LS_TRY(run_prediction(jepa, context_of(jepa), slot->clips, slot->mask_token));
    LS_TRY(jepa->on.ops->event_record(jepa->on.device, slot->done));
    LS_TRY(jepa_stage_wait(jepa));
done:
    return st;
}

/* Rows of the running micro-batch, and the padding among them. */
static void count_rows(struct jepa *jepa)
{
    const struct layout *l = &jepa->layout;
    enum { MATRICES = 5 };
    const struct layout_rows *const all[MATRICES] = {&l->target, &l->queries, &l->context,
                                                     &l->predictor, &l->predictions};
    for (int i = 0; i < MATRICES; i++) {
        jepa->rows += all[i]->sequences.rows;
        jepa->padding_rows += all[i]->sequences.rows - all[i]->sequences.true_rows;
    }
}

ls_status jepa_staged_micro_batch(struct jepa *jepa, double micro_batch_weight,
                                  jepa_gradient_ready ready, void *ready_context)
{
    ls_status st = LS_OK;
    struct jepa_slot *slot = NULL;
    struct layer_report report = {
        .ready = ready,
        .context = ready_context,
        .end = jepa->parameters->flat_count,
        .ops = jepa->on.ops,
        .device = jepa->on.device,
        .gradient_dev = jepa->flat.gradient_dev,
        .gradient_host = jepa->flat.gradient_host,
    };
    LS_TRY(jepa_slot_take(jepa, &slot));
    jepa->layout = slot->layout;
    jepa->mask_tokens_used |= 1ULL << slot->mask_token;
    jepa->gradient_staged = ready != NULL && jepa->flat.gradient_host != NULL &&
                            jepa->flat.gradient_host != jepa->flat.gradient_dev;
    LS_TRY(jepa_run(jepa, slot->clips, slot->mask_token, micro_batch_weight, &report));
    LS_TRY(jepa->on.ops->event_record(jepa->on.device, slot->done));
    count_rows(jepa);
    jepa->flops += slot->flops;
done:
    return st;
}

ls_status jepa_micro_batch(struct jepa *jepa, const struct jepa_batch *batch,
                           double micro_batch_weight, jepa_gradient_ready ready,
                           void *ready_context)
{
    ls_status st = LS_OK;
    if (jepa->staged > 0)
        return LS_FAIL(LS_USAGE, "%d micro-batches are staged already", jepa->staged);
    LS_TRY(jepa_stage(jepa, batch));
    LS_TRY(jepa_staged_micro_batch(jepa, micro_batch_weight, ready, ready_context));
    LS_TRY(jepa_stage_wait(jepa));
done:
    return st;
}

ls_status jepa_result(struct jepa *jepa, struct jepa_result *out)
{
    ls_status st = LS_OK;
    const int groups = jepa->options.groups;
    *out = (struct jepa_result){.flops = jepa->flops,
                                .target_rows = jepa->target_rows,
                                .rows = jepa->rows,
                                .padding_rows = jepa->padding_rows};
    LS_TRY(jepa->on.ops->download(jepa->on.device, jepa->sums.host, jepa->sums.loss_dev,
                                  (size_t)groups * sizeof(double)));
    LS_TRY(jepa->on.ops->synchronize(jepa->on.device));
    for (int g = 0; g < groups; g++) {
        out->group_loss[g] = jepa->sums.host[g];
        out->loss += jepa->sums.host[g] / groups;
    }
done:
    return st;
}

uint64_t jepa_mask_tokens_used(const struct jepa *jepa)
{
    return jepa->mask_tokens_used;
}

void jepa_mask_tokens_set(struct jepa *jepa, uint64_t used)
{
    jepa->mask_tokens_used = used;
}
