/* The table of 3D rotary positions. */
#ifndef LOCKSTEP_MODEL_ROTARY_H
#define LOCKSTEP_MODEL_ROTARY_H

#include <stdint.h>

/* Channels of a head that each of time, row and column turns: 2 * ((head_width / 3) / 2), at most a
 * third of the head and even.  Local. */
int rotary_axis_width(int head_width);

/* Angle of channel c at position p: p * 10000^(-2 (c mod (w/2)) / w).  The public code tiles the
 * w/2 frequencies twice over the w channels instead of repeating each for its pair; released
 * weights depend on it.
 *
 *   cosine, sine   out  [positions, axis_width]  borrowed, host; made in double
 *
 * Local.  Source: V-JEPA 2 public code, src/models/utils/modules.py (rotate_queries_or_keys). */
void rotary_fill(float *cosine, float *sine, int positions, int axis_width);

#endif
