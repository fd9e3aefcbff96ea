/* How long steps took, and how long the next one may take. */
#ifndef LOCKSTEP_WORKER_STEP_TIMES_H
#define LOCKSTEP_WORKER_STEP_TIMES_H

enum { STEP_TIMES_KEPT = 31 };

struct step_times {
    double seconds[STEP_TIMES_KEPT]; /* a ring */
    int count;                       /* all that were added */
};

/* Local. */
void step_times_add(struct step_times *times, double seconds);

/* Median of the last steps; 0 before the first.  Local. */
double step_times_median(const struct step_times *times);

/* Deadline of the next step: `configured` when that is above 0; else max(60 s, 10 x median), and at
 * least `start_s` for the first steps of a start.  Local. */
double step_times_limit(const struct step_times *times, double configured, double start_s);

#endif
