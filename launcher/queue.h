/* What SLURM says of a job. */
#ifndef LOCKSTEP_LAUNCHER_QUEUE_H
#define LOCKSTEP_LAUNCHER_QUEUE_H

#include <stdbool.h>

#include "core/status.h"

struct queue_job {
    bool listed;      /* SLURM still knows it; the rest is "" otherwise */
    char state[32];   /* RUNNING, PENDING, ... */
    char reason[256]; /* why it waits, or on which nodes it runs */
    char used[32], limit[32];
};

/* Local.  Errors: those of ask(), when SLURM cannot be asked. */
ls_status queue_read(struct queue_job *out, const char *job) LS_MUST_CHECK;

/* Whether the job waits or runs: it may still write its run folder. */
bool queue_is_live(const struct queue_job *job);

#endif
