/* comm/device.h in a build without CUDA. */
#include "comm/device.h"

ls_status comm_device_available(void)
{
    return LS_FAIL(LS_DEVICE, "this build has no NCCL (make config says why)");
}

ls_status comm_device_open(struct comm_device **out, const struct comm_device_options *options)
{
    *out = NULL;
    return LS_FAIL(LS_DEVICE, "card %d: this build has no NCCL (make config says why)",
                   options->card);
}

ls_status comm_device_join(struct comm_device *device)
{
    (void)device;
    return LS_FAIL(LS_DEVICE, "cards cannot be joined without NCCL");
}

void comm_device_close(struct comm_device **device)
{
    *device = NULL;
}

void comm_device_abort(struct comm_device *device)
{
    (void)device;
}

void comm_device_set_timeout(struct comm_device *device, double timeout_s)
{
    (void)device;
    (void)timeout_s;
}

ls_status comm_device_sum_start(struct comm_device *device, float *data_dev, int64_t count)
{
    (void)device;
    (void)data_dev;
    return LS_FAIL(LS_DEVICE, "a sum of %lld elements without NCCL", (long long)count);
}

ls_status comm_device_sum_slices_start(struct comm_device *device, float *data_dev, int64_t slice)
{
    return comm_device_sum_start(device, data_dev, slice);
}

ls_status comm_device_gather_start(struct comm_device *device, void *data_dev, int64_t slice)
{
    (void)device;
    (void)data_dev;
    return LS_FAIL(LS_DEVICE, "a gather of %lld bytes without NCCL", (long long)slice);
}

static ls_status no_mark(int64_t number)
{
    return LS_FAIL(LS_DEVICE, "mark %lld without NCCL", (long long)number);
}

ls_status comm_device_mark(struct comm_device *device, int64_t number)
{
    (void)device;
    return no_mark(number);
}

ls_status comm_device_order(struct comm_device *device, int64_t number)
{
    (void)device;
    return no_mark(number);
}

ls_status comm_device_reach(struct comm_device *device, int64_t number)
{
    (void)device;
    return no_mark(number);
}

ls_status comm_device_wait(struct comm_device *device)
{
    (void)device;
    return LS_FAIL(LS_DEVICE, "a wait without NCCL");
}
