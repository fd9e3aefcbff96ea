/* Time: a monotonic clock for durations, UTC text for people. */
#ifndef LOCKSTEP_CORE_CLOCK_H
#define LOCKSTEP_CORE_CLOCK_H

#include <stddef.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Seconds on the monotonic clock; only differences mean anything.  Local, any thread. */
double clock_now_s(void);

/* The point of the monotonic clock `seconds` from now, for waits with a deadline (condition
 * variables of that clock).  Below 0 is now; more than some thirty years is that.  Local, any
 * thread. */
struct timespec clock_deadline(double seconds);

/* Sleep for `seconds`; wakes early only on a signal.  Local. */
void clock_sleep_s(double seconds);

enum { CLOCK_TEXT_BYTES = 32 };

/* UTC now, "2026-11-25T03:40:00Z", into out[CLOCK_TEXT_BYTES].  Local. */
void clock_utc_text(char *out);

#ifdef __cplusplus
}
#endif
#endif
