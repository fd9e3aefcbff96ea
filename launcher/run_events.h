/* RUN/events.jsonl read back (docs/formats.md). */
#ifndef LOCKSTEP_LAUNCHER_RUN_EVENTS_H
#define LOCKSTEP_LAUNCHER_RUN_EVENTS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "core/status.h"

enum { RUN_EVENT_NAME_BYTES = 64, RUN_EVENT_TEXT_BYTES = 320 };

struct run_event {
    time_t time;
    int64_t step, start; /* start: which start of the run wrote it, from 1 */
    bool warning;
    char kind[RUN_EVENT_NAME_BYTES / 2];
    char by[RUN_EVENT_NAME_BYTES / 2]; /* "" where it does not say */
    char text[RUN_EVENT_TEXT_BYTES];
    int64_t finished_steps, workers; /* of "saved" and "start"; -1 elsewhere */
};

struct run_events {
    struct run_event *list; /* in the order of the file */
    int count;
};

/* Read it; a run without one has none, and lines that are torn or foreign are passed over.  Close
 * with run_events_close.  Local.  Errors: LS_IO, LS_NOMEM. */
ls_status run_events_open(struct run_events *out, const char *run) LS_MUST_CHECK;
void run_events_close(struct run_events *events);

/* Whether a warning that rank 0 logged at `time` is among the events, too, by the word that its
 * line begins with.  Local. */
bool run_events_have(const struct run_events *events, time_t time, const char *line);

#endif
