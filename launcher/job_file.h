/* RUN/job.json: what the launcher, `submit`, `status` and `cancel` tell each other about a run.
 * For people and programs; nothing in it decides what is computed. */
#ifndef LOCKSTEP_LAUNCHER_JOB_FILE_H
#define LOCKSTEP_LAUNCHER_JOB_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

/* Texts are "" where there is nothing to say. */
struct job_file {
    char job[32];    /* SLURM's number */
    char chain[512]; /* numbers of the jobs that follow it, by commas */
    char host[256];  /* where the launcher runs */
    char state[32];  /* submitted, running, restarting, stopping, stopped, requeued, finished,
                      * failed */
    char since[32];  /* UTC, of the state */
    char message[1024];
    char loss[1024]; /* why the workers were last started again */
    int64_t pid;     /* of the launcher */
    int64_t run_epoch;
    int workers;
    int workers_asked;
    double save_s; /* the last save's; 0: none was measured */
    int restarts;  /* of the workers by this launcher */
    int requeues;  /* that followed each other without a new checkpoint */
    int64_t requeued_at_step;
};

/* Read it; false where there is none that can be read.  Local. */
bool job_file_read(struct job_file *out, const char *run);

/* Write it with `state`, and the time where that is another one.  A failure is a warning: the run
 * does not need it.  Local. */
void job_file_write(const char *run, struct job_file *job, const char *state, const char *message);

/* RUN/cancel: asked for by `lockstep cancel`, so that a stopped job is not put back into SLURM's
 * queue.  Local.  Errors: LS_IO. */
ls_status job_file_cancel(const char *run) LS_MUST_CHECK;
bool job_file_cancelled(const char *run);
void job_file_forget_cancel(const char *run);

#endif
