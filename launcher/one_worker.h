/* A single worker, started without mpirun and waited for. */
#ifndef LOCKSTEP_LAUNCHER_ONE_WORKER_H
#define LOCKSTEP_LAUNCHER_ONE_WORKER_H

#include "core/status.h"

enum { ONE_WORKER_WORDS_MOST = 12 };

/* A folder for what such a worker is told: `output`.work-PID.  From here on a request to stop
 * (launcher/stop_signals.h) does not end this process.  one_worker_folder_remove takes the folder
 * away again and gives `st` back, or the failure of removing it.  Owned by the caller.  Local.
 * Errors: LS_IO, LS_NOMEM. */
ls_status one_worker_folder_make(char **out, const char *output) LS_MUST_CHECK;
ls_status one_worker_folder_remove(const char *folder, ls_status st) LS_MUST_CHECK;

/* Run `lockstep-worker FOLDER --run-epoch 1 WORDS...` (closed by NULL, at most
 * ONE_WORKER_WORDS_MOST) and wait for its end; requests to stop are passed on.  Its failure, as its
 * end record has it, becomes ours.  Local.  Errors: the worker's; LS_STOP; LS_FAILED. */
ls_status one_worker_run(const char *folder, const char *const *words) LS_MUST_CHECK;

#endif
