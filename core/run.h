/* The run folder as launcher and workers share it (docs/operations.md lists every file):
 *
 *     RUN/config.yaml              resolved config, written by the launcher before it starts workers
 *     RUN/run-epoch                number of starts so far, text; one more each time workers start
 *     RUN/lock, RUN/owner.json     which launcher has the run
 *     RUN/metrics.jsonl            one line a step, rank 0
 *     RUN/checkpoints/             checkpoint/checkpoint.h
 *     RUN/datasets/                lists that were packed for the run
 *     RUN/ends/EPOCH-RANK.json     how a worker ended (below)
 *     RUN/flight/EPOCH-RANK.json   what a worker did last, when ranks lost each other (core/flight.h)
 *
 * The launcher starts every rank as
 *     lockstep-worker RUN --run-epoch E [--progress bar|lines] [--stop-at STEP] [--beat SECONDS]
 * and asks it to stop by RUN_STOP_SIGNAL, which does nothing to a process that does not listen yet:
 * save at the end of the running step, then end with LS_STOP.  SIGTERM, SIGINT and SIGUSR1, which
 * SLURM or a user may send to ranks, mean the same.  Each may come more than once.  A worker's exit
 * code is not trusted (mpirun turns it into others): the launcher reads the end records of its
 * epoch.  No record of rank 0 means that the workers died.  A worker that ends as agreed (done or
 * stopped) exits with 0, so that mpirun has nothing to say.
 *
 * With --beat the workers also tell the launcher, in lines on stderr that are not for people, that
 * they live (core/flight.h) and, rank 0, how long a save took: "lockstep-saved STEP SECONDS". */
#ifndef LOCKSTEP_CORE_RUN_H
#define LOCKSTEP_CORE_RUN_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#define RUN_STOP_SIGNAL SIGURG

enum { RUN_SAVED_BYTES = 80 };

/* A save in the form above, closed by a newline, into out[RUN_SAVED_BYTES]; its length.  Local. */
size_t run_saved_write(char *out, int64_t step, double seconds);

/* Whether a line, without its newline, is one; then the seconds (above 0) that it tells.  Local. */
bool run_saved_read(double *out_s, const char *line);

/* How a worker ended.  `status` LS_OK: all steps are done and the last checkpoint is committed;
 * LS_STOP: stopped on request, state saved; anything else: the failure, with `message`. */
struct run_end {
    int rank;
    int64_t step; /* finished steps */
    ls_status status;
    bool rollback; /* the next start passes over what made this one fail */
    char *message; /* one line; for a read record owned by it */
    char *node;    /* likewise: whose memory or card is not to be trusted; NULL: none is blamed */
};

/* Write RUN/ends/EPOCH-RANK.json.  A failing worker writes it before it aborts, with the failure of
 * its own (not "rank 3: ..." of another rank); of an agreed end only rank 0 writes one.  Local.
 * Errors: LS_IO. */
ls_status run_end_write(const char *run, int64_t run_epoch,
                        const struct run_end *end) LS_MUST_CHECK;

/* All end records of an epoch, by rank; unreadable ones are left out.  `*out` is owned by the
 * caller: run_ends_free.  Local.  Errors: LS_IO, LS_NOMEM. */
ls_status run_ends_read(struct run_end **out, int *out_count, const char *run,
                        int64_t run_epoch) LS_MUST_CHECK;
void run_ends_free(struct run_end **ends, int count);

/* The record that tells why an epoch ended: the first failure that is not a consequence of another
 * (LS_COMM and LS_TIMEOUT give way to any other cause), or else the agreed end; NULL when there is
 * none.  Borrowed from `ends`.  Local. */
const struct run_end *run_ends_cause(const struct run_end *ends, int count);

#endif
