/* Where a run goes on from: its own newest good checkpoint, else the one that the config names,
 * else initial weights.  Rank 0 chooses, all ranks load the same. */
#include <cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/fault.h"
#include "core/files.h"
#include "core/log.h"
#include "worker/trainer.h"

enum { LOAD_ELEMENTS = 4 << 20, PATH_BYTES = 4096 };

enum origin_kind { ORIGIN_NOTHING, ORIGIN_OWN, ORIGIN_READ, ORIGIN_ANNEAL };

struct origin { /* broadcast by rank 0 */
    enum origin_kind kind;
    int64_t step; /* finished steps, counted through all stages */
    char path[PATH_BYTES];
};

static ls_status set_origin(struct origin *out, enum origin_kind kind, const char *path,
                            int64_t step)
{
    out->step = step;
    if (strlen(path) >= sizeof out->path)
        return LS_FAIL(LS_USAGE, "%s: the path is too long", path);
    out->kind = kind;
    memcpy(out->path, path, strlen(path) + 1);
    return LS_OK;
}

/* Rank 0.  What the config names counts where the run has no checkpoint. */
static ls_status choose(struct origin *out, const struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct checkpoint *checkpoint = NULL;
    char *folder = NULL;
    const struct config *first = trainer->stages.list[0];
    LS_TRY(core_format(&folder, "%s/checkpoints", trainer->options->run));
    st = checkpoint_open_newest(&checkpoint, folder);
    if (st == LS_OK) {
        const struct checkpoint_info *info = checkpoint_info(checkpoint);
        LS_TRY(set_origin(out, ORIGIN_OWN, info->path, info->step));
    } else if (st == LS_EOF) {
        st = LS_OK;
        status_clear();
        if (first->optimization.is_anneal && first->optimization.anneal_ckpt != NULL) {
            LS_TRY(set_origin(out, ORIGIN_ANNEAL, first->optimization.anneal_ckpt, 0));
        } else if (first->meta.load_checkpoint && first->meta.read_checkpoint != NULL) {
            LS_TRY(checkpoint_open(&checkpoint, first->meta.read_checkpoint));
            LS_TRY(set_origin(out, ORIGIN_READ, first->meta.read_checkpoint,
                              checkpoint_info(checkpoint)->step));
        }
    }
done:
    checkpoint_close(&checkpoint);
    free(folder);
    return st;
}

ls_status trainer_choose_origin(struct trainer *trainer)
{
    ls_status st = LS_OK;
    LS_TRY(trainer_agree(trainer, core_alloc(&trainer->origin, 1)));
    LS_TRY(trainer_agree(trainer, trainer->rank == 0 ? choose(trainer->origin, trainer) : LS_OK));
    LS_TRY(comm_broadcast(trainer->group, trainer->origin, sizeof *trainer->origin, 0));
    trainer->config =
        trainer->stages.list[config_stages_at(&trainer->stages, trainer->origin->step)];
done:
    return st;
}

/* The stored parameter of that name. */
static const struct checkpoint_parameter *find_stored(const struct checkpoint_info *info,
                                                      const char *name)
{
    for (int i = 0; i < info->parameter_count; i++)
        if (strcmp(info->parameters[i].name, name) == 0)
            return &info->parameters[i];
    return NULL;
}

static bool same_shape(const struct checkpoint_parameter *stored, const struct parameter *mine)
{
    bool same = stored->dimensions == mine->dimensions && stored->offset == mine->offset &&
                stored->count == mine->count;
    for (int d = 0; d < mine->dimensions && same; d++)
        same = stored->shape[d] == mine->shape[d];
    return same;
}

/* Adam step counts by name; fails when the checkpoint is of another model. */
static ls_status match_parameters(int64_t *adam_steps, const struct checkpoint_info *info,
                                  const struct parameters *mine)
{
    for (int i = 0; i < mine->count; i++) {
        const struct checkpoint_parameter *stored = find_stored(info, mine->table[i].name);
        if (stored == NULL)
            return LS_FAIL(LS_CHECKPOINT,
                           "%s: no parameter %s: it is of another model than the "
                           "config's",
                           info->path, mine->table[i].name);
        if (!same_shape(stored, &mine->table[i]))
            return LS_FAIL(LS_CHECKPOINT,
                           "%s: parameter %s has another shape: it is of another "
                           "model than the config's",
                           info->path, mine->table[i].name);
        adam_steps[i] = stored->adam_step;
    }
    if (info->parameter_count != mine->count)
        return LS_FAIL(LS_CHECKPOINT, "%s: %d parameters, the config's model has %d", info->path,
                       info->parameter_count, mine->count);
    return LS_OK;
}

