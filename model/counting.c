/* The device that only counts. */
#include "model/counting.h"

#include <stdlib.h>

#include "core/files.h"

enum { GRANULE_BYTES = 512 }; /* cudaMalloc gives whole granules */

struct op_device {
    const struct op_table *real_ops;
    const struct op_device *real;
    size_t device_bytes, host_bytes;
};

ls_status counting_open(struct op_device **out, const struct op_table *real_ops,
                        const struct op_device *real)
{
    ls_status st = core_alloc(out, 1);
    if (st == LS_OK)
        **out = (struct op_device){.real_ops = real_ops, .real = real};
    return st;
}

void counting_close(struct op_device **device)
{
    free(*device);
    *device = NULL;
}

size_t counting_device_bytes(const struct op_device *device)
{
    return device->device_bytes;
}

size_t counting_host_bytes(const struct op_device *device)
{
    return device->host_bytes;
}

static ls_status count_device(struct op_device *device, void **out_dev, size_t bytes)
{
    device->device_bytes += (bytes + GRANULE_BYTES - 1) / GRANULE_BYTES * GRANULE_BYTES;
    *out_dev = (void *)(uintptr_t)device->device_bytes;
    return LS_OK;
}

static void forget(struct op_device *device, void *memory)
{
    (void)device;
    (void)memory;
}

/* What nobody touches costs nothing. */
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

static ls_status count_scratch(struct op_device *device, const struct op_limits *limits)
{
    if (device->real_ops != NULL)
        device->device_bytes += device->real_ops->scratch_bytes(device->real, limits);
    return LS_OK;
}

static ls_status no_queue(struct op_device *device, enum op_queue queue)
{
    (void)device;
    (void)queue;
    return LS_OK;
}

static ls_status no_event(struct op_device *device, struct op_event **out)
{
    (void)device;
    *out = NULL; /* which nobody closes */
    return LS_OK;
}

static ls_status event_passes(struct op_device *device, struct op_event *event)
{
    (void)device;
    (void)event;
    return LS_OK;
}

static ls_status no_pin(struct op_device *device, void *memory, size_t bytes)
{
    (void)device;
    (void)memory;
    (void)bytes;
    return LS_OK;
}

void counting_table(struct op_table *table)
{
    table->allocate = count_device;
    table->release = forget;
    table->host_allocate = count_host;
    table->host_release = release_host;
    table->upload = no_copy;
    table->download = no_copy;
    table->synchronize = no_wait;
    table->reserve = count_scratch;
    table->select = no_queue;
    table->event_open = no_event;
    table->event_record = event_passes;
    table->event_wait = event_passes;
    table->event_synchronize = event_passes;
    table->host_pin = no_pin;
    table->host_unpin = forget;
}
