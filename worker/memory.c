/* The memory plan: what the model takes on the card, held against what is free there, before any of
 * it is taken.  What is too large is refused in one line that says what would fit. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "comm/device.h"
#include "core/log.h"
#include "data/mask.h"
#include "worker/trainer.h"

enum { ADVICE_BYTES = 768 };

static int64_t mib(int64_t bytes)
{
    return (bytes + (1 << 20) - 1) >> 20;
}

/* Over the workers of the run, in buckets as the gradient's. */
static ls_status divide(struct jepa_options *options, const struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct parameters *parameters = NULL;
    LS_TRY(parameters_open(&parameters, &options->shape));
    int64_t count = parameters->flat_count;
    options->rank = trainer->rank;
    options->division = division_make(
        count, trainer_bucket_bytes(trainer, count) / (int64_t)sizeof(float), trainer->size);
done:
    parameters_close(&parameters);
    return st;
}

ls_status trainer_model_options(struct jepa_options *out, const struct trainer *trainer,
                                bool divided)
{
    ls_status st = LS_OK;
    const struct config *config = trainer->config;
    *out = (struct jepa_options){
        .dtype = trainer->device.dtype,
        .clips = config->data.batch_size,
        .height = config->data.crop_height,
        .width = config->data.crop_width,
        .groups = config->mask_count,
        .bucket_tokens = trainer->device.bucket_tokens,
        .loss_exponent = config->loss_exp,
        .beta1 = config->optimization.beta1,
        .beta2 = config->optimization.beta2,
        .eps = config->optimization.eps,
        .activation_checkpointing = config->run.memory_mb > 0
                                        ? trainer->checkpointed_blocks > 0
                                        : config->model.use_activation_checkpointing,
        .checkpointed_blocks = trainer->checkpointed_blocks,
        .device_gradient = trainer->device.model.gpu && trainer->sums_by != TRAINER_SUMS_HOST,
    };
    for (int i = 0; i < config->data.dataset_count; i++)
        if (config->data.datasets[i].frames_per_clip > out->frames)
            out->frames = config->data.datasets[i].frames_per_clip;
    for (int g = 0; g < config->mask_count; g++)
        mask_limits(&out->max_context[g], &out->max_predicted[g], &config->masks[g],
                    mask_grid_of(&config->data, out->frames));
    LS_TRY(model_shape_of_config(&out->shape, config));
    if (divided)
        LS_TRY(divide(out, trainer));
done:
    return st;
}

/* Device memory of this rank, sums between cards included. */
static ls_status plan(struct jepa_memory *out, const struct trainer *trainer,
                      const struct jepa_options *options)
{
    return jepa_plan(out, options, trainer->device.model.table, trainer->device.model.device);
}

static int64_t sums_bytes(const struct trainer *trainer)
{
    return trainer->sums_by == TRAINER_SUMS_DEVICE ? COMM_DEVICE_MEMORY_BYTES : 0;
}

/* A change of the config, and what the ranks of a card need with it. */
struct change {
    bool checkpointing; /* activations are recomputed, and were not before */
    bool divided;       /* the optimizer's state is, and was not before */
    int clips;
    int64_t bytes;
};

static ls_status plan_change(const struct trainer *trainer, struct change *change)
{
    ls_status st = LS_OK;
    struct jepa_options options;
    struct jepa_memory memory;
    LS_TRY(trainer_model_options(&options, trainer, trainer->divided || change->divided));
    if (change->checkpointing) {
        options.activation_checkpointing = true;
        options.checkpointed_blocks = 0;
    }
    options.clips = change->clips;
    LS_TRY(plan(&memory, trainer, &options));
    change->bytes = (memory.device + sums_bytes(trainer)) * trainer->ranks_on_card;
done:
    return st;
}

/* The largest batch that divides the one asked for and fits: `change->clips`, or 0. */
static ls_status find_batch(const struct trainer *trainer, struct change *change,
                            int64_t free_bytes)
{
    ls_status st = LS_OK;
    int asked = trainer->config->data.batch_size;
    for (int clips = asked / 2; clips > 0; clips--) {
        change->clips = clips;
        if (asked % clips != 0)
            continue;
        LS_TRY(plan_change(trainer, change));
        if (change->bytes <= free_bytes)
            return LS_OK;
    }
    change->clips = 0;
done:
    return st;
}

