/* Early warnings: what a run's metrics and features say of it, in the log and in RUN/events.jsonl.
 *
 * Rank 0 watches (worker/health.h, worker/pooled.h); the loss window of spikes is on all ranks,
 * since they have to skip a step alike. */
#ifndef LOCKSTEP_WORKER_WATCH_H
#define LOCKSTEP_WORKER_WATCH_H

#include <stdint.h>

#include "core/config.h"
#include "core/status.h"
#include "data/loader.h"
#include "model/jepa.h"
#include "worker/events.h"
#include "worker/metrics.h"
#include "worker/spikes.h"

struct watch;

struct watch_options {
    const struct config *config; /* borrowed, as what follows */
    const char *run;
    const struct events *events;
    struct jepa *jepa;
    int64_t step; /* finished steps */
};

/* Takes up what the metrics of the finished steps say, and their losses into `spikes`.  Rank 0.
 * Errors: LS_NOMEM, LS_IO. */
ls_status watch_open(struct watch **out, struct spikes *spikes,
                     const struct watch_options *options) LS_MUST_CHECK;
void watch_close(struct watch **watch);

/* In a step whose target_rank is made: look at the clips of a micro-batch while the loader lends
 * them, then at their features once the micro-batch was queued.  Nothing happens without a watch.
 * Errors: LS_DEVICE. */
void watch_clips(struct watch *watch, const struct loader_batch *batch);
ls_status watch_features(struct watch *watch) LS_MUST_CHECK;

/* The means of the last 50 steps that counted (target_rank: its newest value) as a JSON object, for
 * the manifest; NULL without a watch.  Owned by the caller.  Errors: LS_NOMEM. */
ls_status watch_means(char **out, const struct watch *watch) LS_MUST_CHECK;

/* Take a finished step's metrics, and say what is to be said. */
void watch_step(struct watch *watch, const struct step_metrics *step);

#endif
