/* The machines a run may use: those that SLURM gave, those named by --hosts, or this one. */
#ifndef LOCKSTEP_LAUNCHER_ALLOCATION_H
#define LOCKSTEP_LAUNCHER_ALLOCATION_H

#include <stdbool.h>

#include "core/status.h"

struct allocation_host {
    char *name;
    int slots; /* workers it is meant for */
};

struct allocation {
    struct allocation_host *hosts; /* none: this machine only, or SLURM's list cannot be had */
    int host_count;
    char *job;          /* SLURM's job number; NULL: not in a job */
    int restart;        /* how often SLURM has put the job back into its queue */
    int tasks;          /* workers that SLURM was asked for; 0: it does not say */
    int cores_a_task;   /* 0: it does not say */
    int nodes;          /* at least 1 */
    double time_left_s; /* until the job's time limit, when this was called; -1: none */
};

/* Read the environment that SLURM sets and, in a job, ask `scontrol` for the names of its nodes.
 * `hosts` is the user's list "node1,node2:4" (name and slots, 1 by default); NULL: none given.
 * Owned by the caller: allocation_close.  Local.  Errors: LS_USAGE for a list that cannot be
 * meant, or one that is given inside a SLURM job. */
ls_status allocation_open(struct allocation **out, const char *hosts) LS_MUST_CHECK;
void allocation_close(struct allocation **allocation);

/* Whether the job still has that host: SLURM takes a node that it has found dead out of a job that
 * goes on without it (--no-kill).  Asks SLURM once for all hosts: `gone` has one bool a host, all
 * false where SLURM cannot be asked.  Local. */
void allocation_ask_gone(bool *gone, const struct allocation *allocation);

/* Slots of a task list as SLURM writes it, "2(x3),1": entry `index`, or 0 past its end.  Local. */
int allocation_slots(const char *list, int index);

#endif
