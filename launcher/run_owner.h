/* RUN/owner.json: who has a run folder, as far as it can be told. */
#ifndef LOCKSTEP_LAUNCHER_RUN_OWNER_H
#define LOCKSTEP_LAUNCHER_RUN_OWNER_H

#include <stdbool.h>

#include "core/status.h"

struct run_owner {
    char *text;  /* "process 17 on host a since 2026-11-25T03:40:00Z, SLURM job 12" */
    char *job;   /* of SLURM; NULL: none */
    int restart; /* how often SLURM had put that job back into its queue */
};

/* Read it; a file that is not there or not ours reads as "another launcher".  Free with
 * run_owner_free.  Local.  Errors: LS_NOMEM. */
ls_status run_owner_read(struct run_owner *out, const char *folder) LS_MUST_CHECK;
void run_owner_free(struct run_owner *owner);

/* This process is the owner.  Local.  Errors: LS_IO, LS_NOMEM. */
ls_status run_owner_write(const char *folder) LS_MUST_CHECK;

/* Whether SLURM says that the owner's job has ended, or the owner is an earlier start of this very
 * job: then what may still hold its lock are processes that SLURM has lost (their node was cut
 * off).  Without SLURM's word, false.  Local. */
bool run_owner_has_ended(const struct run_owner *owner);

#endif
