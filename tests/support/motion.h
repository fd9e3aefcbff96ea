/* "Drifting cloud in flicker": small grey clips whose label is the direction in which a cloud
 * drifts.
 *
 * A smooth periodic texture moves by MOTION_SPEED pixels a frame in one of eight directions under
 * an equally strong texture that jumps at random every frame.  Every frame has mean 128 and
 * standard deviation 45 (before rounding and clipping to 0..255), so that neither brightness nor
 * contrast tells anything: only motion does.  A clip is a pure function of (seed, number). */
#ifndef LOCKSTEP_TESTS_SUPPORT_MOTION_H
#define LOCKSTEP_TESTS_SUPPORT_MOTION_H

#include <stdint.h>

#include "core/status.h"

enum { MOTION_SIZE = 64, MOTION_FRAMES = 8, MOTION_LABELS = 8 };
#define MOTION_SPEED 3.0 /* pixels a frame */

struct motion; /* scratch memory of one thread */

ls_status motion_open(struct motion **out) LS_MUST_CHECK;
void motion_close(struct motion **motion);

/* The direction of clip `number`: 0 right, then every 45 degrees towards down (y grows downwards).
 * Eight clips in a row have all eight.  Local. */
int motion_label(uint64_t number);

/* Draw clip `number` of `seed` into frames[MOTION_FRAMES, MOTION_SIZE, MOTION_SIZE].  Local. */
void motion_draw(struct motion *motion, uint8_t *frames, uint64_t seed, uint64_t number);

#endif
