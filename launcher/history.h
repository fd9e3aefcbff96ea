/* The metrics of a run as columns: what the report and the plots are drawn from.
 *
 * Every number of RUN/metrics.jsonl becomes a series under its key, numbers of a list under
 * "KEY/0", "KEY/1" ...; a step that has none holds NaN.  Lines that are torn or foreign are passed
 * over; where steps come again (a start that went back) the later lines stand. */
#ifndef LOCKSTEP_LAUNCHER_HISTORY_H
#define LOCKSTEP_LAUNCHER_HISTORY_H

#include <stdint.h>

#include "core/status.h"

enum { HISTORY_SERIES_MAX = 64, HISTORY_NAME_BYTES = 64 };

struct history {
    int64_t count, room; /* steps held */
    int64_t *steps;      /* ascending */
    int series_count;
    char names[HISTORY_SERIES_MAX][HISTORY_NAME_BYTES];
    float *values[HISTORY_SERIES_MAX]; /* [count] each */
    int64_t bad_lines;                 /* passed over, a torn last one not counted */
};

/* Read all of RUN/metrics.jsonl; a run without one has no steps.  Close with history_close.  Local.
 * Errors: LS_IO, LS_NOMEM. */
ls_status history_open(struct history *out, const char *run) LS_MUST_CHECK;
void history_close(struct history *history);

/* Values of a series, [count], owned by the history; NULL where the run has none.  Local. */
const float *history_find(const struct history *history, const char *name);

/* Mean, least and largest of the finite values of values[from .. to); `count` of them, 0: NaN all.
 * Local. */
struct history_range {
    double mean, least, largest;
    int64_t count;
};
struct history_range history_range(const float *values, int64_t from, int64_t to);

#endif