/* The step keeps its size: smaller micro-batches, more of them, as many workers. */
static void say_batch(char *out, size_t bytes, const struct trainer *trainer,
                      const struct change *change)
{
    const struct config *config = trainer->config;
    (void)snprintf(out, bytes,
                   "data.batch_size: %d with tasks_per_node: %d and still %d workers (-n %d), "
                   "which is the same step%s (%" PRId64 " MiB)",
                   change->clips,
                   config->tasks_per_node * (config->data.batch_size / change->clips),
                   trainer->size, trainer->size,
                   !change->checkpointing      ? ""
                   : config->run.memory_mb > 0 ? ", and a lower lockstep.memory_mb"
                                               : ", and model.use_activation_checkpointing: true",
                   mib(change->bytes));
}

/* "optimization.optimizer_state: sharded (N MiB)" behind `before` where that would fit, else "". */
static ls_status say_divided(char *out, size_t bytes, const struct trainer *trainer,
                             int64_t free_bytes, const char *before)
{
    ls_status st = LS_OK;
    struct change divided = {.divided = true, .clips = trainer->config->data.batch_size};
    out[0] = '\0';
    if (trainer->divided || trainer->size == 1)
        return LS_OK;
    LS_TRY(plan_change(trainer, &divided));
    if (divided.bytes <= free_bytes)
        (void)snprintf(out, bytes, "%soptimization.optimizer_state: sharded (%" PRId64 " MiB)",
                       before, mib(divided.bytes));
done:
    return st;
}

/* What a model may take of it, MiB. */
static int64_t model_mb(const struct trainer *trainer, int64_t free_bytes)
{
    return (free_bytes / trainer->ranks_on_card - sums_bytes(trainer)) >> 20;
}

/* What would fit, in words. */
static ls_status advise(char *out, const struct trainer *trainer, int64_t free_bytes)
{
    ls_status st = LS_OK;
    char batch[ADVICE_BYTES / 2] = "";
    char sharded[ADVICE_BYTES / 4] = "";
    /* Or could keep less. */
    bool keeps_all =
        trainer->config->run.memory_mb > 0 || !trainer->config->model.use_activation_checkpointing;
    struct change recompute = {.checkpointing = true, .clips = trainer->config->data.batch_size};
    struct change smaller = {.checkpointing = false};
    struct change both = {.checkpointing = true};
    LS_TRY(plan_change(trainer, &recompute));
    LS_TRY(find_batch(trainer, &smaller, free_bytes));
    LS_TRY(say_divided(sharded, sizeof sharded, trainer, free_bytes, ", or "));
    if (keeps_all && recompute.bytes <= free_bytes) {
        if (smaller.clips > 0)
            say_batch(batch, sizeof batch, trainer, &smaller);
        (void)snprintf(out, ADVICE_BYTES,
                       "%s would fit (%" PRId64 " MiB), or lockstep.memory_mb: %" PRId64
                       ", which recomputes no more than it must%s%s%s",
                       trainer->config->run.memory_mb > 0
                           ? "recomputing all blocks"
                           : "model.use_activation_checkpointing: true",
                       mib(recompute.bytes), model_mb(trainer, free_bytes),
                       smaller.clips > 0 ? ", or " : "", batch, sharded);
        goto done;
    }
    if (smaller.clips == 0 && keeps_all)
        LS_TRY(find_batch(trainer, &both, free_bytes));
    if (smaller.clips > 0 || both.clips > 0) {
        say_batch(batch, sizeof batch, trainer, smaller.clips > 0 ? &smaller : &both);
        (void)snprintf(out, ADVICE_BYTES, "what would fit: %s%s", batch, sharded);
    } else if (sharded[0] != '\0') {
        LS_TRY(say_divided(sharded, sizeof sharded, trainer, free_bytes, "what would fit: "));
        (void)snprintf(out, ADVICE_BYTES, "%s", sharded);
    } else {
        struct change least = {.checkpointing = true, .clips = 1};
        LS_TRY(plan_change(trainer, &least));
        (void)snprintf(out, ADVICE_BYTES,
                       "even clip by clip, recomputing activations, it needs %" PRId64
                       " MiB: a card with more memory is needed",
                       mib(least.bytes));
    }
done:
    return st;
}

