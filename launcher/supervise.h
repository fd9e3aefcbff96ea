/* One start of the workers, from mpirun's or srun's start to the reason of its end. */
#ifndef LOCKSTEP_LAUNCHER_SUPERVISE_H
#define LOCKSTEP_LAUNCHER_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "launcher/job_file.h"
#include "launcher/run_folder.h"
#include "launcher/starter.h"

struct supervise_job {
    struct run_folder *folder; /* owned by this launcher, its config.yaml written */
    struct job_file *file;     /* RUN/job.json, kept up to date */
    const struct starter *starter;
    const struct allocation *allocation;
    const bool *left_out; /* hosts that take no part; NULL: none */
    int workers;
    int threads;         /* compute threads a worker */
    bool bar;            /* a progress bar rather than lines */
    double start_s;      /* until every worker has been heard */
    double silence_s;    /* between two signs of life of a worker */
    int64_t stop_at;     /* save and stop after this step; 0: not */
    const char *profile; /* steps to profile; NULL: none */
    double warning_s;    /* time between SLURM's warning and the end; 0: not in a job */
};

/* How a start was lost. */
struct supervise_loss {
    char node[128]; /* where, or whose state deviated; "": it is not known */
    bool came_up;   /* the workers had found each other */
    bool curable;   /* another start may help */
};

/* Start the workers and watch them to their end.  A first signal (launcher/stop_signals.h) lets
 * them save at the end of the running step, a hurried stop ends them at once.  Nothing of them is
 * left behind on this machine.
 *
 * Local.  Blocks.  LS_OK: all steps are done.  LS_STOP: stopped on request; also when workers were
 * lost on the way to it, which the log tells.  Errors: the workers' first failure, as one line.
 * Another start may cure LS_COMM and LS_TIMEOUT, and LS_DEVICE and LS_IO where steps were done:
 * what a user can get wrong of a device or a file shows before the first. */
ls_status supervise(struct supervise_loss *out, const struct supervise_job *job,
                    int64_t run_epoch) LS_MUST_CHECK;

/* Wait; a wish to stop ends the wait.  Local. */
void supervise_pause(double seconds);

#endif
