/* The flight record: the last events of this rank, kept in a fixed ring, written when the run
 * fails. The launcher compares the records of all ranks to say who did not arrive.
 *
 *     RUN/flight/EPOCH-RANK.json   {"rank","host","step","phase","entered","sequence","kind",
 *                                  "events":[[time_s,step,phase,kind,sequence,bytes],...]}
 *
 * `sequence` (of its kind) and `kind` are of the newest collective that this rank entered,
 * `entered` counts them all: ranks enter the same ones in the same order. */
#ifndef LOCKSTEP_CORE_FLIGHT_H
#define LOCKSTEP_CORE_FLIGHT_H

#include <stdint.h>

#include "core/status.h"

enum { FLIGHT_EVENTS = 256 };

/* Start recording for this rank; events before are kept.  `run` is borrowed.  Local, once. */
void flight_open(const char *run, int64_t run_epoch, int rank);

/* The rank goes on to `phase` (static text) of `step`.  Local, any thread. */
void flight_phase(const char *phase, int64_t step);

/* The rank enters a collective.  `kind` is static text.  Local, any thread. */
void flight_collective(const char *kind, int64_t sequence, int64_t bytes);

/* Write the record; nothing is allocated on the heap.  Without flight_open nothing is written.
 * Local, any thread.  Errors: LS_IO. */
ls_status flight_write(void) LS_MUST_CHECK;

/* Where a run's records of an epoch tell who is missing, into out[bytes]: one line that names ranks
 * without a record and ranks behind the others, or "" when the records tell nothing.  `size`: ranks
 * that were started.  Local. */
void flight_explain(char *out, size_t bytes, const char *run, int64_t run_epoch, int size);

#endif
