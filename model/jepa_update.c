/* The end of a step: norm of the summed gradient, AdamW and EMA.  Nothing here allocates. */
#include <math.h>

#include "model/jepa_parts.h"

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
