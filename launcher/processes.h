/* Starting mpirun or srun with the workers, and leaving no process behind. */
#ifndef LOCKSTEP_LAUNCHER_PROCESSES_H
#define LOCKSTEP_LAUNCHER_PROCESSES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/status.h"

/* Absolute path of a program on PATH, owned by the caller.  Local.  Errors: LS_USAGE with `advice`
 * when it is not there. */
ls_status processes_find(char **out, const char *name, const char *advice) LS_MUST_CHECK;

/* Path of this program, owned by the caller.  Local.  Errors: LS_FAILED. */
ls_status processes_find_self(char **out) LS_MUST_CHECK;

/* Path of the worker program: $LOCKSTEP_WORKER, or beside this program; owned by the caller. Local.
 * Errors: LS_USAGE when it is not there. */
ls_status processes_find_worker(char **out) LS_MUST_CHECK;

/* Cores that this process may use.  Local. */
int processes_cores(void);

struct processes_start {
    char *const *words; /* absolute program and arguments, closed by NULL */
    int threads;        /* compute threads a worker */
    int stop_signal;    /* what the program gets when this process dies */
};

/* Start mpirun or srun in its own process group, with stdout as ours, stdin empty, SIGTERM held
 * back (SIGINT ends it) and stderr in a pipe whose non-blocking end is *out_errors (the caller's to
 * close).  When the launcher dies the workers are told to save and stop.  Local.  Errors:
 * LS_FAILED. */
ls_status processes_start(pid_t *out, int *out_errors,
                          const struct processes_start *how) LS_MUST_CHECK;

/* Wait up to `grace_s` for all children to end (orphaned ranks too, where the caller is their
 * reaper), then kill what is left.  Local. */
void processes_end_leftovers(double grace_s);

#endif
