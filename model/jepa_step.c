/* One step: micro-batches forward and backward, then the update.
 *
 * The target pass comes first and leaves only the goals; from there on all memory belongs to what
 * is trained.  Nothing here allocates, and nothing waits for the device but what brings numbers to
 * the host. */
#include <math.h>
#include <string.h>

#include "core/trace.h"
#include "model/jepa_parts.h"

ls_status jepa_begin_step(struct jepa *jepa)
{
    ls_status st = LS_OK;
    const struct op_table *ops = jepa->on.ops;
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

static ls_status run_trained(struct jepa *jepa, struct op_clips clips, int mask_token,
                             double micro_batch_weight, struct layer_report *report)
{
    ls_status st = LS_OK;
    const struct layout *layout = &jepa->layout;
    const int64_t dim = jepa->options.shape.dim;
    const int64_t rows = layout->context.sequences.rows;
    const struct op_matrix context =
        layer_matrix(jepa->context_memory.normed, rows, dim, jepa->on.dtype);
    const struct op_matrix dcontext = layer_matrix(jepa->dcontext, rows, dim, jepa->on.dtype);
    const struct op_matrix dpredictions =
        layer_matrix(jepa->dpredictions, layout->predictions.sequences.rows, dim, jepa->on.dtype);
    trace_begin("context");
    LS_TRY(trace_ended(encoder_context_fwd(&jepa->on, &jepa->context, &jepa->context_memory,
                                           &jepa->encoder_scratch, clips, layout)));
    trace_begin("predictor");
    LS_TRY(trace_ended(predictor_fwd(&jepa->on, &jepa->predictor, &jepa->predictor_memory,
                                     &jepa->predictor_scratch, context, mask_token, layout)));
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

/* The `index`-th part of the gradient whose sums this rank has: all of it, or its slice of a
 * bucket. False beyond the last. */
static bool own_part(const struct jepa *jepa, int64_t index, int64_t *offset, int64_t *count)
{
    const int64_t all = jepa->parameters->flat_count;
    const struct division *division = &jepa->options.division;
    *offset = 0;
    *count = all;
    if (!jepa->held.divided)
        return index < 1;
    if (index >= division_buckets(division, all))
        return false;
    *count = division_part(offset, division, index, jepa->options.rank, all);
    return true;
}

/* Where the all-reduce worked on the host's copy, the device takes it back, once. */
static ls_status take_back_gradient(struct jepa *jepa)
{
    ls_status st = LS_OK;
    int64_t offset = 0;
    int64_t count = 0;
    if (!jepa->gradient_staged)
        return LS_OK;
    jepa->gradient_staged = false;
    for (int64_t i = 0; own_part(jepa, i, &offset, &count); i++)
        if (count > 0)
            LS_TRY(jepa->on.ops->upload(jepa->on.device, jepa->flat.gradient_dev + offset,
                                        jepa->flat.gradient_host + offset,
                                        (size_t)count * sizeof(float)));
done:
    return st;
}

ls_status jepa_gradient_norm(struct jepa *jepa, double *out)
{
    ls_status st = LS_OK;
    int64_t offset = 0;
    int64_t count = 0;
    int64_t parts = 0;
    double sum = 0.0;
    *out = 0.0;
    LS_TRY(take_back_gradient(jepa));
    for (; own_part(jepa, parts, &offset, &count); parts++)
        LS_TRY(jepa->on.ops->square_sum(jepa->on.device, jepa->sums.norm_dev + parts,
                                        jepa->flat.gradient_dev + offset, count));
    LS_TRY(jepa->on.ops->download(jepa->on.device, jepa->sums.host, jepa->sums.norm_dev,
                                  (size_t)parts * sizeof(double)));
    LS_TRY(jepa->on.ops->synchronize(jepa->on.device));
    for (int64_t i = 0; i < parts; i++)
        sum += jepa->sums.host[i];
    *out = sqrt(sum);
done:
    return st;
}

/* Whether a parameter had a gradient in this step: all but the mask tokens that no clip used. */
static bool has_gradient(const struct jepa *jepa, const struct parameter *parameter, int mask_token)
{
    return parameter->kind != PARAMETER_MASK_TOKEN ||
           ((jepa->mask_tokens_used >> mask_token) & 1U) != 0;
}

static int list_pieces(struct jepa *jepa)
{
    const struct jepa_options *o = &jepa->options;
    int count = 0;
    int mask_token = 0;
    for (int i = 0; i < jepa->parameters->count; i++) {
        const struct parameter *parameter = &jepa->parameters->table[i];
        const bool has = has_gradient(jepa, parameter, mask_token);
        if (parameter->kind == PARAMETER_MASK_TOKEN)
            mask_token++;
        if (!has)
            continue;
        jepa->adam_steps[i]++;
        const double t = (double)jepa->adam_steps[i];
        jepa->pieces[count] = (struct op_update_piece){
            .offset = parameter->offset,
            .count = parameter->count,
            .decay = parameter->decay,
            .ema = parameter->encoder,
            .first_correction = 1.0 - pow(o->beta1, t),
            .second_correction = 1.0 - pow(o->beta2, t),
        };
        count++;
    }
    return count;
}

ls_status jepa_update_part(struct jepa *jepa, struct op_update work, int64_t offset, int64_t count)
{
    int pieces = 0;
    for (int i = 0; i < jepa->piece_count; i++) {
        struct op_update_piece piece = jepa->pieces[i];
        const int64_t first = piece.offset > offset ? piece.offset : offset;
        const int64_t stop = piece.offset + piece.count;
        piece.offset = first;
        piece.count = (stop < offset + count ? stop : offset + count) - first;
        if (piece.count > 0)
            jepa->part_pieces[pieces++] = piece;
    }
    work.pieces = jepa->part_pieces;
    work.piece_count = pieces;
    return pieces > 0 ? jepa->on.ops->update(jepa->on.device, &work) : LS_OK;
}

/* This rank's slice of every bucket. */
static ls_status update_slices(struct jepa *jepa, struct op_update work)
{
    ls_status st = LS_OK;
    int64_t offset = 0;
    int64_t count = 0;
    for (int64_t i = 0; own_part(jepa, i, &offset, &count); i++) {
        work.moments_from = offset - i * jepa->options.division.slice;
        work.masters_from = jepa->held.parts_only ? work.moments_from : 0;
        LS_TRY(jepa_update_part(jepa, work, offset, count));
    }
done:
    return st;
}

ls_status jepa_update(struct jepa *jepa, const struct jepa_update *update)
{
    ls_status st = LS_OK;
    const struct jepa_flat *flat = &jepa->flat;
    const bool copies = jepa->on.dtype != OP_F32;
    LS_TRY(take_back_gradient(jepa));
    jepa->piece_count = list_pieces(jepa);
    jepa->held.moves_ema = jepa->held.divided && !jepa->held.parts_only;
    jepa->held.ema_keep = update->ema_keep;
    const struct op_update work = {
        .pieces = jepa->pieces,
        .piece_count = jepa->piece_count,
        .weights_dev = flat->weights_dev,
        .moment1_dev = flat->moment1_dev,
        .moment2_dev = flat->moment2_dev,
        .ema_dev = flat->ema_dev,
        .gradient_dev = flat->gradient_dev,
        .weights_compute_dev = copies ? flat->weights_compute_dev : NULL,
        .ema_compute_dev = copies ? flat->ema_compute_dev : NULL,
        .lr = update->lr,
        .weight_decay = update->weight_decay,
        .beta1 = jepa->options.beta1,
        .beta2 = jepa->options.beta2,
        .eps = jepa->options.eps,
        .ema_keep = update->ema_keep,
        .gradient_scale = update->gradient_scale,
    };
    LS_TRY(jepa->held.divided ? update_slices(jepa, work)
                              : jepa->on.ops->update(jepa->on.device, &work));
done:
    return st;
}
