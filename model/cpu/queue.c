/* Queues and events of a device whose work is done before the call returns: there is one queue, and
 * every event has happened. */
#include "model/cpu/device.h"

/* oneDNN keeps its own. */
struct op_plan_counts plan_counts_cpu(const struct op_device *device)
{
    (void)device;
    return (struct op_plan_counts){0};
}

ls_status select_cpu(struct op_device *device, enum op_queue queue)
{
    (void)device;
    (void)queue;
    return LS_OK;
}

ls_status event_open_cpu(struct op_device *device, struct op_event **out)
{
    (void)device;
    *out = NULL;
    return LS_OK;
}

void event_close_cpu(struct op_device *device, struct op_event *event)
{
    (void)device;
    (void)event;
}

ls_status event_record_cpu(struct op_device *device, struct op_event *event)
{
    (void)device;
    (void)event;
    return LS_OK;
}

ls_status event_wait_cpu(struct op_device *device, struct op_event *event)
{
    (void)device;
    (void)event;
    return LS_OK;
}

ls_status event_synchronize_cpu(struct op_device *device, struct op_event *event)
{
    (void)device;
    (void)event;
    return LS_OK;
}

ls_status host_pin_cpu(struct op_device *device, void *memory, size_t bytes)
{
    (void)device;
    (void)memory;
    (void)bytes;
    return LS_OK;
}

void host_unpin_cpu(struct op_device *device, void *memory)
{
    (void)device;
    (void)memory;
}
