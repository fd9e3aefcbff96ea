/* One rank's training run: what is open, and the parts that work on it.
 *
 * trainer_open (setup.c) joins the ranks and opens everything; resume.c brings the state;
 * trainer_step (step.c) does one step; trainer_save_* (save.c) write checkpoints; trainer_run
 * (run.c) is the loop.  A function that says "Collective" is called by all ranks in the same order,
 * and never leaves its peers waiting when this rank fails: it brings the failure to the next
 * agreement point instead. */
#ifndef LOCKSTEP_WORKER_TRAINER_H
#define LOCKSTEP_WORKER_TRAINER_H

#include "checkpoint/checkpoint.h"
#include "comm/buckets.h"
#include "comm/comm.h"
#include "core/config_stages.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "model/jepa.h"
#include "worker/audit.h"
#include "worker/device.h"
#include "worker/display.h"
#include "worker/draws.h"
#include "worker/events.h"
#include "worker/feed.h"
#include "worker/metrics.h"
#include "worker/options.h"
#include "worker/profile.h"
#include "worker/ranks.h"
#include "worker/saver.h"
#include "worker/spikes.h"
#include "worker/spread.h"
#include "worker/step_times.h"
#include "worker/tensorboard.h"
#include "worker/watch.h"

/* Where gradients are summed over ranks: nowhere (one rank), in host memory, between GPUs. */
enum trainer_sums { TRAINER_SUMS_NONE, TRAINER_SUMS_HOST, TRAINER_SUMS_DEVICE };

/* Checkpoints of this run: the writer, and how the last saves went. */
struct saving {
    char *folder;      /* RUN/checkpoints */
    char *config_yaml; /* resolved */
    char *facts_json;
    struct saver *saver;
    struct checkpoint_shard_facts *all_facts; /* [size] */
    int32_t *votes;                           /* [size] */
    int64_t saved_step;                       /* of the newest checkpoint of this run; -1: none */
    int64_t retry_step;                       /* after a failed save; 0: none to repeat */
    int failed_in_row;
    bool asked;                /* rank 0's clock asks for a save */
    bool late;                 /* the oldest save under way passed its deadline on some rank */
    double last_s;             /* when the last save was staged (clock_now_s) */
    double stall_s, durable_s; /* of the last saves: time training stood still, time to commit */
};

struct trainer {
    const struct worker_options *options;
    struct comm_group *group;
    int rank, size;
    struct config_stages stages;
    struct config *config; /* of the running stage, one of `stages` */
    struct origin *origin; /* where the run goes on from (resume.c) */
    struct worker_device device;
    struct dataset **datasets; /* [config->data.dataset_count] */
    enum trainer_sums sums_by;
    int ranks_on_card; /* that compute on this rank's GPU; 0 on the CPU */
    struct jepa *jepa;
    struct comm_device *device_sums; /* NULL: none, or host memory */
    struct comm_buckets *buckets;    /* NULL: one rank */
    int64_t bucket_bytes;
    struct division division; /* of the flat space over ranks */
    int checkpointed_blocks;  /* with lockstep.memory_mb: whose activations are recomputed */
    bool divided;             /* each rank keeps its slices of the state only */
    struct spread *spread;    /* NULL: the state is whole on every rank */
    struct loader *loader;
    struct feed *feed;
    int micro_first, micro_count; /* this rank's micro-batches of every step */
    int64_t step;                 /* finished steps */
    int64_t *skipped;             /* steps whose draws a rollback passed over, ascending */
    int skipped_count;
    int bad_steps;                    /* in a row, up to now */
    struct loader_clip_source *clips; /* [micro_count * batch_size], of the running step */
    struct draws *draws;              /* of the stage; the same on all ranks between steps */
    void *votes;                      /* [size], of a step (step.c) */
    double *sums;                     /* statistics of a step, summed over ranks (step.c) */
    float *gram;                      /* [dim, dim] */
    struct step_times times;          /* of the steps of this start */
    double step_limit_s;              /* deadline of the running step */
    struct audit *audit;
    int64_t audited_step; /* all ranks were equal after it; -1: not known */
    struct saving saving;
    struct metrics *metrics;         /* rank 0 */
    struct events *events;           /* rank 0 */
    struct watch *watch;             /* rank 0 */
    struct spikes spikes;            /* the same on all ranks */
    struct tensorboard *tensorboard; /* rank 0; NULL where they are not wanted */
    struct ranks *ranks;             /* rank 0; NULL where it is alone or not wanted */
    char *hosts;                     /* [size][RANKS_HOST_BYTES] */
    struct display display;          /* rank 0 */
    struct profile profile;
    /* About a failure: `agreed` when every rank leaves for the same reason; then `own` when it is
     * this rank's, not one that it was told of. */
    bool agreed, own;
    bool rollback; /* and the next start knows what to do better */
    bool unsound;  /* and it is this machine that is not to be trusted */
};

