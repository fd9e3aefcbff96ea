/* What a process did when, for a profiler: named ranges, one in another, of each thread.
 *
 * Between trace_start and trace_stop ranges are kept; trace_write makes a file of them that
 * chrome://tracing, Perfetto and speedscope read (times of the host; a card works behind it).  A
 * profiler's own ranges (NVTX) follow whenever hooks are set, whether ranges are kept or not. */
#ifndef LOCKSTEP_CORE_TRACE_H
#define LOCKSTEP_CORE_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

enum { TRACE_DEPTH_MAX = 16, TRACE_RANGES_MAX = 1 << 16 };

/* What a profiler wants to be told; NULL: nothing. */
struct trace_hooks {
    void (*begin)(const char *name);
    void (*end)(void);
};
/* Before other threads trace.  Local. */
void trace_hooks_set(struct trace_hooks hooks);

/* The calling thread begins a part called `name` (static text), or ends the one it began last.
 * Costs next to nothing while nothing is kept.  Local, any thread. */
void trace_begin(const char *name);
void trace_end(void);
/* The same around a call that can fail: ends the part and hands `st` on. */
ls_status trace_ended(ls_status st) LS_MUST_CHECK;

/* Something that lasted from `start_s` to `end_s` (clock_now_s), on a line called `lane` (static
 * text) of its own.  Local, any thread. */
void trace_span(const char *lane, const char *name, double start_s, double end_s);

/* Steps FIRST to LAST, counted from 1. */
struct trace_steps {
    int64_t first, last;
};
/* "10:15", or one step.  Local.  Errors: LS_USAGE. */
ls_status trace_steps_parse(struct trace_steps *out, const char *text) LS_MUST_CHECK;

/* Keep what begins from now on; until trace_stop.  Local, one thread.  Errors: LS_NOMEM. */
ls_status trace_start(void) LS_MUST_CHECK;
void trace_stop(void);

/* Write what was kept as JSON and forget it; `rank` is the process number that viewers show.
 * Ranges beyond TRACE_RANGES_MAX are counted in the file only.  Local.  Errors: LS_IO, LS_NOMEM. */
ls_status trace_write(const char *path, int rank) LS_MUST_CHECK;

#endif
