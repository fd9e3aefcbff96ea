/* Chooses between the CPU twin and the build's GPU twin, and says what was chosen.  A card that was
 * asked for by name is never replaced by the CPU in silence. */
#include "model/device.h"

#include <stdio.h>
#include <string.h>

#include "core/log.h"

static ls_status open_cpu(struct model_device *out, int threads)
{
    ls_status st = LS_OK;
    LS_TRY(op_cpu_open(&out->device, threads));
    out->table = &op_table_cpu;
    (void)snprintf(out->facts, sizeof out->facts, "device=cpu %s", op_cpu_facts(out->device));
done:
    return st;
}

static ls_status open_gpu(struct model_device *out, int local_rank, bool deterministic)
{
    ls_status st = LS_OK;
    int count = gpu_build.count();
    if (count < 1)
        return LS_FAIL(LS_DEVICE, "no CUDA card is visible: check nvidia-smi and "
                                  "CUDA_VISIBLE_DEVICES, or use --device cpu");
    LS_TRY(gpu_build.open(out, local_rank % count, deterministic));
    out->gpu = true;
    out->card = local_rank % count;
done:
    return st;
}

ls_status model_device_open(struct model_device *out, enum config_device wanted, int threads,
                            int local_rank, bool deterministic)
{
    ls_status st = LS_OK;
    bool emulated = strcmp(gpu_build.name, "emulated") == 0;
    bool built = strcmp(gpu_build.name, "none") != 0;
    *out = (struct model_device){0};
    if (wanted == CONFIG_DEVICE_EMULATED && !emulated)
        return LS_FAIL(LS_DEVICE, "--device emulated exists in test builds only (make emulated)");
    if (wanted == CONFIG_DEVICE_CUDA && (!built || emulated))
        return LS_FAIL(LS_DEVICE, "--device cuda: this build has no CUDA (make config says why)");
    if (wanted == CONFIG_DEVICE_AUTO && built && !emulated && gpu_build.count() > 0)
        wanted = CONFIG_DEVICE_CUDA;
    if (wanted == CONFIG_DEVICE_CUDA || wanted == CONFIG_DEVICE_EMULATED)
        LS_TRY(open_gpu(out, local_rank, deterministic));
    else
        LS_TRY(open_cpu(out, threads));
    log_info("device_open cuda_build=%s %s", built ? "yes" : "no", out->facts);
done:
    return st;
}

void model_device_close(struct model_device *device)
{
    if (device->device == NULL)
        return;
    if (device->gpu)
        gpu_build.close(device);
    else
        op_cpu_close(&device->device);
    device->device = NULL;
}

ls_status model_device_memory(const struct model_device *device, size_t *free_bytes,
                              size_t *total_bytes)
{
    if (!device->gpu)
        return LS_FAIL(LS_USAGE, "the memory of a CPU is not planned");
    return gpu_build.memory(device, free_bytes, total_bytes);
}