/* Elements [first, end) of an array. */
static ls_status load_range(struct trainer *trainer, const struct checkpoint *checkpoint, int array,
                            float *buffer, int64_t first, int64_t end)
{
    ls_status st = LS_OK;
    for (int64_t offset = first; offset < end; offset += LOAD_ELEMENTS) {
        int64_t count = end - offset < LOAD_ELEMENTS ? end - offset : LOAD_ELEMENTS;
        LS_TRY(checkpoint_read(
            checkpoint, &(struct checkpoint_array){
                            .name = saver_array_names[array],
                            .data = buffer,
                            .offset = offset,
                            .count = count,
                            .total = saver_array_total(array, jepa_parameters(trainer->jepa))}));
        struct jepa_state range = {.offset = offset, .count = count};
        float **into[SAVER_ARRAYS] = {&range.weights, &range.moment1, &range.moment2, &range.ema};
        *into[array] = buffer;
        LS_TRY(jepa_state_upload(trainer->jepa, &range));
    }
done:
    return st;
}

/* All of an array, or what this rank keeps of it. */
static ls_status load_array(struct trainer *trainer, const struct checkpoint *checkpoint, int array,
                            float *buffer)
{
    ls_status st = LS_OK;
    int64_t total = saver_array_total(array, jepa_parameters(trainer->jepa));
    const struct division *division = &trainer->division;
    /* So that a test can show that it would notice a restore that is not whole. */
    if (array == 2 && fault_point("restore_moments") != 0)
        return LS_OK;
    if (!trainer->divided)
        return load_range(trainer, checkpoint, array, buffer, 0, total);
    for (int64_t b = 0; b < division_buckets(division, total); b++) {
        int64_t first = 0;
        int64_t count = division_part(&first, division, b, trainer->rank, total);
        LS_TRY(load_range(trainer, checkpoint, array, buffer, first, first + count));
    }
done:
    return st;
}

/* "64 -> 96", or "64" when nothing changes. */
static void change_text(char *out, size_t bytes, int64_t before, int64_t after)
{
    if (before == after)
        (void)snprintf(out, bytes, "%" PRId64, after);
    else
        (void)snprintf(out, bytes, "\"%" PRId64 " -> %" PRId64 "\"", before, after);
}

static int most_frames(const struct config *config)
{
    int most = 0;
    for (int i = 0; i < config->data.dataset_count; i++)
        if (config->data.datasets[i].frames_per_clip > most)
            most = config->data.datasets[i].frames_per_clip;
    return most;
}

static int64_t clip_tokens(const struct config *config)
{
    const struct config_data *data = &config->data;
    return (int64_t)(most_frames(config) / data->tubelet_size) *
           (data->crop_height / data->patch_size) * (data->crop_width / data->patch_size);
}

/* What a state that was trained on other clips will see from here on, in one line. */
static void tell_changes(const struct trainer *trainer, const struct checkpoint_info *info)
{
    enum { TEXT = 64 };
    char height[TEXT], width[TEXT], frames[TEXT], tokens[TEXT], clips[TEXT];
    struct config *before = NULL;
    const struct config *after = trainer->config;
    if (config_open_text(&before, info->config_yaml, info->path) != LS_OK) {
        status_clear(); /* of another version: the weights count, and they were checked */
        return;
    }
    int64_t clips_before = (int64_t)before->data.batch_size * before->micro_batches;
    int64_t clips_after = (int64_t)after->data.batch_size * after->micro_batches;
    change_text(height, sizeof height, before->data.crop_height, after->data.crop_height);
    change_text(width, sizeof width, before->data.crop_width, after->data.crop_width);
    change_text(frames, sizeof frames, most_frames(before), most_frames(after));
    change_text(tokens, sizeof tokens, clip_tokens(before), clip_tokens(after));
    change_text(clips, sizeof clips, clips_before, clips_after);
    if (before->data.crop_height != after->data.crop_height ||
        before->data.crop_width != after->data.crop_width ||
        most_frames(before) != most_frames(after) || clips_before != clips_after)
        log_info("resolution height=%s width=%s frames=%s tokens_a_clip=%s clips_a_step=%s", height,
                 width, frames, tokens, clips);
    config_close(&before);
}

/* Steps are counted through the stages, so what a finished step was must not change with the
 * config. */
