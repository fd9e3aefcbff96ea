/* RUN/metrics.jsonl: exactly one JSON object a step, in order, also after any resume. */
#ifndef LOCKSTEP_WORKER_METRICS_H
#define LOCKSTEP_WORKER_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/config.h"
#include "core/hash.h"
#include "core/status.h"

/* What a step came to, over all ranks. */
struct step_metrics {
    int64_t step;  /* counted from 1 */
    int64_t epoch; /* counted from 1 */
    double loss;   /* mean over all micro-batches and groups */
    int group_count;
    double group_loss[CONFIG_MASK_GROUPS_MAX];
    double lr, weight_decay, ema; /* that the update used */
    double grad_norm;             /* before clipping */
    double target_std, prediction_cosine;
    bool has_rank;
    double target_rank;
    double clips_per_s, flops_per_s, step_s;
    double padding_share; /* of the rows of activations: those of no token */
    double data_wait_s;   /* for data, of the rank that waited longest */
    double comm_wait_s; /* for other ranks, of the one that waited least: what communication cost */
    double rank_wait_s; /* what ranks waited beyond that, on average: for slower ranks */
    struct hash128 draw_hash; /* of the pixels and mask lists of the whole step */
    int64_t replaced_draws;   /* videos that could not be decoded */
    bool skipped;             /* not finite, or a spike: nothing was updated */
    double spike_score;       /* of the loss, where that is why; else 0 */
};

struct metrics;

/* Open RUN/metrics.jsonl for appending after `finished` steps: lines of later steps, torn ones and
 * foreign ones go.  The file becomes a new one, so that whoever had it open (a rank 0 that was
 * given up) can no longer write to it.  Rank 0.  Errors: LS_IO, LS_NOMEM. */
ls_status metrics_open(struct metrics **out, const char *run, int64_t finished) LS_MUST_CHECK;
void metrics_close(struct metrics **metrics);

/* Append a step's line.  A line that cannot be written is lost with a warning: training goes on.
 * Rank 0. */
void metrics_append(struct metrics *metrics, const struct step_metrics *step);

/* Give the lines of RUN/metrics.jsonl to `take`, in order, with what rules over them need: step,
 * loss, lr, target_std, target_rank, prediction_cosine, step_s, data_wait_s, skipped (0 where a
 * line does not tell).  Rank 0.  Errors: LS_IO. */
ls_status metrics_replay(const char *run,
                         void (*take)(void *context, const struct step_metrics *step),
                         void *context) LS_MUST_CHECK;

/* A loss as a line holds it: what a resumed run reads is what the one before had.  Local. */
double metrics_rounded(double loss);

/* The line that was appended last, closed by a newline; "" before the first.  Valid until the next
 * one.  Rank 0. */
const char *metrics_line(const struct metrics *metrics);

/* Make what was appended durable; failures are warnings.  Rank 0. */
void metrics_sync(struct metrics *metrics);

#endif
