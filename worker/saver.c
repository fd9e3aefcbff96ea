/* The generations are a ring: `oldest` is being written or committed, the one after it may already
 * be staged.  The mutex guards everything of a generation that both threads touch; a generation's
 * state belongs to the writer from saver_write until its progress is no longer SAVER_BUSY. */
#include "worker/saver.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/files.h"
#include "core/log.h"
#include "worker/generation.h"

struct saver {
    struct saver_options options;
    struct checkpoint_place place;
    struct generation generations[SAVER_GENERATIONS];
    struct checkpoint_shard_facts *all_facts; /* [size], of the one being committed */
    int oldest, pending;
    int64_t discard_step; /* -1: none */
    bool touched, discarding, stop, running, ended;
    pthread_t writer;
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
};

static struct generation *oldest_of(const struct saver *saver)
{
    return (struct generation *)&saver->generations[saver->oldest];
}

/* The shards' file system may have gone since they were written, or they may have been deleted. */
static ls_status commit(struct saver *saver, const struct generation *generation)
{
    ls_status st = LS_OK;
    const struct saver_options *options = &saver->options;
    bool deleted = false;
    if (options->metrics != NULL)
        metrics_sync(options->metrics);
    LS_TRY(checkpoint_place_check(&deleted, &saver->place, options->folder));
    if (deleted) { /* the next save makes the folder again */
        st = LS_FAIL(LS_CHECKPOINT, "%s: its files were deleted during a save", options->folder);
        goto done;
    }
    LS_TRY(checkpoint_commit(options->folder, &generation->state, saver->all_facts, options->size,
                             options->run_epoch));
done:
    return st;
}

/* Clearing away old checkpoints may fail without harm. */
static void retain(const struct saver *saver)
{
    const struct saver_options *options = &saver->options;
    if (checkpoint_retain(options->folder, &options->retention, options->run_epoch) != LS_OK)
        log_warn("checkpoint retain_failed: %s", status_text());
    status_clear();
}

static void discard(const struct saver *saver, int64_t step)
{
    if (checkpoint_discard(saver->options.folder, step, saver->options.run_epoch) != LS_OK)
        log_warn("checkpoint leftovers: %s", status_text());
    status_clear();
}

/* This rank's shard, into the folder that the run has had. */
static ls_status write_shard(const struct saver *saver, struct generation *generation)
{
    ls_status st = LS_OK;
    const struct saver_options *options = &saver->options;
    bool deleted = false;
    LS_TRY(checkpoint_place_check(&deleted, &saver->place, options->folder));
    if (deleted && options->rank == 0) {
        log_warn("checkpoint folder_made_again path=%s reason=somebody_deleted_it",
                 options->folder);
        LS_TRY(checkpoint_take_over(options->folder, options->run_epoch, options->origin_step));
    }
    LS_TRY(checkpoint_shard_write(&generation->facts, options->folder, &generation->state,
                                  options->rank, options->size, options->run_epoch));
done:
    return st;
}

/* One job of a generation, without the mutex. */
static void run_job(struct saver *saver, struct generation *generation, enum job job)
{
    bool writes = job == JOB_WRITE;
    ls_status st = writes ? write_shard(saver, generation) : commit(saver, generation);
    (void)pthread_mutex_lock(&saver->mutex);
    generation->status = st;
    if (st != LS_OK)
        (void)snprintf(generation->text, sizeof generation->text, "%s", status_message());
    generation->progress = st != LS_OK ? SAVER_FAILED : writes ? SAVER_WRITTEN : SAVER_COMMITTED;
    (void)pthread_cond_signal(&saver->done);
    (void)pthread_mutex_unlock(&saver->mutex);
    status_clear();
    if (st == LS_OK && !writes)
        retain(saver);
}

/* The oldest generation that has a job; NULL when none has. */
static struct generation *next_job(struct saver *saver)
{
    for (int i = 0; i < SAVER_GENERATIONS; i++) {
        struct generation *g = &saver->generations[(saver->oldest + i) % SAVER_GENERATIONS];
        if (g->job != JOB_NONE)
            return g;
    }
    return NULL;
}

/* The system finds memory for a page when it is first written: done here, so that the first saves
 * do not stand still for it (17 s instead of 1 s for 5 GB, measured). */
