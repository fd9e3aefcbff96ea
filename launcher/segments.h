/* Shared memory that killed workers leave in /dev/shm.  Open MPI's daemons remove it, but a killed
 * mpirun is the daemon of its own machine. */
#ifndef LOCKSTEP_LAUNCHER_SEGMENTS_H
#define LOCKSTEP_LAUNCHER_SEGMENTS_H

#include "core/status.h"

/* Where mpirun leaves its name for this (--report-uri): RUN/mpirun-HOST, so that a launcher on
 * another machine neither reads nor overwrites it.  Owned by the caller.  Local.  Errors:
 * LS_NOMEM. */
ls_status segments_note(char **out, const char *run) LS_MUST_CHECK;

/* Remove the segments of the mpirun that left its name there, and the name.  Only where its workers
 * are known to be gone: the caller holds the run folder's lock, which they inherit.  Local. */
void segments_remove(const char *run);

#endif
