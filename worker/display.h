/* What rank 0 shows of a run on its standard output: a line a step, or a bar on a terminal. */
#ifndef LOCKSTEP_WORKER_DISPLAY_H
#define LOCKSTEP_WORKER_DISPLAY_H

#include "worker/metrics.h"
#include "worker/options.h"

struct display {
    bool bar;
    bool open; /* a bar stands on the current line */
    int64_t total_steps;
    double mean_step_s; /* of the last steps, for the time left; 0: none yet */
};

/* Local. */
void display_open(struct display *out, enum worker_progress progress, int64_t total_steps);

/* Show a finished step. */
void display_step(struct display *display, const struct step_metrics *step);

/* End the bar's line, so that what follows starts on its own. */
void display_end(struct display *display);

/* "1:02:03" or "2:03", for `seconds`, into out[DISPLAY_TIME_BYTES].  Local. */
enum { DISPLAY_TIME_BYTES = 24 };
void display_time(char *out, double seconds);

#endif
