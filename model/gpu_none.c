/* The GPU part of a build without CUDA: there is no card. */
#include "model/device.h"

static int no_cards(void)
{
    return 0;
}

static ls_status cannot_open(struct model_device *out, int index, bool deterministic)
{
    (void)out;
    (void)deterministic;
    return LS_FAIL(LS_DEVICE, "card %d: this build has no CUDA (make config says why)", index);
}

static void nothing_to_close(struct model_device *device)
{
    (void)device;
}

static ls_status no_memory(const struct model_device *device, size_t *free_bytes,
                           size_t *total_bytes)
{
    *free_bytes = *total_bytes = 0;
    return LS_FAIL(LS_DEVICE, "card %d: this build has no CUDA", device->card);
}

static ls_status no_clock(struct model_device *device, double *out)
{
    (void)device;
    *out = 0.0;
    return LS_FAIL(LS_DEVICE, "this build has no CUDA");
}

const struct gpu_build gpu_build = {.name = "none",
                                    .count = no_cards,
                                    .open = cannot_open,
                                    .close = nothing_to_close,
                                    .clock = no_clock,
                                    .memory = no_memory,
                                    .range_begin = NULL,
                                    .range_end = NULL,
                                    .profiler = NULL};
