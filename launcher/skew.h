/* RUN/ranks.jsonl read back: how long each rank computed in each window of steps, against the
 * median rank. */
#ifndef LOCKSTEP_LAUNCHER_SKEW_H
#define LOCKSTEP_LAUNCHER_SKEW_H

#include <stdint.h>
#include <stdio.h>

#include "core/status.h"

enum { SKEW_RANKS_MAX = 65536, SKEW_NODE_BYTES = 64, SKEW_COLUMNS = 80, SKEW_ROWS = 64 };

struct skew_window {
    int64_t step; /* the last of it */
    int ranks;
    float *own_s;   /* [ranks]: waiting for data and computing, mean of its steps; NaN: none */
    float median_s; /* of them; of two the smaller */
    unsigned char *states; /* [ranks]: 0 even, 1 hiccup, 2 chronic */
};

/* How often a rank was late. */
struct skew_rank {
    char node[SKEW_NODE_BYTES]; /* the newest */
    int hiccups, chronic, windows;
};

struct skew {
    struct skew_window *windows; /* by step; where steps came again, those of the newest start */
    int window_count;
    struct skew_rank *ranks;
    int rank_count; /* of the window that has most */
};

/* Read all; a run without the file has no windows.  Close with skew_close.  Local.  Errors: LS_IO,
 * LS_NOMEM. */
ls_status skew_open(struct skew *out, const char *run) LS_MUST_CHECK;
void skew_close(struct skew *skew);

/* The heat map: a <figure> with ranks from top to bottom and steps from left to right, gathered
 * into at most SKEW_ROWS and SKEW_COLUMNS; nothing for a run without windows.  Local. */
void skew_draw(FILE *out, const struct skew *skew);

#endif
