/* The GPU part of a CUDA build, and of the emulated one, which differs in name only. */
#include "model/device.h"

#include <stdio.h>

#include "model/cuda/cuda.h"
#include "model/cuda/profile.h"

static ls_status open_card(struct model_device *out, int index, bool deterministic)
{
    ls_status st = LS_OK;
    LS_TRY(op_cuda_open(&out->device, index, deterministic));
    out->table = &op_table_cuda;
    out->stream = op_cuda_stream(out->device);
    op_cuda_id(out->device, out->card_id);
    (void)snprintf(out->facts, sizeof out->facts, "device=%s %s", LOCKSTEP_GPU,
                   op_cuda_facts(out->device));
done:
    return st;
}

static void close_card(struct model_device *device)
{
    op_cuda_close(&device->device);
}

static ls_status read_clock(struct model_device *device, double *out)
{
    return op_cuda_clock(device->device, out);
}

static ls_status card_memory(const struct model_device *device, size_t *free_bytes,
                             size_t *total_bytes)
{
    return op_cuda_memory(device->device, free_bytes, total_bytes);
}

const struct gpu_build gpu_build = {.name = LOCKSTEP_GPU,
                                    .count = op_cuda_count,
                                    .open = open_card,
                                    .close = close_card,
                                    .clock = read_clock,
                                    .memory = card_memory,
                                    .range_begin = profile_range_begin,
                                    .range_end = profile_range_end,
                                    .profiler = profile_switch};
