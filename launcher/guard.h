/* Who starts a launcher again that died.
 *
 * In a SLURM job the batch process is the guard: it starts the launcher as its child, hands on the
 * signals that SLURM sends it, and does nothing else, so that there is little of which it could
 * die.  Outside of SLURM there is none: the shell that a user typed in is told. */
#ifndef LOCKSTEP_LAUNCHER_GUARD_H
#define LOCKSTEP_LAUNCHER_GUARD_H

#include "core/status.h"

struct guard_options {
    int max_restarts; /* of the launcher, that follow each other faster than window_s */
    double window_s;
    double grace_s; /* for the workers of a dead launcher to save and end */
};

/* Returns in the launcher, a child of the guard; the guard itself ends in here, with the launcher's
 * exit code (128 + signal where it does not start it again).  Before signals are caught and before
 * the run folder is opened.  Local.  Errors: LS_FAILED. */
ls_status guard_launcher(const struct guard_options *options) LS_MUST_CHECK;

#endif
