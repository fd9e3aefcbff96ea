/* Micro-batches on their way to the device.
 *
 * Two slots, each with room for the clips and the index arrays: while one is computed, the other is
 * filled on the copy queue.  A slot's copies wait for the computation that used it last, the
 * computation waits for the copies, and the host waits for neither, save before it takes its own
 * memory back. */
#include "core/flops.h"
#include "model/jepa_parts.h"

ls_status jepa_slots_open(struct jepa *jepa)
{
    ls_status st = LS_OK;
    const struct op_table *ops = jepa->on.ops;
    const size_t bytes = jepa->pixel_bytes * (size_t)jepa->options.clips;
    for (int i = 0; i < JEPA_SLOTS; i++) {
        struct jepa_slot *slot = &jepa->slots[i];
        LS_TRY(layout_open(&slot->layout_builder, &jepa->limits, ops, jepa->on.device));
        LS_TRY(ops->event_open(jepa->on.device, &slot->filled));
        LS_TRY(ops->event_open(jepa->on.device, &slot->done));
        if (!ops->host_memory)
            LS_TRY(ops->allocate(jepa->on.device, &slot->pixels_dev, bytes));
    }
    /* Memory is filled with zeros on the compute queue: no copy may come before that. */
    LS_TRY(ops->synchronize(jepa->on.device));
done:
    return st;
}

void jepa_slots_close(struct jepa *jepa)
{
    const struct op_table *ops = jepa->on.ops;
    for (int i = 0; i < JEPA_SLOTS; i++) {
        struct jepa_slot *slot = &jepa->slots[i];
        layout_close(&slot->layout_builder);
        if (slot->pixels_dev != NULL)
            ops->release(jepa->on.device, slot->pixels_dev);
        if (slot->filled != NULL)
            ops->event_close(jepa->on.device, slot->filled);
        if (slot->done != NULL)
            ops->event_close(jepa->on.device, slot->done);
    }
}

static ls_status check_batch(const struct jepa *jepa, const struct jepa_batch *batch)
{
    const struct jepa_options *o = &jepa->options;
    if (jepa->staged == JEPA_SLOTS)
        return LS_FAIL(LS_USAGE, "%d micro-batches are staged already", JEPA_SLOTS);
    if (batch->frames < 1 || batch->frames > o->frames || batch->frames % o->shape.tubelet != 0)
        return LS_FAIL(LS_USAGE, "clips of %d frames: at most %d, a multiple of %d", batch->frames,
                       o->frames, o->shape.tubelet);
    if (batch->mask_token < 0 || batch->mask_token >= o->shape.mask_tokens)
        return LS_FAIL(LS_USAGE, "mask token %d of %d", batch->mask_token, o->shape.mask_tokens);
    return LS_OK;
}

static ls_status fill_clips(struct jepa *jepa, struct jepa_slot *slot,
                            const struct jepa_batch *batch)
{
    const struct jepa_options *o = &jepa->options;
    slot->clips = (struct op_clips){
        .pixels_dev = batch->pixels,
        .kind = o->float_clips ? OP_PIXELS_F32_CTHW : OP_PIXELS_U8_THWC,
        .clips = batch->clips,
        .frames = batch->frames,
        .height = o->height,
        .width = o->width,
        .tubelet = o->shape.tubelet,
        .patch = o->shape.patch,
    };
    encoder_normalisation(&slot->clips);
    if (slot->pixels_dev == NULL)
        return LS_OK;
    slot->clips.pixels_dev = slot->pixels_dev;
    const size_t frame_bytes = jepa->pixel_bytes / (size_t)o->frames;
    return jepa->on.ops->upload(jepa->on.device, slot->pixels_dev, batch->pixels,
                                frame_bytes * (size_t)batch->frames * (size_t)batch->clips);
}

static double count_flops(const struct jepa *jepa, const struct jepa_batch *batch,
                          const struct layout *layout)
{
    struct flops_work work = {
        .clips = batch->clips,
        .tokens = layout->tokens,
        .groups = layout->groups,
        .target_queries = layout->queries.sequences.true_rows,
    };
    for (int g = 0; g < work.groups; g++) {
        work.context_count[g] = batch->context_count[g];
        work.predicted_count[g] = batch->predicted_count[g];
    }
    return flops_micro_batch(NULL, &jepa->options.shape, &work);
}

/* On the copy queue. */
static ls_status fill(struct jepa *jepa, struct jepa_slot *slot, const struct jepa_batch *batch)
{
    ls_status st = LS_OK;
    const struct jepa_options *o = &jepa->options;
    const struct op_table *ops = jepa->on.ops;
    const int tokens = batch->frames / o->shape.tubelet * (o->height / o->shape.patch) *
                       (o->width / o->shape.patch);
    LS_TRY(ops->event_wait(jepa->on.device, slot->done));
    LS_TRY(layout_build(&slot->layout, slot->layout_builder, batch, tokens));
    LS_TRY(fill_clips(jepa, slot, batch));
    LS_TRY(ops->event_record(jepa->on.device, slot->filled));
    slot->mask_token = batch->mask_token;
    slot->flops = count_flops(jepa, batch, &slot->layout);
done:
    return st;
}

ls_status jepa_stage(struct jepa *jepa, const struct jepa_batch *batch)
{
    ls_status st = LS_OK;
    const struct op_table *ops = jepa->on.ops;
    struct jepa_slot *slot = &jepa->slots[jepa->slot_next];
    LS_TRY(check_batch(jepa, batch));
    /* The index arrays are made in pinned memory that the slot's last copy came from. */
    LS_TRY(ops->event_synchronize(jepa->on.device, slot->filled));
    LS_TRY(ops->select(jepa->on.device, OP_QUEUE_COPY));
    st = fill(jepa, slot, batch);
    const ls_status back = ops->select(jepa->on.device, OP_QUEUE_COMPUTE);
    st = st != LS_OK ? st : back;
    if (st == LS_OK) {
        jepa->slot_next = (jepa->slot_next + 1) % JEPA_SLOTS;
        jepa->staged++;
    }
done:
    return st;
}

ls_status jepa_stage_wait(struct jepa *jepa)
{
    const int last = (jepa->slot_next + JEPA_SLOTS - 1) % JEPA_SLOTS;
    return jepa->on.ops->event_synchronize(jepa->on.device, jepa->slots[last].filled);
}

ls_status jepa_slot_take(struct jepa *jepa, struct jepa_slot **out)
{
    if (jepa->staged == 0)
        return LS_FAIL(LS_USAGE, "no micro-batch is staged");
    *out = &jepa->slots[(jepa->slot_next + JEPA_SLOTS - jepa->staged) % JEPA_SLOTS];
    jepa->staged--;
    return jepa->on.ops->event_wait(jepa->on.device, (*out)->filled);
}

ls_status jepa_unstage(struct jepa *jepa)
{
    jepa->slot_next = (jepa->slot_next + JEPA_SLOTS - jepa->staged) % JEPA_SLOTS;
    ls_status st = LS_OK;
    for (int i = 0; i < JEPA_SLOTS; i++)
        LS_TRY(jepa->on.ops->event_synchronize(jepa->on.device, jepa->slots[i].filled));
    jepa->staged = 0;
done:
    return st;
}
