/* How much memory a model takes, before any of it is taken.
 *
 * The model is opened on a device that hands out addresses and counts, so the plan is what
 * jepa_open does and cannot drift from it.  Nothing is ever read or written at these addresses. */
#include "model/jepa.h"

#include "model/counting.h"
#include "model/jepa_parts.h"

static void fill(struct jepa_memory *out, const struct jepa *jepa, const struct op_device *counted)
{
    const int64_t master = sizeof(float);
    const int64_t copy =
        jepa->on.dtype == OP_F32 ? 0 : (int64_t)arena_element_bytes(jepa->on.dtype);
    const int64_t pixels = jepa->on.ops->host_memory
                               ? 0
                               : JEPA_SLOTS * (int64_t)jepa->pixel_bytes * jepa->options.clips;
    const struct jepa_held *held = &jepa->held;
    *out = (struct jepa_memory){
        .weights = held->masters * master + held->all * copy + held->vectors * master,
        .gradient = jepa->options.forward_only ? 0 : held->all * master,
        .moments = 2 * held->moments * master,
        .ema = held->ema_masters * master + held->ema_all * copy,
        .activations = (int64_t)jepa->arena.peak,
        .clips = pixels,
        .device = (int64_t)counting_device_bytes(counted),
        .host = jepa->on.ops->host_memory ? 0 : (int64_t)counting_host_bytes(counted),
    };
    out->workspace = out->device - out->weights - out->gradient - out->moments - out->ema -
                     out->activations - out->clips;
}

ls_status jepa_plan(struct jepa_memory *out, const struct jepa_options *options,
                    const struct op_table *ops, const struct op_device *device)
{
    ls_status st = LS_OK;
    struct jepa *jepa = NULL;
    struct op_device *counted = NULL;
    struct op_table counting = *ops;
    *out = (struct jepa_memory){0};
    counting_table(&counting);
    LS_TRY(counting_open(&counted, ops, device));
    LS_TRY(jepa_open(&jepa, options, &counting, counted));
    fill(out, jepa, counted);
done:
    jepa_close(&jepa);
    counting_close(&counted);
    return st;
}
