/* Which starts a run had, what they saved, what they warned of.
 *
 * RUN/events.jsonl tells it where it is there: starts with their numbers, saves, and what rank 0
 * warns of.  RUN/log tells the rest: starts before there were events or that died too early for
 * one, the launcher's lines, other ranks' warnings, errors, videos that were replaced. */
#ifndef LOCKSTEP_LAUNCHER_RUN_LOG_H
#define LOCKSTEP_LAUNCHER_RUN_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "core/status.h"

enum { RUN_LOG_TEXT_BYTES = 320, RUN_LOG_KINDS_MAX = 64, RUN_LOG_VIDEOS_MAX = 50 };

/* One start of the workers. */
struct run_log_start {
    time_t first, last; /* of its lines */
    int64_t epoch;      /* its number as the run counts them; 0: not told */
    int64_t from_step;  /* finished steps that it began with; -1: it did not get so far */
    int ranks;          /* 0: not told */
    int saves;
};

struct run_log_save {
    time_t time;
    int64_t step;
};

/* Warnings and errors that say the same. */
struct run_log_kind {
    char name[72]; /* "slow_rank", "checkpoint not_saved", "collapse by target_std", "error" */
    bool error;
    int64_t count;
    int64_t first_step, last_step; /* -1: none told */
    time_t first, last;
    char text[RUN_LOG_TEXT_BYTES]; /* the last one */
};

struct run_log {
    struct run_log_start *starts;
    int start_count;
    struct run_log_save *saves;
    int save_count;
    struct run_log_kind kinds[RUN_LOG_KINDS_MAX];
    int kind_count;
    int64_t kinds_lost; /* warnings for which there was no place */
    struct run_log_mark {
        time_t time;
        bool error;
        char text[RUN_LOG_TEXT_BYTES];
    } * marks; /* warnings and errors, the first RUN_LOG_MARKS_MAX */
    int mark_count;
    char videos[RUN_LOG_VIDEOS_MAX][RUN_LOG_TEXT_BYTES]; /* that could not be read */
    int video_count;
    int64_t videos_replaced;
    char device[RUN_LOG_TEXT_BYTES]; /* what the newest start computes on; "" when not told */
};

/* Read both; a run without them has an empty one.  Close with run_log_close.  Local.  Errors:
 * LS_IO, LS_NOMEM. */
ls_status run_log_open(struct run_log **out, const char *run) LS_MUST_CHECK;
void run_log_close(struct run_log **log);

#endif