/* Join the job, open all, compare the ranks, take up the newest checkpoint.  On failure the trainer
 * holds what is needed to leave (`group`, `agreed`, `own`).  Collective over the job.  Errors: any.
 */
ls_status trainer_open(struct trainer *trainer, const struct worker_options *options) LS_MUST_CHECK;

/* Join the job with `start_timeout_s` as deadline; then every rank hears that one could not `read`
 * its config (whose failure is the thread's last).  Collective over the job.  Errors: any. */
ls_status trainer_join(struct trainer *trainer, ls_status read,
                       double start_timeout_s) LS_MUST_CHECK;

/* Frees all but the group.  Local. */
void trainer_close(struct trainer *trainer);

/* Train until all steps are done (LS_OK) or a stop is asked and the state is saved (LS_STOP).
 * Collective.  Errors: any. */
ls_status trainer_run(struct trainer *trainer) LS_MUST_CHECK;

/* Go on to a phase of `step` (core/watchdog.h) whose collectives have `limit_s`; the phase has a
 * little longer, so that they can tell who is missing.  Local. */
void trainer_phase(struct trainer *trainer, const char *phase, int64_t step, double limit_s);

/* Bring `mine` to all ranks; on failure sets `agreed` and `own`.  A rank that failed gets its own
 * failure back, the others the worst one ("rank 3: ...").  Collective. */
ls_status trainer_agree(struct trainer *trainer, ls_status mine) LS_MUST_CHECK;

/* Fail on every rank, with a line that says who differs, when the ranks are not of one mind: world
 * size, program, config, datasets, parameter table.  Collective.  Errors: LS_USAGE. */
ls_status trainer_compare_ranks(struct trainer *trainer) LS_MUST_CHECK;

/* Decide, on all ranks alike, where gradients are summed (lockstep.gpu_comm), from the cards of
 * all. Sets `sums_by` and `ranks_on_card`.  Collective.  Errors: LS_USAGE when NCCL is asked for
 * and cannot be had. */
ls_status trainer_choose_sums(struct trainer *trainer) LS_MUST_CHECK;

/* The model as config, device and sums want it, its state divided over ranks or not.  Local.
 * Errors: LS_USAGE, LS_NOMEM. */
ls_status trainer_model_options(struct jepa_options *out, const struct trainer *trainer,
                                bool divided) LS_MUST_CHECK;

/* How large a bucket of gradients is, for a flat space of `count` elements.  Local. */
int64_t trainer_bucket_bytes(const struct trainer *trainer, int64_t count);

/* Wait until this rank has all that others brought up to date in the last step (spread.h); without
 * a divided state there is nothing to wait for.  Local.  Errors: LS_COMM, LS_TIMEOUT, LS_DEVICE. */
ls_status trainer_settle(struct trainer *trainer) LS_MUST_CHECK;

/* Choose how few blocks are recomputed so that the model takes no more than lockstep.memory_mb;
 * sets `checkpointed_blocks`.  Local; ranks may choose differently without another bit.  Errors:
 * LS_DEVICE when all of them are too few. */
ls_status trainer_fit_memory(struct trainer *trainer) LS_MUST_CHECK;

/* trainer_fit_memory; log what the model will take, and hold it against what is free on the card.
 * Local; before any rank that shares the card opens its model.  Errors: LS_DEVICE with what would
 * fit. */
ls_status trainer_plan_memory(struct trainer *trainer) LS_MUST_CHECK;

/* Choose what the run goes on from: its newest good checkpoint (`anneal_ckpt` or `read_checkpoint`
 * when it has none), or nothing.  That says which stage runs: sets `config`.  Collective. */
ls_status trainer_choose_origin(struct trainer *trainer) LS_MUST_CHECK;

/* Initial weights, or the state that was chosen.  Sets `step` and `skipped`.  Collective. */
ls_status trainer_resume(struct trainer *trainer) LS_MUST_CHECK;

/* Count the draws of a step from their sums over ranks (draws_put); `*replaced` is how many of them
 * were bad.  Collective: all ranks come to the same answer.  Errors: LS_DATA when a dataset has too
 * many bad ones (data.max_bad_share): which, how many of how many, why. */
ls_status trainer_judge_draws(struct trainer *trainer, int64_t *replaced,
                              const double *sums) LS_MUST_CHECK;

/* Log the datasets that had bad draws.  Local. */
void trainer_tell_draws(const struct trainer *trainer);

/* Say that the running step updates nothing, and why.  Local; rank 0. */
void trainer_tell_bad_step(const struct trainer *trainer, const struct step_metrics *metrics,
                           int bad_rank);

