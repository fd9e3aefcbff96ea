/* Requests to stop: SIGTERM, SIGINT, SIGUSR1 (SLURM's warning), and the one that the
 * launcher sends (core/run.h).  They only set a flag; the flag
 * travels in the joint decision of the running step, so that all ranks save and leave at the same
 * step.  A second SIGINT ends this process at once. */
#ifndef LOCKSTEP_WORKER_SIGNALS_H
#define LOCKSTEP_WORKER_SIGNALS_H

#include <stdbool.h>

#include "core/status.h"

/* Catch the signals from here on.  Local, once.  Errors: LS_FAILED. */
ls_status worker_signals_open(void) LS_MUST_CHECK;

/* Whether a signal has asked this rank to stop.  Local, any thread. */
bool worker_stop_asked(void);

#endif
