/* Device, compute type and thread count.  Bits depend on all three, so what is used is logged and
 * becomes part of every checkpoint. */
#include "worker/device.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "data/mask.h"
#include "model/jepa.h"

enum { THREADS_MAX = 1024 };

/* Cores that this process may use. */
static int core_count(void)
{
    cpu_set_t cores;
    CPU_ZERO(&cores);
    if (sched_getaffinity(0, sizeof cores, &cores) != 0)
        return 1;
    int count = CPU_COUNT(&cores);
    return count > 0 ? count : 1;
}

/* Compute threads: as the config says, else as the launcher worked out (OMP_NUM_THREADS), else this
 * rank's share of the cores. */
static int thread_count(const struct config *config, int local_size)
{
    const char *given = getenv("OMP_NUM_THREADS");
    char *end = NULL;
    long wanted = given != NULL ? strtol(given, &end, 10) : 0;
    if (config->run.threads > 0)
        return config->run.threads;
    if (wanted > 0 && wanted <= THREADS_MAX && *end == '\0')
        return (int)wanted;
    int share = core_count() / local_size;
    return share > 0 ? share : 1;
}

int worker_bucket_tokens(const struct config *config)
{
    int64_t tokens = 0;
    if (config->run.bucket_tokens > 0)
        return config->run.bucket_tokens;
    for (int d = 0; d < config->data.dataset_count; d++) {
        int64_t here =
            mask_grid_tokens(mask_grid_of(&config->data, config->data.datasets[d].frames_per_clip));
        tokens = here > tokens ? here : tokens;
    }
    return jepa_bucket_tokens(tokens);
}

/* What is padded is part of what the bits depend on. */
static void note_bucket(struct worker_device *out)
{
    char *facts = out->model.facts;
    size_t used = strlen(facts);
    (void)snprintf(facts + used, sizeof out->model.facts - used, " bucket_tokens=%d",
                   out->bucket_tokens);
}

ls_status worker_device_open(struct worker_device *out, const struct config *config,
                             enum config_device asked, int local_rank, int local_size)
{
    ls_status st = LS_OK;
    *out = (struct worker_device){.dtype = OP_F32};
    out->threads = thread_count(config, local_size);
    LS_TRY(
        model_device_open(&out->model, asked, out->threads, local_rank, config->run.deterministic));
    if (config->meta.dtype == CONFIG_BFLOAT16) {
        if (out->model.gpu || op_cpu_has_fast_bf16(out->model.device))
            out->dtype = OP_BF16;
        else
            log_warn("dtype asked=bfloat16 used=float32 reason=no_fast_bf16_products");
    }
    out->bucket_tokens = out->model.gpu ? worker_bucket_tokens(config) : 1;
    if (out->model.gpu)
        note_bucket(out);
    log_info("device name=%s dtype=%s threads=%d local_ranks=%d %s", out->model.table->name,
             out->dtype == OP_BF16 ? "bfloat16" : "float32", out->threads, local_size,
             out->model.facts);
done:
    return st;
}

void worker_device_close(struct worker_device *device)
{
    model_device_close(&device->model);
}
