/* Writing an exported folder: what goes into it is planned first, then streamed in the file's order
 * through one buffer (export_stream.h), and the folder appears when all of it is durable. */
#include "checkpoint/export.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/export_config.h"
#include "checkpoint/export_origin.h"
#include "checkpoint/export_stream.h"
#include "checkpoint/layout.h"
#include "checkpoint/misfits.h"
#include "core/files.h"
#include "core/log.h"

/* The stored table must be that of the model of the stored config: then names, shapes and places
 * are those of the code. */
static ls_status check_table(const struct checkpoint_info *info, const struct parameters *ours)
{
    struct misfits misfits = {0};
    if (info->parameter_count != ours->count)
        misfits_add(&misfits, "%s: %d parameters, its config's model has %d", info->path,
                    info->parameter_count, ours->count);
    for (int i = 0; i < info->parameter_count && i < ours->count; i++) {
        const struct checkpoint_parameter *stored = &info->parameters[i];
        const struct parameter *p = &ours->table[i];
        bool same = stored->dimensions == p->dimensions && stored->offset == p->offset;
        for (int d = 0; same && d < p->dimensions; d++)
            same = stored->shape[d] == p->shape[d];
        if (strcmp(stored->name, p->name) != 0)
            misfits_add(&misfits, "%s: parameter %s stands where its config's model has %s",
                        info->path, stored->name, p->name);
        else if (!same)
            misfits_add(&misfits, "%s: parameter %s has another shape than in its config's model",
                        info->path, p->name);
    }
    return misfits_end(&misfits, LS_CHECKPOINT);
}

/* For each mask token the one whose values it gets: itself, or, when it was never updated, the one
 * that was updated most. */
static ls_status choose_mask_tokens(struct export_plan *plan, const struct checkpoint_info *info)
{
    int count = plan->parameters->shape.mask_tokens;
    int first = 0;
    int most = -1;
    ls_status st = core_alloc(&plan->mask_sources, count);
    if (st != LS_OK)
        return st;
    while (plan->parameters->table[first].kind != PARAMETER_MASK_TOKEN)
        first++;
    for (int i = 0; i < count; i++) {
        int64_t updates = info->parameters[first + i].adam_step;
        if (updates > 0 && (most < 0 || updates > info->parameters[first + most].adam_step))
            most = i;
    }
    for (int i = 0; i < count; i++)
        plan->mask_sources[i] = most >= 0 && info->parameters[first + i].adam_step == 0 ? most : i;
    return LS_OK;
}

static ls_status plan_file(struct export_plan *plan)
{
    ls_status st = LS_OK;
    LS_TRY(export_tensors_transformers(&plan->tensors, plan->parameters));
    LS_TRY(core_alloc(&plan->entries, plan->tensors.count));
    for (int i = 0; i < plan->tensors.count; i++) {
        const struct export_tensor *t = &plan->tensors.list[i];
        struct safetensors_entry *entry = &plan->entries[i];
        entry->name = t->name;
        entry->type = plan->options->bfloat16 ? SAFETENSORS_BF16 : SAFETENSORS_F32;
        entry->dimensions = t->dimensions;
        memcpy(entry->shape, t->shape, sizeof t->shape);
        entry->count = t->count;
    }
    LS_TRY(
        safetensors_header(&plan->header, &plan->header_bytes, plan->entries, plan->tensors.count));
    plan->bytes = plan->header_bytes + plan->entries[plan->tensors.count - 1].end;
done:
    return st;
}

static ls_status plan_open(struct export_plan *plan, struct config **config)
{
    ls_status st = LS_OK;
    struct model_shape shape;
    const struct checkpoint_info *info = checkpoint_info(plan->checkpoint);
    LS_TRY(config_open_text(config, info->config_yaml, info->path));
    if ((*config)->data.crop_height != (*config)->data.crop_width) {
        st = LS_FAIL(LS_USAGE,
                     "%s: was trained on clips of %d x %d pixels; transformers counts positions on "
                     "a square grid, so its features would be others",
                     info->path, (*config)->data.crop_height, (*config)->data.crop_width);
        goto done;
    }
    LS_TRY(model_shape_of_config(&shape, *config));
    LS_TRY(parameters_open(&plan->parameters, &shape));
    LS_TRY(check_table(info, plan->parameters));
    LS_TRY(choose_mask_tokens(plan, info));
    LS_TRY(plan_file(plan));
done:
    return st;
}

