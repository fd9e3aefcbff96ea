/* Checkpoints: when one is due, and what the ranks agree on about it.
 *
 * A save is staged between two steps (the only time that training stands still for) and written in
 * the background (saver.c).  How it stands on each rank rides on the votes of later steps: when all
 * shards are durable the ranks exchange what the manifest needs and rank 0's writer commits; when
 * that is done, or a rank failed, all of them know from the next votes.  So every rank frees a
 * generation of staging memory in the same step, and whether there is room for a save is the same
 * everywhere.  The last save of a run waits for all this.  A failure costs no more than that save,
 * and is tried again. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/files.h"
#include "core/log.h"
#include "core/run.h"
#include "worker/trainer.h"

/* A failed save is repeated after a tenth of the usual interval, but not at every step. */
enum {
    RETRY_SHARE = 10,
    RETRY_STEPS_MIN = 10,
    SHARD_GRACE_S = 10,
    FIRST_AUTO_S = 60,
    CLOSE_WAIT_S = 60,
    LAST_TRIES = 3,
    LAST_PAUSE_S = 3
};

static int64_t milestone_steps(const struct config *config)
{
    return config->meta.save_every_freq > 0
               ? (int64_t)config->meta.save_every_freq * config->optimization.ipe
               : 0;
}

static struct checkpoint_retention retention(const struct config *config)
{
    static const char *const metrics[] = {[CONFIG_BEST_LOSS] = "loss",
                                          [CONFIG_BEST_TARGET_STD] = "target_std",
                                          [CONFIG_BEST_TARGET_RANK] = "target_rank",
                                          [CONFIG_BEST_COSINE] = "prediction_cosine"};
    return (struct checkpoint_retention){.keep_last = config->meta.keep_last,
                                         .milestone_steps = milestone_steps(config),
                                         .keep_best = config->meta.keep_best,
                                         .metric = metrics[config->meta.best_metric],
                                         .largest = config->meta.best_is == CONFIG_BEST_LARGEST};
}

ls_status trainer_saving_open(struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct saving *saving = &trainer->saving;
    saving->saved_step = -1;
    LS_TRY(core_format(&saving->folder, "%s/checkpoints", trainer->options->run));
    if (trainer->rank == 0)
        LS_TRY(files_make_folder(saving->folder));
    LS_TRY(config_dump(&saving->config_yaml, trainer->config));
    LS_TRY(trainer_facts(&saving->facts_json, trainer));
    LS_TRY(core_alloc(&saving->all_facts, trainer->size));
    LS_TRY(core_alloc(&saving->votes, trainer->size));
done:
    return st;
}

ls_status trainer_saving_start(struct trainer *trainer)
{
    struct saving *saving = &trainer->saving;
    saving->last_s = clock_now_s();
    return saver_open(
        &saving->saver,
        &(struct saver_options){.folder = saving->folder,
                                .config_yaml = saving->config_yaml,
                                .facts_json = saving->facts_json,
                                .run_epoch = trainer->options->run_epoch,
                                .origin_step = saving->saved_step,
                                .rank = trainer->rank,
                                .size = trainer->size,
                                .retention = retention(trainer->config),
                                .slice = trainer->divided ? trainer->division.slice : 0,
                                .metrics = trainer->metrics},
        jepa_parameters(trainer->jepa));
}

void trainer_saving_close(struct trainer *trainer)
{
    struct saving *saving = &trainer->saving;
    saver_close(&saving->saver, CLOSE_WAIT_S);
    free(saving->folder);
    free(saving->config_yaml);
    free(saving->facts_json);
    free(saving->all_facts);
    free(saving->votes);
    *saving = (struct saving){0};
}

/* The interval that loses least: sqrt(2 x cost of a save x time between failures) (Young, 1974),
 * but not so short that saves follow each other without a pause, nor longer than the config's. */
static double auto_interval_s(const struct trainer *trainer)
{
    const struct saving *saving = &trainer->saving;
    double longest_s = trainer->config->meta.save_freq_minutes * 60;
    if (saving->durable_s <= 0)
        return fmin(FIRST_AUTO_S, longest_s);
    double best_s = sqrt(2 * saving->stall_s * trainer->config->run.expected_mtbf_hours * 3600);
    return fmin(fmax(best_s, 2 * saving->durable_s), longest_s);
}

bool trainer_save_asked(const struct trainer *trainer)
{
    const struct config_meta *meta = &trainer->config->meta;
    if (trainer->rank != 0 || meta->save_interval == CONFIG_SAVE_STEPS)
        return false;
    double interval_s = meta->save_interval == CONFIG_SAVE_AUTO ? auto_interval_s(trainer)
                                                                : meta->save_freq_minutes * 60;
    return clock_now_s() - trainer->saving.last_s >= interval_s;
}

