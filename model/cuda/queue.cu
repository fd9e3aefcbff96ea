/* Queues and events.  device->stream is the selected queue's stream, so that operators need not
 * know which one they work for. */
#include "model/cuda/internal.h"

#include <stdlib.h>

struct op_event {
    cudaEvent_t event;
};

ls_status queues_open(struct op_device *device)
{
    ls_status st = LS_OK;
    for (int i = 0; i < OP_QUEUE_COUNT; i++)
        CUDA_TRY(cudaStreamCreateWithFlags(&device->streams[i], cudaStreamNonBlocking));
    device->stream = device->streams[OP_QUEUE_COMPUTE];
done:
    return st;
}

void queues_close(struct op_device *device)
{
    for (int i = 0; i < OP_QUEUE_COUNT; i++)
        if (device->streams[i] != NULL)
            (void)cudaStreamDestroy(device->streams[i]);
}

ls_status select_cuda(struct op_device *device, enum op_queue queue)
{
    device->stream = device->streams[queue];
    return LS_OK;
}

ls_status event_open_cuda(struct op_device *device, struct op_event **out)
{
    ls_status st = LS_OK;
    struct op_event *event = (struct op_event *)calloc(1, sizeof *event);
    (void)device;
    *out = NULL;
    if (event == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for an event");
    CUDA_TRY(cudaEventCreateWithFlags(&event->event, cudaEventDisableTiming));
    *out = event;
    event = NULL;
done:
    free(event);
    return st;
}

void event_close_cuda(struct op_device *device, struct op_event *event)
{
    (void)device;
    if (event == NULL)
        return;
    (void)cudaEventDestroy(event->event);
    free(event);
}

ls_status event_record_cuda(struct op_device *device, struct op_event *event)
{
    ls_status st = LS_OK;
    CUDA_TRY(cudaEventRecord(event->event, device->stream));
done:
    return st;
}

ls_status event_wait_cuda(struct op_device *device, struct op_event *event)
{
    ls_status st = LS_OK;
    CUDA_TRY(cudaStreamWaitEvent(device->stream, event->event, 0));
done:
    return st;
}

ls_status event_synchronize_cuda(struct op_device *device, struct op_event *event)
{
    ls_status st = LS_OK;
    (void)device;
    CUDA_TRY(cudaEventSynchronize(event->event));
done:
    return st;
}

ls_status host_pin_cuda(struct op_device *device, void *memory, size_t bytes)
{
    ls_status st = LS_OK;
    (void)device;
    CUDA_TRY(cudaHostRegister(memory, bytes, cudaHostRegisterDefault));
done:
    return st;
}

void host_unpin_cuda(struct op_device *device, void *memory)
{
    (void)device;
    (void)cudaHostUnregister(memory);
}