/* Fail when the ranks of this card need more than is free. */
static ls_status hold_against_card(const struct trainer *trainer, const struct jepa_memory *memory)
{
    ls_status st = LS_OK;
    const struct model_device *device = &trainer->device.model;
    char advice[ADVICE_BYTES];
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    int64_t need = (memory->device + sums_bytes(trainer)) * trainer->ranks_on_card;
    LS_TRY(model_device_memory(device, &free_bytes, &total_bytes));
    log_info("memory_card card=%d need_mb=%" PRId64 " free_mb=%zu total_mb=%zu ranks=%d "
             "sums_mb=%" PRId64,
             device->card, mib(need), free_bytes >> 20, total_bytes >> 20, trainer->ranks_on_card,
             mib(sums_bytes(trainer)));
    if (need <= (int64_t)free_bytes)
        return LS_OK;
    LS_TRY(advise(advice, trainer, (int64_t)free_bytes));
    st = LS_FAIL(LS_DEVICE,
                 "card %d: the run needs %" PRId64 " MiB and %zu of %zu MiB are free, %" PRId64
                 " MiB too little: %s",
                 device->card, mib(need), free_bytes >> 20, total_bytes >> 20,
                 mib(need) - (int64_t)(free_bytes >> 20), advice);
done:
    return st;
}

/* What the model takes with so many blocks checkpointed. */
static ls_status bytes_with(int64_t *out, struct trainer *trainer, int blocks)
{
    ls_status st = LS_OK;
    struct jepa_options options;
    struct jepa_memory memory;
    trainer->checkpointed_blocks = blocks;
    LS_TRY(trainer_model_options(&options, trainer, trainer->divided));
    LS_TRY(plan(&memory, trainer, &options));
    *out = memory.device;
done:
    return st;
}

ls_status trainer_fit_memory(struct trainer *trainer)
{
    ls_status st = LS_OK;
    const int64_t allowed = (int64_t)trainer->config->run.memory_mb << 20;
    struct model_shape shape;
    int64_t bytes = 0;
    if (allowed == 0)
        return LS_OK;
    LS_TRY(model_shape_of_config(&shape, trainer->config));
    int few = 0;
    int enough = jepa_checkpointable(&shape);
    LS_TRY(bytes_with(&bytes, trainer, enough));
    if (bytes > allowed) {
        st = LS_FAIL(LS_DEVICE,
                     "the model takes %" PRId64 " MiB even when all blocks are recomputed, and "
                     "lockstep.memory_mb is %d: raise it, or lower data.batch_size (with more "
                     "tasks_per_node it is the same step)",
                     mib(bytes), trainer->config->run.memory_mb);
        goto done;
    }
    while (few < enough) { /* more blocks never take more memory */
        const int middle = (few + enough) / 2;
        LS_TRY(bytes_with(&bytes, trainer, middle));
        if (bytes <= allowed)
            enough = middle;
        else
            few = middle + 1;
    }
    trainer->checkpointed_blocks = enough;
    log_info("memory_fit allowed_mb=%d recomputed_blocks=%d of=%d", trainer->config->run.memory_mb,
             enough, jepa_checkpointable(&shape));
done:
    return st;
}

ls_status trainer_plan_memory(struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct jepa_options options;
    struct jepa_memory memory;
    struct jepa_memory replicated;
    LS_TRY(trainer_fit_memory(trainer));
    LS_TRY(trainer_model_options(&options, trainer, false));
    LS_TRY(plan(&replicated, trainer, &options));
    LS_TRY(trainer_model_options(&options, trainer, trainer->divided));
    LS_TRY(plan(&memory, trainer, &options));
    log_info("memory_plan weights_mb=%" PRId64 " gradient_mb=%" PRId64 " moments_mb=%" PRId64
             " ema_mb=%" PRId64 " activations_mb=%" PRId64 " clips_mb=%" PRId64
             " workspace_mb=%" PRId64 " all_mb=%" PRId64 " pinned_host_mb=%" PRId64
             " optimizer_state=%s all_kib=%" PRId64 " replicated_all_kib=%" PRId64,
             mib(memory.weights), mib(memory.gradient), mib(memory.moments), mib(memory.ema),
             mib(memory.activations), mib(memory.clips), mib(memory.workspace), mib(memory.device),
             mib(memory.host), trainer->divided ? "sharded" : "replicated", memory.device >> 10,
             replicated.device >> 10);
    if (trainer->device.model.gpu)
        LS_TRY(hold_against_card(trainer, &memory));
done:
    return st;
}