static bool is_milestone(const struct trainer *trainer)
{
    int64_t milestone = milestone_steps(trainer->config);
    return milestone > 0 && trainer->step % milestone == 0;
}

bool trainer_save_due(const struct trainer *trainer)
{
    const struct config_meta *meta = &trainer->config->meta;
    const struct saving *saving = &trainer->saving;
    if (trainer->bad_steps > 0) /* the newest checkpoint has to stay from before them */
        return false;
    bool regular = meta->save_interval == CONFIG_SAVE_STEPS
                       ? trainer->step % meta->save_freq_steps == 0
                       : saving->asked;
    return regular || is_milestone(trainer) ||
           (saving->retry_step > 0 && trainer->step >= saving->retry_step);
}

/* A save that came to nothing, by the record or, passed over, by itself. */
static void add_event(const struct trainer *trainer, const char *kind, const char *text)
{
    events_add(trainer->events,
               &(struct event){.step = trainer->step,
                               .kind = kind,
                               .warning = true,
                               .text = text,
                               .values = {{"failed_in_row", trainer->saving.failed_in_row}},
                               .settings = {"meta.save_freq_steps", "lockstep.max_failed_saves"}});
}

/* What a failed save leaves: a warning, and a date for the next try.  The record says why. */
static ls_status count_failure(struct trainer *trainer)
{
    struct saving *saving = &trainer->saving;
    int limit = trainer->config->run.max_failed_saves;
    int64_t wait = trainer->config->meta.save_freq_steps / RETRY_SHARE;
    saving->retry_step = trainer->step + (wait > RETRY_STEPS_MIN ? wait : RETRY_STEPS_MIN);
    saving->failed_in_row++;
    add_event(trainer, "not_saved", status_message());
    if (saving->failed_in_row >= limit)
        return LS_CHECKPOINT;
    if (trainer->rank == 0)
        log_warn("checkpoint not_saved failed_in_row=%d of=%d next_try_after_step=%" PRId64 ": %s",
                 saving->failed_in_row, limit, saving->retry_step, status_message());
    status_clear();
    trainer->agreed = trainer->own = false; /* all go on: the next failure is another one */
    return LS_OK;
}

/* The oldest save failed on some rank: all get the reason. */
static ls_status give_up(struct trainer *trainer)
{
    struct saving *saving = &trainer->saving;
    ls_status st = trainer_agree(trainer, saver_failure(saving->saver));
    saver_finish(saving->saver, trainer->rank == 0);
    return st;
}

/* All shards are durable: what the manifest needs goes to rank 0. */
static ls_status start_commit(struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct saving *saving = &trainer->saving;
    LS_TRY(comm_exchange(trainer->group, saver_facts(saving->saver), sizeof *saving->all_facts,
                         saving->all_facts));
    if (trainer->rank == 0)
        saver_commit(saving->saver, saving->all_facts);
done:
    return st;
}

/* For the launcher, which holds it against SLURM's warning. */
static void tell_seconds(const struct trainer *trainer)
{
    char line[RUN_SAVED_BYTES];
    const struct saving *saving = &trainer->saving;
    if (trainer->options->beat_s == 0)
        return;
    size_t bytes = run_saved_write(line, saving->saved_step, saving->durable_s);
    ssize_t told = write(STDERR_FILENO, line, bytes);
    (void)told; /* without it nothing is lost but that advice */
}

static void end_save(struct trainer *trainer)
{
    struct saving *saving = &trainer->saving;
    saving->saved_step = saver_step(saving->saver);
    saving->durable_s = saver_age_s(saving->saver);
    saving->failed_in_row = 0;
    if (trainer->rank == 0) {
        int64_t bytes = 0;
        for (int r = 0; r < trainer->size; r++)
            bytes += (int64_t)saving->all_facts[r].bytes;
        log_info("checkpoint saved seconds=%.3f finished_steps=%" PRId64
                 " stood_still_ms=%.1f mb=%.1f",
                 saving->durable_s, saving->saved_step, saving->stall_s * 1e3, (double)bytes / 1e6);
        events_add(trainer->events,
                   &(struct event){.step = trainer->step,
                                   .kind = "saved",
                                   .text = "a checkpoint is durable",
                                   .values = {{"finished_steps", (double)saving->saved_step},
                                              {"seconds", saving->durable_s},
                                              {"stood_still_s", saving->stall_s},
                                              {"bytes", (double)bytes}}});
        tell_seconds(trainer);
    }
    saver_finish(saving->saver, false);
}

/* One move of the oldest save; LS_CHECKPOINT when it has failed, the record says why. */
static ls_status follow(struct trainer *trainer, enum saver_progress progress)
{
    switch (progress) {
    case SAVER_WRITTEN:
        return start_commit(trainer);
    case SAVER_COMMITTED:
        end_save(trainer);
        return LS_OK;
    case SAVER_FAILED:
        return give_up(trainer);
    case SAVER_NOTHING:
    case SAVER_BUSY:
        break;
    }
    return LS_OK;
}

