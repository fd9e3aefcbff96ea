/* When lost workers are started again, after what pause, and on which machines.  No clock and no
 * process in here, so that every rule can be tested. */
#ifndef LOCKSTEP_LAUNCHER_RESTART_POLICY_H
#define LOCKSTEP_LAUNCHER_RESTART_POLICY_H

#include <stdbool.h>

#include "core/status.h"
#include "launcher/allocation.h"

struct restart_policy;

/* At most `most` restarts within any `window_s`; a host that failed twice is left out of a start
 * where at least `workers_least` (0: all) of the `workers` fit on the others.  `allocation` is
 * borrowed for the policy's life.  Local.  Errors: LS_NOMEM. */
ls_status restart_policy_open(struct restart_policy **out, int most, double window_s, int workers,
                              int workers_least, const struct allocation *allocation) LS_MUST_CHECK;
void restart_policy_close(struct restart_policy **policy);

/* A failure at `now_s`; `host` it happened on (NULL or unknown to the allocation: nobody is
 * blamed); `progress`: a checkpoint was saved since the one before.  False: no more restarts.  Else
 * `*pause_s` is 1 s, twice as long after each failure in a row without progress, at most 60 s. */
bool restart_policy_failed(struct restart_policy *policy, double *pause_s, double now_s,
                           const char *host, bool progress);

/* Restarts within the window that ends at the last failure, and how many are allowed. */
int restart_policy_used(const struct restart_policy *policy);

/* A host that SLURM has taken out of the job, for good.  Local. */
void restart_policy_gone(struct restart_policy *policy, int host);

/* The next start: how many workers, and which hosts are left out (one bool a host, borrowed until
 * the next call; NULL when none is).  A host left out now is taken back at the start after, where
 * one more failure leaves it out again; one that is gone never comes back. */
int restart_policy_choose(struct restart_policy *policy, const bool **left_out);

#endif
