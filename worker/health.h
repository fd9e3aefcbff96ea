/* Whether a run learns: rules over its metrics, each told once and again only after it was well in
 * between.
 *
 * core/collapse.h has the rule for target_std and target_rank.  The mean loss of the last 20 steps
 * is held against that of the first 20 that count (of the run, or of its stage); that predictions
 * are alike is told only once they have differed, since healthy runs have a cosine of 1 for their
 * first hundreds of steps, too.  None of them speaks before the warm-up and those first steps are
 * over. */
#ifndef LOCKSTEP_WORKER_HEALTH_H
#define LOCKSTEP_WORKER_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/collapse.h"
#include "core/status.h"
#include "worker/metrics.h"

enum health_kind {
    HEALTH_TARGET_STD,  /* it fell below its limit (core/collapse.h) */
    HEALTH_TARGET_RANK, /* likewise */
    HEALTH_COSINE,      /* the median prediction cosine is near 1 */
    HEALTH_POOLED,      /* one direction holds nearly all of what clips differ in */
    HEALTH_LOSS,        /* the mean loss rose far above the lowest or the early one */
    HEALTH_DATA_SLOW,   /* a notable share of the last 50 steps was waited for data */
    HEALTH_DATA_STALL,  /* one step waited much longer than steps take */
    HEALTH_SCHEDULE,    /* the schedules ended before the run */
    HEALTH_KINDS
};

struct health_options {
    struct collapse_limits limits;
    int64_t first_step, schedule_steps;
};

/* What a rule has to say.  `limit` is what `now` passed. */
struct health_word {
    double now, early, limit;
    enum health_kind kind;
    int steps; /* that `now` is over */
};

struct health;

/* Local.  Errors: LS_NOMEM. */
ls_status health_open(struct health **out, const struct health_options *options) LS_MUST_CHECK;
void health_close(struct health **health);

/* Take the next step's metrics; returns how many rules have something to say, in `words`
 * [HEALTH_KINDS].  Steps that were skipped count for data only; steps up to `first_step` for
 * nothing.  Local. */
int health_take(struct health *health, const struct step_metrics *step, struct health_word *words);

/* The same for the share of the pooled variance that one direction holds, from `clips` clips. */
int health_take_pooled(struct health *health, double share, int clips, struct health_word *word);

#endif
