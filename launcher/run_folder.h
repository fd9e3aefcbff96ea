/* The run folder as the launcher owns it (core/run.h lists its files): one launcher at a time, a
 * count of starts, old runs moved aside and never deleted. */
#ifndef LOCKSTEP_LAUNCHER_RUN_FOLDER_H
#define LOCKSTEP_LAUNCHER_RUN_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

struct run_folder;

/* Make the folder if need be and take it: an exclusive lock on RUN/lock, and RUN/owner.json that
 * says who has it.  The lock is inherited by child processes and so outlives a launcher that is
 * killed for as long as its workers do.  Within a SLURM job the folder of a job that SLURM says has
 * ended (or of an earlier start of the same job) is taken over: what still holds its lock are
 * processes that SLURM has lost, and run epochs keep their commits out.
 *
 * Local.  Errors: LS_IO, naming the owner when another launcher has it. */
ls_status run_folder_open(struct run_folder **out, const char *path) LS_MUST_CHECK;

/* Let it go. */
void run_folder_close(struct run_folder **folder);

const char *run_folder_path(const struct run_folder *folder);

/* Whether it holds a run: a config, checkpoints or metrics.  Local. */
bool run_folder_has_run(const struct run_folder *folder);

/* Move all that is in it to RUN.old-TIME beside it (packed datasets stay) and go on with an empty
 * one, still owned.  `*out` is the new place, owned by the caller.  Local.  Errors: LS_IO. */
ls_status run_folder_set_aside(char **out, struct run_folder *folder) LS_MUST_CHECK;

/* One more start: the next run epoch, counted from 1 and greater than all that took over in
 * RUN/checkpoints, durable before it is returned.  Local.  Errors: LS_IO, also when
 * another launcher has taken the folder over; LS_DATA when RUN/run-epoch is damaged, LS_CHECKPOINT
 * when RUN/checkpoints/takeovers.json is. */
ls_status run_folder_next_epoch(int64_t *out, struct run_folder *folder) LS_MUST_CHECK;

/* Starts so far; who has the run (NULL: nobody; owned by the caller).  For anyone.  Local.  Errors:
 * LS_IO, LS_DATA. */
ls_status run_folder_starts(int64_t *out, const char *path) LS_MUST_CHECK;
ls_status run_folder_owner(char **out, const char *path) LS_MUST_CHECK;

#endif
