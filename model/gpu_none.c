/* The GPU part of a build without CUDA: there is no card. */
#include "model/device.h"

static int no_cards(void)
{
    return 0;
}

static ls_status cannot_open(struct model_device *out, int index)
{
    (void)out;
    return LS_FAIL(LS_DEVICE, "card %d: this build has no CUDA (make config says why)", index);
}

static void nothing_to_close(struct model_device *device)
{
    (void)device;
}

const struct gpu_build gpu_build = {
    .name = "none", .count = no_cards, .open = cannot_open, .close = nothing_to_close};
