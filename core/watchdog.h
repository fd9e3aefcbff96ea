/* The watchdog: a thread that ends this process when a phase passes its deadline, whatever the
 * other threads hang in.  It calls nothing of MPI.  Deadlines of the collectives come first and
 * have more to say; this is for what they cannot see: an endless loop, a hung file system, an abort
 * that does not return.
 *
 * The thread also tells the launcher that the process lives: beats on stderr (core/flight.h), which
 * the launcher takes out of the log.  A process that is stopped cannot end itself; the launcher
 * misses its beats. */
#ifndef LOCKSTEP_CORE_WATCHDOG_H
#define LOCKSTEP_CORE_WATCHDOG_H

#include <stdint.h>

#include "core/status.h"

struct watchdog_options {
    const char *run; /* borrowed */
    int64_t run_epoch;
    int rank;
    double beat_s; /* between beats; 0: none */
};

/* Start the thread.  At the deadline it says so in one line, writes the flight record and an end
 * record with LS_TIMEOUT (not longer than a few seconds) and ends the process with LS_TIMEOUT's
 * exit code.  Local, once.  Errors: LS_FAILED. */
ls_status watchdog_open(const struct watchdog_options *options) LS_MUST_CHECK;

/* The rank, once it is known for sure.  Local. */
void watchdog_rank(int rank);

/* The process goes on to `phase` (static text) of `step`, that may take `seconds`; <= 0: no
 * deadline.  Replaces the deadline before it.  Also an event of the flight record.  Local. */
void watchdog_phase(const char *phase, int64_t step, double seconds);

/* All is done and recorded: when closing takes longer than `seconds`, the process says so and ends
 * with 0.  Replaces the deadline before it.  Local. */
void watchdog_closing(int64_t step, double seconds);

#endif