/* Log the clips that this rank had in the running step.  Local. */
void trainer_tell_clips(const struct trainer *trainer);

/* What the metrics of finished steps say: events, early warnings, the losses that spikes are held
 * against.  Collective.  Errors: any. */
ls_status trainer_watch_open(struct trainer *trainer) LS_MUST_CHECK;

/* Bad steps and what to do about them (rollback.c).  Rank 0 writes which draws the next start
 * passes over: those of the last `bad_steps` steps, the running one included.  Errors: LS_IO,
 * LS_NOMEM. */
ls_status trainer_rollback_write(const struct trainer *trainer) LS_MUST_CHECK;

/* Nothing was updated in the running step, `metrics` and `bad_rank` as above.  Local; the same on
 * all ranks.  Errors: LS_DATA when too many such steps follow each other: then the next start
 * passes over their draws. */
ls_status trainer_count_bad_step(struct trainer *trainer, const struct step_metrics *metrics,
                                 int bad_rank) LS_MUST_CHECK;

/* Add what such a file holds to `skipped`.  Collective.  Errors: any. */
ls_status trainer_rollback_read(struct trainer *trainer) LS_MUST_CHECK;

/* Hash over the fingerprints of all datasets, in the config's order.  Local. */
struct hash128 trainer_dataset_hash(const struct trainer *trainer);

/* Hash of this program's file.  Local.  Errors: LS_IO. */
ls_status trainer_program_hash(struct hash128 *out) LS_MUST_CHECK;

/* What the bits of the run depend on beside config and seed, as JSON (stored in checkpoints); owned
 * by the caller.  Local. */
ls_status trainer_facts(char **out, const struct trainer *trainer) LS_MUST_CHECK;

/* Log what differs from the facts of the checkpoint that is taken up.  Local; rank 0 speaks. */
void trainer_compare_facts(const struct trainer *trainer, const char *stored_json);

/* Where checkpoints go and what stands in each of them; then, once the metrics are open, the writer
 * and its staging memory.  Local. */
ls_status trainer_saving_open(struct trainer *trainer) LS_MUST_CHECK;
ls_status trainer_saving_start(struct trainer *trainer) LS_MUST_CHECK;
void trainer_saving_close(struct trainer *trainer);

/* Whether this rank's clock asks for a save (rank 0 alone has a say); for the vote.  Local. */
bool trainer_save_asked(const struct trainer *trainer);

/* Whether a checkpoint is due after the current step.  Local; the same on all ranks. */
bool trainer_save_due(const struct trainer *trainer);

/* Stage a checkpoint of the current step, and go on: it is written in the background.  Without a
 * free generation of staging memory the save is passed over and the log says so; a milestone waits.
 * All ranks, in the same step.  Errors: LS_CHECKPOINT after `max_failed_saves` failures in a row;
 * LS_DEVICE, LS_NOMEM; LS_COMM, LS_TIMEOUT. */
ls_status trainer_save_begin(struct trainer *trainer) LS_MUST_CHECK;

/* Copy this rank's part of the state into staging memory, and hand it to the writer.  Local.
 * Errors: LS_DEVICE, LS_NOMEM. */
ls_status trainer_save_stage(struct trainer *trainer, struct checkpoint_state *state) LS_MUST_CHECK;

/* Take the saves under way further, `progress` being the largest of all ranks' votes.  Collective.
 * Errors: LS_CHECKPOINT after `max_failed_saves` failures in a row; LS_FAILED when a newer start of
 * the run has taken over; LS_COMM, LS_TIMEOUT. */
ls_status trainer_save_follow(struct trainer *trainer, enum saver_progress progress) LS_MUST_CHECK;

/* Write a checkpoint of the current step and wait until it is durable and committed, and those
 * before it.  Every rank gets the same answer.  Collective.  Errors: LS_CHECKPOINT, LS_COMM,
 * LS_TIMEOUT. */
ls_status trainer_save_now(struct trainer *trainer) LS_MUST_CHECK;

/* What a step decided for all ranks alike. */
struct step_outcome {
    struct step_metrics metrics;    /* complete on rank 0 only */
    bool stop;                      /* a rank was asked to stop */
    const struct ranks_step *times; /* of every rank, until the next step */
};

/* One step: load, forward, backward, reduce, decide, update.  Advances `step`.  Collective.
 * Errors: any. */
ls_status trainer_step(struct trainer *trainer, struct step_outcome *out) LS_MUST_CHECK;

/* Memory of a step, allocated once: votes, sums, gram.  Local. */
ls_status trainer_step_open(struct trainer *trainer) LS_MUST_CHECK;
void trainer_step_close(struct trainer *trainer);

#endif
