/* Loss spikes: how far a step's loss lies above the median of the steps before it, in robust
 * standard deviations (1.4826 times the median distance from the median, or half a percent of the
 * median where that is more).  A rise along a line over the whole window gives 1.35, whatever its
 * slope. */
#ifndef LOCKSTEP_WORKER_SPIKES_H
#define LOCKSTEP_WORKER_SPIKES_H

#include <stdint.h>

enum { SPIKES_WINDOW_MAX = 1024 };

/* The last losses that counted.  All ranks hold the same; may be copied as bytes. */
struct spikes {
    double losses[SPIKES_WINDOW_MAX];
    int32_t window, count, next;
};

void spikes_open(struct spikes *out, int window);

/* The score of `loss`; 0 until the window is full.  Local. */
double spikes_score(const struct spikes *spikes, double loss);

/* Take the loss of a step that was no spike, as metrics_rounded gives it.  Local. */
void spikes_add(struct spikes *spikes, double loss);

#endif
