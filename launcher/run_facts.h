/* A run as its folder, and SLURM where it is a job, tell it: what `status`, `cancel` and the report
 * begin with. */
#ifndef LOCKSTEP_LAUNCHER_RUN_FACTS_H
#define LOCKSTEP_LAUNCHER_RUN_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "launcher/job_file.h"
#include "launcher/progress.h"
#include "launcher/queue.h"

struct run_facts {
    struct job_file file;
    struct queue_job queue;
    struct progress progress;
    char *owner; /* who holds the folder, as far as this machine can tell; NULL: nobody */
    int64_t total_steps, saved_step;
    bool trained; /* progress is known */
    /* That of job.json unless it cannot be true any more ("lost"), "waiting" for SLURM, "unknown".
     */
    char state[sizeof((struct job_file *)0)->state];
};

/* Local.  Close with run_facts_close.  Errors: LS_USAGE when `run` is no run folder, LS_IO. */
ls_status run_facts_read(struct run_facts *out, const char *run) LS_MUST_CHECK;
void run_facts_close(struct run_facts *facts);

/* Whether a state is one of a run that a launcher is at work on.  Local. */
bool run_facts_say_it_runs(const char *state);

#endif
