/* Checkpoints: each rank copies its range of the state into staging memory and writes its shard;
 * when all are durable rank 0 commits.  A failure anywhere is known to all ranks, costs no more
 * than this save, and is tried again. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/files.h"
#include "core/log.h"
#include "worker/trainer.h"

/* A failed save is repeated after a tenth of the usual interval, but not at every step. */
enum { RETRY_SHARE = 10, RETRY_STEPS_MIN = 10 };

static const char *const array_names[TRAINER_ARRAYS] = {"weights", "moment1", "moment2", "ema"};

static ls_status describe_parameters(struct saver *saver, const struct parameters *parameters)
{
    ls_status st = LS_OK;
    struct checkpoint_state *state = &saver->state;
    LS_TRY(core_alloc(&state->parameters, parameters->count));
    LS_TRY(core_alloc(&saver->adam_steps, parameters->count));
    state->parameter_count = parameters->count;
    for (int i = 0; i < parameters->count; i++) {
        const struct parameter *p = &parameters->table[i];
        struct checkpoint_parameter *stored = &state->parameters[i];
        stored->name = p->name;
        stored->offset = p->offset;
        stored->count = p->count;
        stored->dimensions = p->dimensions;
        memcpy(stored->shape, p->shape, sizeof stored->shape);
    }
done:
    return st;
}

ls_status trainer_saver_open(struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct saver *saver = &trainer->saver;
    const struct parameters *parameters = jepa_parameters(trainer->jepa);
    saver->saved_step = -1;
    LS_TRY(core_format(&saver->folder, "%s/checkpoints", trainer->options->run));
    if (trainer->rank == 0)
        LS_TRY(files_make_folder(saver->folder));
    LS_TRY(config_dump(&saver->config_yaml, trainer->config));
    LS_TRY(trainer_facts(&saver->facts_json, trainer));
    LS_TRY(core_alloc(&saver->all_facts, trainer->size));
    LS_TRY(describe_parameters(saver, parameters));
    saver->state.array_count = TRAINER_ARRAYS;
    saver->state.config_yaml = saver->config_yaml;
    saver->state.facts_json = saver->facts_json;
    for (int a = 0; a < TRAINER_ARRAYS; a++) {
        struct checkpoint_array *array = &saver->state.arrays[a];
        array->name = array_names[a];
        array->total = a == TRAINER_ARRAYS - 1 ? parameters->encoder_count : parameters->flat_count;
        checkpoint_range(&array->offset, &array->count, array->total, trainer->rank, trainer->size);
        LS_TRY(core_alloc(&saver->staging[a], array->count > 0 ? array->count : 1));
        array->data = saver->staging[a];
    }
done:
    return st;
}

void trainer_saver_close(struct trainer *trainer)
{
    struct saver *saver = &trainer->saver;
    for (int a = 0; a < TRAINER_ARRAYS; a++)
        free(saver->staging[a]);
    free(saver->folder);
    free(saver->config_yaml);
    free(saver->facts_json);
    free(saver->adam_steps);
    free(saver->all_facts);
    free(saver->state.parameters);
    *saver = (struct saver){0};
}

static int64_t milestone_steps(const struct config *config)
{
    return config->meta.save_every_freq > 0
               ? (int64_t)config->meta.save_every_freq * config->optimization.ipe
               : 0;
}

bool trainer_save_due(const struct trainer *trainer)
{
    const struct config *config = trainer->config;
    int64_t milestone = milestone_steps(config);
    return trainer->step % config->meta.save_freq_steps == 0 ||
           (milestone > 0 && trainer->step % milestone == 0) ||
           (trainer->saver.retry_step > 0 && trainer->step >= trainer->saver.retry_step);
}