static void plan_close(struct export_plan *plan)
{
    parameters_close(&plan->parameters);
    export_tensors_free(&plan->tensors);
    free(plan->entries);
    free(plan->header);
    free(plan->mask_sources);
}

/* FOLDER without slashes at its end, and FOLDER.partial. */
static ls_status name_folders(char **folder, char **partial, const char *given)
{
    ls_status st = LS_OK;
    char **names = NULL;
    size_t count = 0;
    size_t length = strlen(given);
    while (length > 1 && given[length - 1] == '/')
        length--;
    LS_TRY(core_format(folder, "%.*s", (int)length, given));
    LS_TRY(core_format(partial, "%s.partial", *folder));
    if (!files_exists(*folder))
        goto done;
    if (files_is_folder(*folder))
        LS_TRY(files_list(&names, &count, *folder));
    if (count > 0 || !files_is_folder(*folder))
        st = LS_FAIL(LS_USAGE, "%s: exists already; remove it or name another", *folder);
done:
    files_list_free(&names, count);
    return st;
}

/* What a killed export left beside the two files that are gone on with. */
static ls_status clear_leftovers(const char *partial)
{
    ls_status st = LS_OK;
    char **names = NULL;
    char *path = NULL;
    size_t count = 0;
    LS_TRY(files_list(&names, &count, partial));
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], EXPORT_MODEL_NAME) == 0 || strcmp(names[i], EXPORT_NOTE_NAME) == 0)
            continue;
        free(path);
        path = NULL;
        LS_TRY(core_format(&path, "%s/%s", partial, names[i]));
        LS_TRY(files_remove(path));
    }
done:
    files_list_free(&names, count);
    free(path);
    return st;
}

static ls_status write_folder(struct export_result *out, const struct export_plan *plan,
                              const struct config *config)
{
    ls_status st = LS_OK;
    char *folder = NULL;
    char *partial = NULL;
    struct export_stream *stream = NULL;
    struct export_origin origin = {.online = plan->options->online,
                                   .mask_sources = plan->mask_sources,
                                   .mask_tokens = plan->parameters->shape.mask_tokens,
                                   .model_bytes = plan->bytes};
    LS_TRY(name_folders(&folder, &partial, plan->options->folder));
    LS_TRY(files_make_folder(partial));
    LS_TRY(export_stream_open(&stream, partial, plan));
    LS_TRY(clear_leftovers(partial)); /* ours alone from here on */
    out->resumed = export_stream_resumed(stream);
    LS_TRY(export_stream_write(stream, &origin.model_checksum));
    LS_TRY(export_config_write(partial, config, &plan->parameters->shape, plan->options->bfloat16));
    LS_TRY(export_origin_write(partial, checkpoint_info(plan->checkpoint), &origin));
    LS_TRY(export_stream_finish(stream));
    LS_TRY(files_rename(partial, folder));
done:
    export_stream_close(&stream);
    free(folder);
    free(partial);
    return st;
}

ls_status checkpoint_export(struct export_result *out, const struct checkpoint *checkpoint,
                            const struct export_options *options)
{
    ls_status st = LS_OK;
    struct config *config = NULL;
    struct export_plan plan = {.checkpoint = checkpoint, .options = options};
    LS_TRY(plan_open(&plan, &config));
    *out = (struct export_result){.tensors = plan.tensors.count, .bytes = plan.bytes};
    LS_TRY(write_folder(out, &plan, config));
done:
    plan_close(&plan);
    config_close(&config);
    return st;
}
