/* The folders of a run's checkpoints, newest first.  Internal to checkpoint/. */
#ifndef LOCKSTEP_CHECKPOINT_LISTING_H
#define LOCKSTEP_CHECKPOINT_LISTING_H

#include "checkpoint/fence.h"
#include "checkpoint/layout.h"

struct listing {
    struct layout_name *entries; /* newest step first, a committed one before its replaced twin */
    int count;
};

/* Free `entries`.  A folder that is not there is empty.  Local.  Errors: LS_IO, LS_NOMEM. */
ls_status listing_open(struct listing *out, const char *folder) LS_MUST_CHECK;

/* Open the checkpoint at `path` and read all of it; damage is logged.  Local.  Errors:
 * LS_CHECKPOINT.
 */
ls_status listing_open_good(struct checkpoint **out, const char *path) LS_MUST_CHECK;

/* Whether a newer start took over before it; the log says so.  Local. */
bool listing_superseded(const struct fence *fence, const struct checkpoint *c);

#endif
