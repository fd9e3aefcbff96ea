/* The plan is the model's own (jepa_plan).  A card that is not there is stood in for by the CPU
 * twin that is told to have no host memory: what is allocated by shapes is the same, what operators
 * want as workspace is not. */
#include "worker/plan.h"

#include <cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/config_stages.h"
#include "core/files.h"
#include "worker/device.h"
#include "worker/trainer.h"

static ls_status open_device(struct worker_device *out, struct op_table *card,
                             const struct config *config, bool on_card)
{
    ls_status st = LS_OK;
    if (!on_card)
        return worker_device_open(out, config, CONFIG_DEVICE_CPU, 0, 1);
    LS_TRY(model_device_open(&out->model, CONFIG_DEVICE_CPU, 1, 0, false));
    *card = *out->model.table;
    card->host_memory = false;
    out->model.table = card;
    out->dtype = config->meta.dtype == CONFIG_BFLOAT16 ? OP_BF16 : OP_F32;
    out->bucket_tokens = worker_bucket_tokens(config);
done:
    return st;
}

static ls_status plan_stage(struct jepa_memory *most, bool *bf16, const struct config *config,
                            bool on_card)
{
    ls_status st = LS_OK;
    /* As many workers as a step has micro-batches: a divided state is smallest then. */
    struct trainer trainer = {.config = (struct config *)config, .size = config->micro_batches};
    bool divided = config->optimization.optimizer_state == CONFIG_SHARDED && trainer.size > 1;
    struct op_table card;
    struct jepa_options options;
    struct jepa_memory memory;
    LS_TRY(open_device(&trainer.device, &card, config, on_card));
    trainer.divided = divided;
    LS_TRY(trainer_fit_memory(&trainer));
    LS_TRY(trainer_model_options(&options, &trainer, divided));
    LS_TRY(jepa_plan(&memory, &options, trainer.device.model.table, trainer.device.model.device));
    if (memory.device > most->device) {
        *most = memory;
        *bf16 = trainer.device.dtype == OP_BF16;
    }
done:
    worker_device_close(&trainer.device);
    return st;
}

static ls_status print(const struct jepa_memory *memory, bool bf16, bool on_card)
{
    ls_status st = LS_OK;
    char *text = NULL;
    cJSON *json = cJSON_CreateObject();
    if (cJSON_AddNumberToObject(json, "weights", (double)memory->weights) == NULL ||
        cJSON_AddNumberToObject(json, "gradient", (double)memory->gradient) == NULL ||
        cJSON_AddNumberToObject(json, "moments", (double)memory->moments) == NULL ||
        cJSON_AddNumberToObject(json, "ema", (double)memory->ema) == NULL ||
        cJSON_AddNumberToObject(json, "activations", (double)memory->activations) == NULL ||
        cJSON_AddNumberToObject(json, "clips", (double)memory->clips) == NULL ||
        (!on_card &&
         cJSON_AddNumberToObject(json, "workspace", (double)memory->workspace) == NULL) ||
        cJSON_AddStringToObject(json, "dtype", bf16 ? "bfloat16" : "float32") == NULL ||
        (text = cJSON_PrintUnformatted(json)) == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for a plan");
        goto done;
    }
    (void)puts(text);
done:
    cJSON_Delete(json);
    free(text);
    return st;
}

ls_status worker_plan_print(const struct worker_options *options)
{
    ls_status st = LS_OK;
    struct config_stages stages = {0};
    struct jepa_memory most = {0};
    char *path = NULL;
    bool bf16 = false;
    bool on_card = options->device_given && options->device == CONFIG_DEVICE_CUDA;
    LS_TRY(core_format(&path, "%s/config.yaml", options->run));
    LS_TRY(config_stages_open(&stages, path, NULL, 0));
    for (int i = 0; i < stages.count; i++)
        LS_TRY(plan_stage(&most, &bf16, stages.list[i], on_card));
    LS_TRY(print(&most, bf16, on_card));
done:
    config_stages_close(&stages);
    free(path);
    return st;
}
