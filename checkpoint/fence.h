/* Which run epoch may write, and which commits count.  Internal to checkpoint/. */
#ifndef LOCKSTEP_CHECKPOINT_FENCE_H
#define LOCKSTEP_CHECKPOINT_FENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

/* One takeover: run epoch `run_epoch` went on from the checkpoint of `step` (-1: from nothing). */
struct takeover {
    int64_t run_epoch, step;
};
struct fence {
    struct takeover *takeovers; /* by run epoch, ascending */
    int count;
};

/* Read FOLDER/takeovers.json; none there is an empty fence.  Free with fence_close.  Local. Errors:
 * LS_CHECKPOINT when it is damaged, LS_IO. */
ls_status fence_open(struct fence *out, const char *folder) LS_MUST_CHECK;
void fence_close(struct fence *fence);

/* Whether a commit of `run_epoch` at `step` was overtaken: a newer epoch went on from an earlier
 * step.  Returns that epoch, or -1.  Local. */
int64_t fence_superseded(const struct fence *fence, int64_t run_epoch, int64_t step);

/* LS_OK when no epoch newer than `run_epoch` has taken over.  Local.  Errors: LS_FAILED when one
 * has (fence_refuse); LS_CHECKPOINT, LS_IO when the list cannot be read. */
ls_status fence_check(const char *folder, int64_t run_epoch) LS_MUST_CHECK;

/* The failure of workers of `run_epoch` that `newer` has taken over from: LS_FAILED.  Local. */
ls_status fence_refuse(const char *folder, int64_t newer, int64_t run_epoch) LS_MUST_CHECK;

#endif
