/* Whether the workers live, from the beats that each of them sends on stderr (core/watchdog.h).
 *
 * A worker ends itself when a phase passes its deadline.  What it cannot do anything about (it is
 * stopped, its node is frozen, all of them are, mpirun is, or it never started) shows here: its
 * beats stay away. */
#ifndef LOCKSTEP_LAUNCHER_LIVENESS_H
#define LOCKSTEP_LAUNCHER_LIVENESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

enum { LIVENESS_TEXT_BYTES = 1024 };

struct liveness;

struct liveness_options {
    int workers;
    double start_s;   /* until every worker has been heard */
    double silence_s; /* between two beats of a worker */
};

/* Local.  Errors: LS_NOMEM. */
ls_status liveness_open(struct liveness **out,
                        const struct liveness_options *options) LS_MUST_CHECK;
void liveness_close(struct liveness **liveness);

/* Seconds between beats that the workers are started with.  Local. */
int64_t liveness_beat_s(const struct liveness *liveness);

/* Take a line of the workers' stderr; false when it is no beat.  Local. */
bool liveness_take(struct liveness *liveness, const char *line);

/* Look at the clock, after everything that was said has been taken.  True once, when some worker
 * has been silent for too long: the start is to be ended.  Local. */
bool liveness_lost(struct liveness *liveness);

/* After liveness_lost: which failure that is, in one line.  Local.  Returns LS_TIMEOUT, or LS_OK
 * when nobody was silent. */
ls_status liveness_failure(const struct liveness *liveness) LS_MUST_CHECK;

/* Who did not arrive and what the others wait for, from the flight records of the run's epoch where
 * there are some, else from the beats; "" when neither tells.  Local. */
void liveness_explain(const struct liveness *liveness, char *out, size_t bytes, const char *run,
                      int64_t run_epoch);

/* The node of the workers that were too silent when they are all on one, else "".  Valid until
 * liveness_close.  Local. */
const char *liveness_lost_node(const struct liveness *liveness);

#endif
