/* The signals by which users and SLURM ask a run to stop. */
#ifndef LOCKSTEP_LAUNCHER_STOP_SIGNALS_H
#define LOCKSTEP_LAUNCHER_STOP_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

#include "core/status.h"

/* From here on SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 ask the run to stop rather than end the
 * launcher.  Local, once. */
ls_status stop_signals_catch(void) LS_MUST_CHECK;

/* Whether one of them came; whether the stop must not wait for a save.  Only a person hurries, by a
 * second SIGINT or SIGTERM: a warning (SIGUSR1, SIGUSR2) never does.  Within a SLURM job SIGTERM
 * does not either, since SLURM sends it at the beginning of the time it grants and again at its
 * end, followed by SIGKILL.  Local. */
bool stop_asked(void);
bool stop_hurried(void);

/* Keep these signals and SIGCHLD out but for waits under `stop_signals_open_mask`; `before` is
 * what pthread_sigmask restores.  Local. */
void stop_signals_hold(sigset_t *before);

/* The calling thread's mask with them let in: for ppoll.  Local. */
void stop_signals_open_mask(sigset_t *out);

#endif
