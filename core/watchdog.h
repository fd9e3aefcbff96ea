/* The watchdog: a thread that ends this process when a phase passes its deadline, whatever the
 * other threads hang in.  It calls nothing of MPI.  Deadlines of the collectives come first and
 * have more to say; this is for what they cannot see: an endless loop, a hung file system, an abort
 * that does not return. */
#ifndef LOCKSTEP_CORE_WATCHDOG_H
#define LOCKSTEP_CORE_WATCHDOG_H

#include <stdint.h>

#include "core/status.h"

/* Start the thread.  At the deadline it says so in one line, writes the flight record and an end
 * record with LS_TIMEOUT (not longer than a few seconds) and ends the process with LS_TIMEOUT's
 * exit code.  `run` is borrowed.  Local, once.  Errors: LS_FAILED. */
ls_status watchdog_open(const char *run, int64_t run_epoch, int rank) LS_MUST_CHECK;

/* The process goes on to `phase` (static text) of `step`, that may take `seconds`; <= 0: no
 * deadline.  Replaces the deadline before it.  Also an event of the flight record.  Local. */
void watchdog_phase(const char *phase, int64_t step, double seconds);

#endif