static ls_status check_stage(const struct trainer *trainer, const struct checkpoint_info *info)
{
    cJSON *facts = cJSON_Parse(info->facts_json);
    const cJSON *first = cJSON_GetObjectItemCaseSensitive(facts, "first_step");
    double stored = cJSON_IsNumber(first) ? first->valuedouble : 0;
    cJSON_Delete(facts);
    if (info->step == 0)
        return LS_OK;
    int stage = config_stages_at(&trainer->stages, info->step - 1);
    int64_t ours = trainer->stages.list[stage]->first_step;
    if (stored == (double)ours)
        return LS_OK;
    return LS_FAIL(LS_USAGE,
                   "%s: its last step is of a stage that began after step %.0f; by the config that "
                   "stage begins after step %" PRId64
                   ": stages that are done must keep their steps",
                   info->path, stored, ours);
}

/* Step, skipped draws, and what the log says about it. */
static ls_status take_up(struct trainer *trainer, const struct origin *origin,
                         const struct checkpoint_info *info)
{
    ls_status st = LS_OK;
    const struct config *config = trainer->config;
    /* A stage that begins counts its own draws, as a cool-down does. */
    bool border = config->stage > 0 && info->step == config->first_step;
    trainer->step = info->step;
    if (origin->kind == ORIGIN_OWN) {
        LS_TRY(check_stage(trainer, info));
        trainer->saving.saved_step = info->step;
    }
    if (info->skipped_count > 0 && !border) {
        LS_TRY(core_alloc(&trainer->skipped, info->skipped_count));
        memcpy(trainer->skipped, info->skipped,
               (size_t)info->skipped_count * sizeof *trainer->skipped);
        trainer->skipped_count = info->skipped_count;
    }
    if (!border && !draws_read(trainer->draws, info->draws_json, trainer_dataset_hash(trainer)) &&
        info->step > 0)
        log_info("resume counts_bad_videos=anew reason=other_datasets_or_program");
    log_info("resume from=\"%s\" finished_steps=%" PRId64, info->path, info->step);
    if (!border)
        trainer_compare_facts(trainer, info->facts_json);
done:
    return st;
}

static ls_status load(struct trainer *trainer, const struct origin *origin)
{
    ls_status st = LS_OK;
    struct checkpoint *checkpoint = NULL;
    float *buffer = NULL;
    int64_t *adam_steps = NULL;
    const struct parameters *parameters = jepa_parameters(trainer->jepa);
    LS_TRY(checkpoint_open(&checkpoint, origin->path));
    const struct checkpoint_info *info = checkpoint_info(checkpoint);
    LS_TRY(core_alloc(&adam_steps, parameters->count));
    LS_TRY(match_parameters(adam_steps, info, parameters));
    LS_TRY(core_alloc(&buffer, LOAD_ELEMENTS));
    for (int a = 0; a < SAVER_ARRAYS; a++)
        LS_TRY(load_array(trainer, checkpoint, a, buffer));
    LS_TRY(jepa_state_upload(trainer->jepa, &(struct jepa_state){.adam_steps = adam_steps}));
    if (origin->kind == ORIGIN_ANNEAL) /* the cool-down counts its own steps and draws */
        log_info("anneal from=\"%s\" its_step=%" PRId64, info->path, info->step);
    else
        LS_TRY(take_up(trainer, origin, info));
    tell_changes(trainer, info);
done:
    free(adam_steps);
    free(buffer);
    checkpoint_close(&checkpoint);
    return st;
}

static ls_status take_over(struct trainer *trainer)
{
    if (trainer->rank != 0)
        return LS_OK;
    return checkpoint_take_over(trainer->saving.folder, trainer->options->run_epoch,
                                trainer->saving.saved_step);
}

static ls_status bring_state(struct trainer *trainer, const struct origin *origin)
{
    if (origin->kind != ORIGIN_NOTHING)
        return load(trainer, origin);
    log_info("start seed=%" PRId64, trainer->config->meta.seed);
    return jepa_initialize(trainer->jepa, (uint64_t)trainer->config->meta.seed);
}

ls_status trainer_resume(struct trainer *trainer)
{
    ls_status st = LS_OK;
    const struct config *config = trainer->config;
    if (config->stage_count > 1)
        log_info("stage number=%d of=%d name=%s first_step=%" PRId64 " last_step=%" PRId64,
                 config->stage + 1, config->stage_count, config->name != NULL ? config->name : "-",
                 config->first_step + 1, config->first_step + config->optimization.total_steps);
    LS_TRY(trainer_agree(trainer, bring_state(trainer, trainer->origin)));
    if (trainer->spread != NULL && trainer->origin->kind != ORIGIN_NOTHING)
        LS_TRY(spread_all(trainer->spread));
    LS_TRY(trainer_agree(trainer, take_over(trainer)));
    LS_TRY(trainer_rollback_read(trainer));
done:
    return st;
}
