/* RUN/events.jsonl: what happened to a run, one JSON object a line, for reports.
 *
 * The log has the same in words, of all ranks; this file has what a program wants to find without
 * reading words.  docs/formats.md lists the events and their numbers. */
#ifndef LOCKSTEP_WORKER_EVENTS_H
#define LOCKSTEP_WORKER_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

struct events;

struct events_value {
    const char *key;
    double value;
};

enum { EVENTS_VALUES_MAX = 8, EVENTS_SETTINGS_MAX = 6 };

/* Both arrays end at the first entry that is NULL. */
struct event {
    int64_t step;
    const char *kind;
    bool warning;
    const char *by;   /* what the event was seen by; NULL: left out */
    const char *text; /* the event in words */
    struct events_value values[EVENTS_VALUES_MAX];
    const char *settings[EVENTS_SETTINGS_MAX]; /* config keys that matter */
};

/* Local; rank 0.  Errors: LS_NOMEM. */
ls_status events_open(struct events **out, const char *run, int64_t run_epoch) LS_MUST_CHECK;
void events_close(struct events **events);

/* Append; nothing happens when `events` is NULL (ranks other than 0).  A line that cannot be
 * written is lost with a warning.  Local. */
void events_add(const struct events *events, const struct event *event);

#endif
