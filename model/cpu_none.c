/* The CPU twin of a build without oneDNN (BUNDLE=1): there is none. */
#include "model/ops.h"

const struct op_table op_table_cpu = {.name = "cpu", .host_memory = true};

ls_status op_cpu_open(struct op_device **out, int threads)
{
    (void)threads;
    *out = NULL;
    return LS_FAIL(LS_DEVICE, "this build computes on CUDA cards only, and none is visible: check "
                              "nvidia-smi and CUDA_VISIBLE_DEVICES");
}

void op_cpu_close(struct op_device **device)
{
    *device = NULL;
}

const char *op_cpu_facts(const struct op_device *device)
{
    (void)device;
    return "none";
}

bool op_cpu_has_fast_bf16(const struct op_device *device)
{
    (void)device;
    return false;
}
