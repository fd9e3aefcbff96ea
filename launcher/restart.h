/* The workers' starts, one after the other, until the run is done, stopped or lost. */
#ifndef LOCKSTEP_LAUNCHER_RESTART_H
#define LOCKSTEP_LAUNCHER_RESTART_H

#include "launcher/supervise.h"

struct restart_job {
    struct supervise_job start; /* workers, left_out and run epoch are chosen for each start */
    int workers;                /* asked for */
    int workers_least;          /* 0: all */
    int max_restarts;           /* within any restart_window_s */
    double restart_window_s;
    double time_is_over_s; /* core/clock.h's time at which the SLURM job's is over; 0: unknown */
    bool requeue; /* in a SLURM job: put the job back into the queue when SLURM ends it early */
};

/* Run the job to its end.  Workers that died or lost each other are started again from the newest
 * good checkpoint, after a growing pause, as launcher/restart_policy.h says.
 *
 * Local.  Blocks.  LS_OK: all steps are done.  LS_STOP: stopped on request, or put back into
 * SLURM's queue.  Errors: the workers' first failure, as one line. */
ls_status restart_until_done(struct restart_job *job) LS_MUST_CHECK;

#endif
