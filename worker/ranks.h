/* How even the ranks are: their times of every step, kept by rank 0, told every `freq` steps in
 * RUN/ranks.jsonl and, where one rank holds up the others, in the log.
 *
 * A rank is late in a part of a step when that part takes it more than 1.2 times as long as the
 * median rank and the excess is more than 5 % of the median step.  Late in more than half of the
 * steps of a window is chronic.  A step that takes a rank more than twice the median step, in a
 * window that is not chronic, is a hiccup. */
#ifndef LOCKSTEP_WORKER_RANKS_H
#define LOCKSTEP_WORKER_RANKS_H

#include <stdint.h>

#include "core/status.h"

enum { RANKS_HOST_BYTES = 64 };

enum ranks_part { RANKS_DATA, RANKS_COMPUTE, RANKS_REDUCE, RANKS_PARTS };
enum ranks_state { RANKS_EVEN, RANKS_HICCUP, RANKS_CHRONIC };

/* A rank's times of one step. */
struct ranks_step {
    double
        parts_s[RANKS_PARTS]; /* waiting for data; own computation; summing, after all had come */
    double wait_s;            /* for other ranks */
};

/* What a window says of a rank. */
struct ranks_verdict {
    enum ranks_state state;
    enum ranks_part part; /* the slow one; unless even */
    int late_steps;       /* in that part */
    double factor;        /* that part's mean over the mean of the medians */
    int64_t worst_step;
    double worst_excess_s; /* of that step's part over the median rank's */
};

struct ranks;

struct ranks_options {
    const char *run;   /* borrowed */
    const char *hosts; /* [size][RANKS_HOST_BYTES], copied */
    int64_t run_epoch;
    int size, freq; /* steps of a window */
};

/* Rank 0.  Errors: LS_NOMEM. */
ls_status ranks_open(struct ranks **out, const struct ranks_options *options) LS_MUST_CHECK;
void ranks_close(struct ranks **ranks);

/* Take the times of a finished step, steps[size]; at the end of a window write and tell.  A line
 * that cannot be written is lost with a warning.  Rank 0. */
void ranks_take(struct ranks *ranks, int64_t step, const struct ranks_step *steps);

/* The verdict on a rank over steps[count * size] of the window that begins at `first_step`.  Local.
 */
struct ranks_verdict ranks_judge(const struct ranks_step *steps, int64_t first_step, int count,
                                 int size, int rank);

#endif
