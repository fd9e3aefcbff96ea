/* The GPU part of a CUDA build, and of the emulated one, which differs in name only. */
#include "model/device.h"

#include <stdio.h>

#include "model/cuda/cuda.h"

static ls_status open_card(struct model_device *out, int index)
{
    ls_status st = LS_OK;
    LS_TRY(op_cuda_open(&out->device, index, true));
    out->table = &op_table_cuda;
    (void)snprintf(out->facts, sizeof out->facts, "device=%s %s", LOCKSTEP_GPU,
                   op_cuda_facts(out->device));
done:
    return st;
}

static void close_card(struct model_device *device)
{
    op_cuda_close(&device->device);
}

const struct gpu_build gpu_build = {
    .name = LOCKSTEP_GPU, .count = op_cuda_count, .open = open_card, .close = close_card};
