/* One rank's checkpoint writer: a thread that writes staged state to disk while training goes on.
 *
 * There are two generations of staging memory.  The training thread fills one (saver_stage,
 * saver_write) and goes on; the writer makes the rank's shard durable.  When the shards of all
 * ranks are, rank 0's writer commits.  What the ranks have to agree on is not done here (save.c):
 * this file knows nothing of other ranks.
 *
 * Every function but the writer itself is called by the training thread. */
#ifndef LOCKSTEP_WORKER_SAVER_H
#define LOCKSTEP_WORKER_SAVER_H

#include <stdbool.h>
#include <stdint.h>

#include "checkpoint/checkpoint.h"
#include "core/parameters.h"
#include "worker/metrics.h"

enum { SAVER_ARRAYS = 4, SAVER_GENERATIONS = 2 }; /* weights, two moments, EMA */

/* How the oldest save stands.  The largest value of all ranks is how it stands for all. */
enum saver_progress {
    SAVER_NOTHING,   /* no save is under way */
    SAVER_WRITTEN,   /* this rank's shard is durable */
    SAVER_COMMITTED, /* rank 0: the checkpoint exists */
    SAVER_FAILED,
    SAVER_BUSY
};

extern const char *const saver_array_names[SAVER_ARRAYS];

/* Elements of array number `array`: the EMA has the encoder's only.  Local. */
int64_t saver_array_total(int array, const struct parameters *parameters);

struct saver_options {
    const char *folder; /* RUN/checkpoints; this and the texts below are borrowed */
    const char *config_yaml, *facts_json;
    int64_t run_epoch;
    int64_t origin_step; /* that this start went on from; -1: from nothing */
    int rank, size;
    struct checkpoint_retention retention;
    int64_t slice;           /* of a rank's in a divided state (core/division.h); 0: one range */
    struct metrics *metrics; /* rank 0: made durable before a commit; else NULL */
};

/* Staging memory for this rank's range of every array, and the writer.  Local.  Errors: LS_NOMEM,
 * LS_FAILED. */
struct saver;
ls_status saver_open(struct saver **out, const struct saver_options *options,
                     const struct parameters *parameters) LS_MUST_CHECK;

/* Ends the writer after what it is writing now.  When that takes longer than `wait_s` the thread
 * and its memory are left to the end of the process, with a warning. */
void saver_close(struct saver **saver, double wait_s);

/* A free generation to fill: range of every array, `step`, `skipped`, Adam steps of the table; NULL
 * while both are in use.  Local. */
struct checkpoint_state *saver_stage(struct saver *saver);

/* Hand what saver_stage gave to the writer.  `skipped` and `metrics_json` are copied.  Local.
 * Errors: LS_NOMEM. */
ls_status saver_write(struct saver *saver) LS_MUST_CHECK;

/* Saves under way, 0 to SAVER_GENERATIONS.  Local. */
int saver_pending(const struct saver *saver);

/* Of the oldest: how it stands; its step; seconds since it was handed over; this rank's part of the
 * manifest (valid once written); bytes of this rank's shard.  Local. */
enum saver_progress saver_progress(struct saver *saver);
int64_t saver_step(const struct saver *saver);
double saver_age_s(const struct saver *saver);
const struct checkpoint_shard_facts *saver_facts(const struct saver *saver);

/* Wait until the oldest is not SAVER_BUSY, for at most `timeout_s`.  Local.  Errors: LS_CHECKPOINT
 * when it still is. */
ls_status saver_wait(struct saver *saver, double timeout_s) LS_MUST_CHECK;

/* Rank 0, when the oldest is written by all: commit with the facts of all ranks, [size], copied.
 * Local. */
void saver_commit(struct saver *saver, const struct checkpoint_shard_facts *facts);

/* The failure of the oldest as this thread's record, LS_CHECKPOINT, or LS_FAILED when a newer start
 * of the run has taken over; LS_OK when it did not fail.  Local. */
ls_status saver_failure(const struct saver *saver) LS_MUST_CHECK;

/* The oldest is over: its generation is free again.  With `discard` the writer removes what it left
 * on disk (rank 0, when no rank writes to it any more).  Local. */
void saver_finish(struct saver *saver, bool discard);

/* Wait until what saver_finish discarded is gone from the disk.  Local. */
void saver_settle(struct saver *saver);

#endif