static void touch(struct saver *saver)
{
    for (int g = 0; g < SAVER_GENERATIONS; g++)
        for (int a = 0; a < SAVER_ARRAYS; a++) {
            const struct checkpoint_array *array = &saver->generations[g].state.arrays[a];
            memset(array->data, 0, (size_t)array->count * sizeof *array->data);
        }
}

static void *write_generations(void *context)
{
    struct saver *saver = context;
    touch(saver);
    (void)pthread_mutex_lock(&saver->mutex);
    saver->touched = true;
    (void)pthread_cond_signal(&saver->done);
    while (true) {
        struct generation *generation = next_job(saver);
        int64_t dead_step = saver->discard_step;
        if (dead_step >= 0) {
            saver->discard_step = -1;
            saver->discarding = true;
            (void)pthread_mutex_unlock(&saver->mutex);
            discard(saver, dead_step);
            (void)pthread_mutex_lock(&saver->mutex);
            saver->discarding = false;
            (void)pthread_cond_signal(&saver->done);
        } else if (saver->stop) {
            break;
        } else if (generation != NULL) {
            enum job job = generation->job;
            generation->job = JOB_NONE;
            (void)pthread_mutex_unlock(&saver->mutex);
            run_job(saver, generation, job);
            (void)pthread_mutex_lock(&saver->mutex);
        } else {
            (void)pthread_cond_wait(&saver->work, &saver->mutex);
        }
    }
    saver->ended = true;
    (void)pthread_cond_signal(&saver->done);
    (void)pthread_mutex_unlock(&saver->mutex);
    return NULL;
}

static ls_status open_locks(struct saver *saver)
{
    pthread_condattr_t monotonic;
    bool good = pthread_condattr_init(&monotonic) == 0 &&
                pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
                pthread_mutex_init(&saver->mutex, NULL) == 0 &&
                pthread_cond_init(&saver->work, NULL) == 0 &&
                pthread_cond_init(&saver->done, &monotonic) == 0;
    (void)pthread_condattr_destroy(&monotonic);
    return good ? LS_OK : LS_FAIL(LS_FAILED, "no locks for the checkpoint writer");
}

ls_status saver_open(struct saver **out, const struct saver_options *options,
                     const struct parameters *parameters)
{
    ls_status st = LS_OK;
    struct saver *saver = NULL;
    LS_TRY(core_alloc(&saver, 1));
    saver->options = *options;
    saver->discard_step = -1;
    LS_TRY(checkpoint_place_open(&saver->place, options->folder));
    LS_TRY(open_locks(saver));
    LS_TRY(core_alloc(&saver->all_facts, options->size));
    for (int g = 0; g < SAVER_GENERATIONS; g++)
        LS_TRY(generation_open(&saver->generations[g], options, parameters));
    int error = pthread_create(&saver->writer, NULL, write_generations, saver);
    if (error != 0) {
        st = LS_FAIL(LS_FAILED, "cannot start the checkpoint writer: %s", strerror(error));
        goto done;
    }
    saver->running = true;
    *out = saver;
    saver = NULL;
done:
    saver_close(&saver, 0);
    return st;
}

/* Whether the writer has ended. */
static bool end_writer(struct saver *saver, double wait_s)
{
    struct timespec until = clock_deadline(wait_s);
    (void)pthread_mutex_lock(&saver->mutex);
    saver->stop = true;
    (void)pthread_cond_signal(&saver->work);
    int error = 0;
    while (!saver->ended && error == 0)
        error = pthread_cond_timedwait(&saver->done, &saver->mutex, &until);
    bool ended = saver->ended;
    (void)pthread_mutex_unlock(&saver->mutex);
    return ended && pthread_join(saver->writer, NULL) == 0;
}

void saver_close(struct saver **saver, double wait_s)
{
    struct saver *s = *saver;
    *saver = NULL;
    if (s == NULL)
        return;
    if (s->running && !end_writer(s, wait_s)) {
        log_warn("checkpoint writer_stuck seconds=%g folder=%s", wait_s, s->options.folder);
        return;
    }
    for (int g = 0; g < SAVER_GENERATIONS; g++)
        generation_close(&s->generations[g]);
    free(s->all_facts);
    (void)pthread_cond_destroy(&s->done);
    (void)pthread_cond_destroy(&s->work);
    (void)pthread_mutex_destroy(&s->mutex);
    free(s);
}

