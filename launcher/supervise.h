/* Starting the workers under mpirun, watching them, starting them again. */
#ifndef LOCKSTEP_LAUNCHER_SUPERVISE_H
#define LOCKSTEP_LAUNCHER_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "launcher/run_folder.h"

struct supervise_job {
    struct run_folder *folder;   /* owned by this launcher, its config.yaml written */
    const char *mpirun, *worker; /* programs */
    int workers;
    int threads;      /* compute threads a worker */
    bool bar;         /* a progress bar rather than lines */
    int64_t stop_at;  /* save and stop after this step; 0: not */
    int max_restarts; /* without a new checkpoint in between */
};

/* From here on SIGINT, SIGTERM and SIGUSR1 ask the run to stop rather than end the launcher.
 * Local, once. */
ls_status supervise_catch_signals(void) LS_MUST_CHECK;

/* Whether one of them came.  Local. */
bool supervise_stop_asked(void);

/* Run the job to its end.  A first signal lets the workers save at the end of the running step, a
 * second one ends them at once.  Workers that died or lost each other are started again from the
 * newest good checkpoint, with a growing pause, up to max_restarts times without progress.
 *
 * Local.  Blocks.  LS_OK: all steps are done.  LS_STOP: stopped on request, state saved.  Errors:
 * the workers' first failure, as one line. */
ls_status supervise(const struct supervise_job *job) LS_MUST_CHECK;

#endif