ls_status trainer_save_follow(struct trainer *trainer, enum saver_progress progress)
{
    ls_status st = follow(trainer, progress);
    return st == LS_CHECKPOINT ? count_failure(trainer) : st;
}

/* Wait until every save under way is committed or has failed; LS_CHECKPOINT when the newest of them
 * failed, the record says why. */
static ls_status drain(struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct saving *saving = &trainer->saving;
    ls_status newest = LS_OK;
    /* A rank whose disk hangs says so before its peers give up. */
    while (saver_pending(saving->saver) > 0) {
        trainer_phase(trainer, "save", trainer->step,
                      trainer->config->run.save_timeout_s + SHARD_GRACE_S);
        /* A disk that hangs may work after a new start, or on another node. */
        ls_status waited = saver_wait(saving->saver, trainer->config->run.save_timeout_s);
        if (waited != LS_OK)
            waited = status_adopt(LS_TIMEOUT, status_message());
        LS_TRY(trainer_agree(trainer, waited));
        int32_t mine = (int32_t)saver_progress(saving->saver);
        int32_t *votes = saving->votes;
        int32_t worst = SAVER_NOTHING;
        LS_TRY(comm_exchange(trainer->group, &mine, sizeof mine, votes));
        for (int r = 0; r < trainer->size; r++)
            worst = votes[r] > worst ? votes[r] : worst;
        st = follow(trainer, (enum saver_progress)worst);
        if (st != LS_OK && st != LS_CHECKPOINT)
            goto done;
        if (worst == SAVER_COMMITTED || worst == SAVER_FAILED)
            newest = st;
    }
    st = newest;
done:
    return st;
}

ls_status trainer_save_begin(struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct saving *saving = &trainer->saving;
    struct checkpoint_state *state = saver_stage(saving->saver);
    saving->asked = false;
    saving->retry_step = 0;
    if (state == NULL && is_milestone(trainer)) {
        st = drain(trainer);
        if (st == LS_CHECKPOINT)
            st = count_failure(trainer);
        LS_TRY(st);
        state = saver_stage(saving->saver);
    }
    if (state != NULL)
        return trainer_save_stage(trainer, state);
    saving->last_s = clock_now_s();
    if (saving->late) {
        (void)LS_FAIL(LS_CHECKPOINT,
                      "%s: the checkpoint of step %" PRId64 " is being written for more than %g s "
                      "(lockstep.save_timeout_s)",
                      saving->folder, saver_step(saving->saver),
                      trainer->config->run.save_timeout_s);
        trainer->agreed = true;
        trainer->own = trainer->rank == 0;
        st = count_failure(trainer);
    } else if (trainer->rank == 0) {
        add_event(trainer, "save_passed_over", "two older ones are still being written");
        log_warn("checkpoint skipped step=%" PRId64
                 " reason=two_older_ones_are_still_being_written "
                 "oldest_step=%" PRId64 " for_s=%.1f advice=save_less_often",
                 trainer->step, saver_step(saving->saver), saver_age_s(saving->saver));
    }
done:
    return st;
}

/* The save that a start of the run ends with.  It has no later step to be tried again at, so it is
 * tried a few times at once. */
static ls_status save_last(struct trainer *trainer)
{
    ls_status st = LS_OK;
    struct saver *saver = trainer->saving.saver;
    int allowed = trainer->config->run.max_failed_saves;
    int most = allowed < LAST_TRIES ? allowed : LAST_TRIES;
    for (int tries = 1;; tries++) {
        LS_TRY(trainer_agree(trainer, trainer_save_stage(trainer, saver_stage(saver))));
        st = drain(trainer);
        if (st != LS_CHECKPOINT || tries == most || saver_pending(saver) > 0)
            break;
        add_event(trainer, "not_saved", status_message());
        if (trainer->rank == 0)
            log_warn("checkpoint not_saved try=%d of=%d: %s", tries, most, status_message());
        status_clear();
        saver_settle(saver); /* before anybody writes into the same folder again */
        clock_sleep_s(LAST_PAUSE_S);
        LS_TRY(trainer_agree(trainer, LS_OK));
    }
done:
    return st;
}

ls_status trainer_save_now(struct trainer *trainer)
{
    ls_status st = LS_OK;
    trainer_phase(trainer, "save", trainer->step, trainer->config->run.save_timeout_s);
    st = drain(trainer);
    if (st == LS_CHECKPOINT && saver_pending(trainer->saving.saver) == 0) {
        add_event(trainer, "not_saved", status_message());
        if (trainer->rank == 0)
            log_warn("checkpoint not_saved: %s", status_message());
        status_clear();
        st = LS_OK;
    }
    LS_TRY(st);
    if (trainer->saving.saved_step == trainer->step)
        goto done;
    LS_TRY(save_last(trainer));
done:
    return st;
}
