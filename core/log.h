/* Log lines: `2026-11-25T03:40:00Z level=info rank=0 step=12 data_loader_open threads=4 ...` on
 * stderr.
 *
 * Errors are printed by whichever rank has them, info by rank 0 only.  Metrics do not go through
 * here. */
#ifndef LOCKSTEP_CORE_LOG_H
#define LOCKSTEP_CORE_LOG_H

#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Set who speaks.  `rank` -1 leaves rank and step out of the lines (the launcher).  Before this
 * call lines have no rank and the level is info.  On ranks other than 0 info and debug lines are
 * dropped.  Local, once, before threads. */
void log_open(int rank, enum log_level level);

/* Set the step that following lines carry; -1 for none.  Local, any thread. */
void log_step(int64_t step);

/* One line of `key=value` words, written by one write(2).  Local, any thread; cannot fail. */
void log_error(const char *format, ...) LS_PRINTF(1, 2);
void log_warn(const char *format, ...) LS_PRINTF(1, 2);
void log_info(const char *format, ...) LS_PRINTF(1, 2);
void log_debug(const char *format, ...) LS_PRINTF(1, 2);

#ifdef __cplusplus
}
#endif
#endif
