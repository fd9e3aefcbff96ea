/* Bilinear resampling along one axis: torch's interpolate(mode="bilinear", align_corners=False,
 * antialias=False). */
#ifndef LOCKSTEP_DATA_RESAMPLE_H
#define LOCKSTEP_DATA_RESAMPLE_H

#include <stdbool.h>
#include <stdint.h>

/* For each output sample the two input samples between which it lies and the second's weight. */
struct resample_axis {
    int32_t *low, *high; /* [count] */
    float *weight;       /* [count]  in [0, 1) */
    int count;
};

/* Fill an axis (its memory is the caller's) for inputs start .. start + length - 1.
 *
 *     at   = max(0, (i + 0.5) * length / count - 0.5)      float32, as torch computes it
 *     low  = start + floor(at), high = min(low + 1, start + length - 1), weight = at - floor(at)
 *
 * `mirrored` reverses the order of the outputs.  Local. */
void resample_axis_fill(struct resample_axis *axis, int start, int length, bool mirrored);

#endif