static struct generation *free_generation(struct saver *saver)
{
    return saver->pending == SAVER_GENERATIONS
               ? NULL
               : &saver->generations[(saver->oldest + saver->pending) % SAVER_GENERATIONS];
}

struct checkpoint_state *saver_stage(struct saver *saver)
{
    struct generation *generation = free_generation(saver);
    if (generation == NULL)
        return NULL;
    (void)pthread_mutex_lock(&saver->mutex);
    while (!saver->touched)
        (void)pthread_cond_wait(&saver->done, &saver->mutex);
    (void)pthread_mutex_unlock(&saver->mutex);
    return &generation->state;
}

ls_status saver_write(struct saver *saver)
{
    struct generation *generation = free_generation(saver);
    ls_status st = generation_own_lists(generation);
    if (st != LS_OK)
        return st;
    (void)pthread_mutex_lock(&saver->mutex);
    generation->progress = SAVER_BUSY;
    generation->status = LS_OK;
    generation->job = JOB_WRITE;
    generation->since_s = clock_now_s();
    saver->pending++;
    (void)pthread_cond_signal(&saver->work);
    (void)pthread_mutex_unlock(&saver->mutex);
    return LS_OK;
}

int saver_pending(const struct saver *saver)
{
    return saver->pending;
}

enum saver_progress saver_progress(struct saver *saver)
{
    if (saver->pending == 0)
        return SAVER_NOTHING;
    (void)pthread_mutex_lock(&saver->mutex);
    enum saver_progress progress = oldest_of(saver)->progress;
    (void)pthread_mutex_unlock(&saver->mutex);
    return progress;
}

int64_t saver_step(const struct saver *saver)
{
    return oldest_of(saver)->state.step;
}

double saver_age_s(const struct saver *saver)
{
    return saver->pending > 0 ? clock_now_s() - oldest_of(saver)->since_s : 0;
}

const struct checkpoint_shard_facts *saver_facts(const struct saver *saver)
{
    return &oldest_of(saver)->facts;
}

ls_status saver_wait(struct saver *saver, double timeout_s)
{
    struct timespec until = clock_deadline(timeout_s);
    const struct generation *generation = oldest_of(saver);
    int error = 0;
    (void)pthread_mutex_lock(&saver->mutex);
    while (generation->progress == SAVER_BUSY && error == 0)
        error = pthread_cond_timedwait(&saver->done, &saver->mutex, &until);
    bool busy = generation->progress == SAVER_BUSY;
    (void)pthread_mutex_unlock(&saver->mutex);
    return busy ? LS_FAIL(LS_CHECKPOINT,
                          "%s: the checkpoint of step %" PRId64
                          " was not written within %g s (lockstep.save_timeout_s)",
                          saver->options.folder, generation->state.step, timeout_s)
                : LS_OK;
}

void saver_commit(struct saver *saver, const struct checkpoint_shard_facts *facts)
{
    struct generation *generation = oldest_of(saver);
    memcpy(saver->all_facts, facts, (size_t)saver->options.size * sizeof *facts);
    (void)pthread_mutex_lock(&saver->mutex);
    generation->progress = SAVER_BUSY;
    generation->job = JOB_COMMIT;
    (void)pthread_cond_signal(&saver->work);
    (void)pthread_mutex_unlock(&saver->mutex);
}

ls_status saver_failure(const struct saver *saver)
{
    const struct generation *generation = oldest_of(saver);
    if (generation->progress != SAVER_FAILED)
        return LS_OK;
    return status_adopt(generation->status == LS_FAILED ? LS_FAILED : LS_CHECKPOINT,
                        generation->text);
}

void saver_finish(struct saver *saver, bool discard_it)
{
    struct generation *generation = oldest_of(saver);
    (void)pthread_mutex_lock(&saver->mutex);
    if (discard_it)
        saver->discard_step = generation->state.step;
    generation->progress = SAVER_NOTHING;
    saver->oldest = (saver->oldest + 1) % SAVER_GENERATIONS;
    saver->pending--;
    (void)pthread_cond_signal(&saver->work);
    (void)pthread_mutex_unlock(&saver->mutex);
}

void saver_settle(struct saver *saver)
{
    (void)pthread_mutex_lock(&saver->mutex);
    while (saver->discard_step >= 0 || saver->discarding)
        (void)pthread_cond_wait(&saver->done, &saver->mutex);
    (void)pthread_mutex_unlock(&saver->mutex);
}
