/* How far a run is, from its metrics and checkpoints: for `status`, restarts and warnings. */
#ifndef LOCKSTEP_LAUNCHER_PROGRESS_H
#define LOCKSTEP_LAUNCHER_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

/* The last line of RUN/metrics.jsonl; NaN where it has none. */
struct progress {
    int64_t step;
    double loss, step_s, clips_per_s;
};

/* False when there is no line yet.  Local. */
bool progress_read(struct progress *out, const char *run);

/* Step of the newest checkpoint, -1 when there is none.  Leaves a failure's record alone.  Local.
 */
int64_t progress_saved_step(const char *run);

#endif