/* This rank's range of the state into staging memory. */
static ls_status stage(struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct saver *saver = &trainer->saver;
    const struct checkpoint_array *arrays = saver->state.arrays;
    const struct checkpoint_array *ema = &arrays[TRAINER_ARRAYS - 1];
    LS_TRY(jepa_state_download(trainer->jepa, &(struct jepa_state){.weights = arrays[0].data,
                                                                   .moment1 = arrays[1].data,
                                                                   .moment2 = arrays[2].data,
                                                                   .adam_steps = saver->adam_steps,
                                                                   .offset = arrays[0].offset,
                                                                   .count = arrays[0].count}));
    LS_TRY(jepa_state_download(
        trainer->jepa,
        &(struct jepa_state){.ema = ema->data, .offset = ema->offset, .count = ema->count}));
    for (int i = 0; i < saver->state.parameter_count; i++)
        saver->state.parameters[i].adam_step = saver->adam_steps[i];
    saver->state.step = trainer->step;
    saver->state.skipped = trainer->skipped;
    saver->state.skipped_count = trainer->skipped_count;
done:
    return st;
}

static ls_status write_shard(struct trainer *trainer, struct checkpoint_shard_facts *facts)
{
    ls_status st = LS_OK;
    LS_TRY(stage(trainer));
    LS_TRY(checkpoint_shard_write(facts, trainer->saver.folder, &trainer->saver.state,
                                  trainer->rank, trainer->size, trainer->options->run_epoch));
done:
    return st;
}

/* Rank 0: the checkpoint exists from here on.  Clearing away old ones may fail without harm. */
static ls_status commit(struct trainer *trainer)
{
    const struct saver *saver = &trainer->saver;
    int64_t run_epoch = trainer->options->run_epoch;
    if (trainer->metrics != NULL)
        metrics_sync(trainer->metrics);
    ls_status st =
        checkpoint_commit(saver->folder, &saver->state, saver->all_facts, trainer->size, run_epoch);
    if (st == LS_OK && checkpoint_retain(saver->folder, trainer->config->meta.keep_last,
                                         milestone_steps(trainer->config), run_epoch) != LS_OK)
        log_warn("checkpoint retain_failed: %s", status_text());
    return st;
}

/* Agree on a part of a save.  Whatever a rank's own failure was, it is one of the checkpoint. */
static ls_status agree_on_save(struct trainer *trainer, ls_status mine)
{
    ls_status vote = LS_OK;
    if (mine != LS_OK) {
        log_warn("checkpoint failed: %s", status_text());
        vote = status_adopt(LS_CHECKPOINT, status_message());
    }
    return trainer_agree(trainer, vote);
}

/* What a failed save leaves: nothing on disk, and a date for the next try. */
static void give_up(struct trainer *trainer)
{
    struct saver *saver = &trainer->saver;
    int64_t wait = trainer->config->meta.save_freq_steps / RETRY_SHARE;
    saver->retry_step = trainer->step + (wait > RETRY_STEPS_MIN ? wait : RETRY_STEPS_MIN);
    if (trainer->rank != 0)
        return;
    char *cause = strdup(status_message()); /* the record is needed below this */
    if (checkpoint_discard(saver->folder, trainer->step, trainer->options->run_epoch) != LS_OK)
        log_warn("checkpoint leftovers: %s", status_text());
    (void)status_adopt(LS_CHECKPOINT, cause != NULL ? cause : "checkpoint failed");
    free(cause);
}

ls_status trainer_save(struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct saver *saver = &trainer->saver;
    struct checkpoint_shard_facts facts;
    double begin = clock_now_s();
    memset(&facts, 0, sizeof facts);
    comm_set_timeout(trainer->group, trainer->config->run.save_timeout_s);
    LS_TRY(agree_on_save(trainer, write_shard(trainer, &facts)));
    LS_TRY(comm_exchange(trainer->group, &facts, sizeof facts, saver->all_facts));
    LS_TRY(agree_on_save(trainer, trainer->rank == 0 ? commit(trainer) : LS_OK));
    saver->saved_step = trainer->step;
    saver->retry_step = 0;
    log_info("checkpoint saved seconds=%.2f", clock_now_s() - begin);
done:
    if (st == LS_CHECKPOINT)
        give_up(trainer);
    return st;
}
