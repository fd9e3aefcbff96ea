/* Fault points: places where the outside world can fail (open, write, fsync, rename ...), which
 * tests make fail or die at, one after the other.  Nothing happens unless a test has armed them;
 * then the cost of a point is one atomic load. */
#ifndef LOCKSTEP_CORE_FAULT_H
#define LOCKSTEP_CORE_FAULT_H

#include <stdint.h>

enum { FAULT_PAUSE_S = 6 };

enum fault_action {
    FAULT_OFF,
    FAULT_COUNT,         /* only count the points that are passed */
    FAULT_FAIL,          /* the nth point fails with `error` */
    FAULT_FAIL_FOR_GOOD, /* the nth and every later one */
    FAULT_PAUSE,         /* the nth point takes FAULT_PAUSE_S longer: a slow file system */
    FAULT_KILL,          /* the process gets SIGKILL at the nth point */
    FAULT_SIGNAL,        /* the same with the signal `error` */
    FAULT_EXIT,          /* the process ends with code `error`, without a word */
    FAULT_HANG           /* the thread sleeps for ever at the nth point */
};

/* Arm the points called `site` (NULL: all), counting from 1.  Static text.  Local, before the
 * threads that pass points. */
void fault_arm(enum fault_action action, const char *site, int64_t nth, int error);

/* Arm from "ACTION:SITE:NTH:RANK:EPOCH", or the first of several, by commas, that is for this rank
 * and run epoch; tests of whole programs give it in the environment variable LS_FAULT.  ACTION is
 * kill, pause, segv, stop, exit, hang, fail or fail-for-good (with ENOSPC), quota (fail with
 * EDQUOT), SITE may be empty for all, RANK -1 for all, EPOCH -N for the first N.  Nothing is armed
 * for another rank or run epoch, or by a text that is not understood.  Local, once, as fault_arm.
 */
void fault_arm_text(const char *text, int rank, int64_t run_epoch);

/* Points passed since fault_arm.  Local. */
int64_t fault_count(void);

/* Called where something can fail: 0, or the errno value to fail with (errno is set too).  Local,
 * any thread. */
int fault_point(const char *site);

#endif
