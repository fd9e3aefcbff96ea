/* How much memory a model takes, before any of it is taken.
 *
 * The model is opened on a device that hands out addresses and counts, so the plan is what
 * jepa_open does and cannot drift from it.  Nothing is ever read or written at these addresses. */
#include "model/jepa.h"

#include <stdlib.h>

#include "model/jepa_parts.h"

enum { GRANULE_BYTES = 512 }; /* cudaMalloc gives whole granules */

struct op_device {
    const struct op_table *real_ops;
    const struct op_device *real;
    size_t device_bytes, host_bytes;
};

static ls_status count_device(struct op_device *device, void **out_dev, size_t bytes)
{
    device->device_bytes += (bytes + GRANULE_BYTES - 1) / GRANULE_BYTES * GRANULE_BYTES;
    *out_dev = (void *)(uintptr_t)device->device_bytes;
    return LS_OK;
}

static void forget_device(struct op_device *device, void *memory_dev)
{
    (void)device;
    (void)memory_dev;
}

/* Host memory is real, since tables are computed in it; what nobody touches costs nothing. */
static ls_status count_host(struct op_device *device, void **out, size_t bytes)
{
    device->host_bytes += bytes;
    *out = calloc(1, bytes + 1);
    return *out != NULL ? LS_OK : LS_FAIL(LS_NOMEM, "out of memory: %zu bytes", bytes);
}

static void release_host(struct op_device *device, void *memory)
{
    (void)device;
    free(memory);
}

static ls_status no_copy(struct op_device *device, void *to, const void *from, size_t bytes)
{
    (void)device;
    (void)to;
    (void)from;
    (void)bytes;
    return LS_OK;
}

static ls_status no_wait(struct op_device *device)
{
    (void)device;
    return LS_OK;
}

static ls_status no_event(struct op_device *device, struct op_event **out)
{
    (void)device;
    *out = NULL; /* which nobody closes */
    return LS_OK;
}

static ls_status count_scratch(struct op_device *device, const struct op_limits *limits)
{
    device->device_bytes += device->real_ops->scratch_bytes(device->real, limits);
    return LS_OK;
}

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
        .gradient = held->all * master,
        .moments = 2 * held->moments * master,
        .ema = held->ema_masters * master + held->ema_all * copy,
        .activations = (int64_t)jepa->arena.peak,
        .clips = pixels,
        .device = (int64_t)counted->device_bytes,
        .host = jepa->on.ops->host_memory ? 0 : (int64_t)counted->host_bytes,
    };
    out->workspace = out->device - out->weights - out->gradient - out->moments - out->ema -
                     out->activations - out->clips;
}

ls_status jepa_plan(struct jepa_memory *out, const struct jepa_options *options,
                    const struct op_table *ops, const struct op_device *device)
{
    ls_status st = LS_OK;
    struct jepa *jepa = NULL;
    struct op_device counted = {.real_ops = ops, .real = device};
    struct op_table counting = *ops;
    *out = (struct jepa_memory){0};
    counting.allocate = count_device;
    counting.release = forget_device;
    counting.host_allocate = count_host;
    counting.host_release = release_host;
    counting.upload = no_copy;
    counting.synchronize = no_wait;
    counting.reserve = count_scratch;
    counting.event_open = no_event;
    LS_TRY(jepa_open(&jepa, options, &counting, &counted));
    fill(out, jepa, &counted);
done:
    jepa_close(&jepa);
    return st;
}
