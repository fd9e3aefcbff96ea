/* Random erasing (`data_aug.reprob`): a box of a clip, the same in all its frames, becomes noise.
 */
#ifndef LOCKSTEP_DATA_ERASE_H
#define LOCKSTEP_DATA_ERASE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/random.h"
#include "core/status.h"
#include "data/crop.h"

/* Draw whether a clip is erased, with probability `probability`, and where.
 *
 *     area    = uniform in [0.02, 1/3] * (width * height)
 *     aspect  = exp(uniform in [log 0.3, log 1/0.3])
 *     height  = round(sqrt(area * aspect)), width = round(sqrt(area / aspect))
 *
 * up to 100 times, until both are at least 1 and less than the picture's; its place is uniform over
 * all that fit. False when the clip stays whole.  Local. Source: Zhong et al., "Random erasing data
 * augmentation", arXiv:1708.04896, with the ranges of the public V-JEPA 2 transform. */
bool erase_draw(struct crop_box *out, struct random_stream *stream, double probability, int width,
                int height);

/* What noise needs: a table by which a random number is a pixel's value. */
struct eraser;
ls_status eraser_open(struct eraser **out) LS_MUST_CHECK;
void eraser_close(struct eraser **eraser);

/* Fill the box in all frames with independent noise: each value is what the public code's standard
 * normal noise is as a pixel, round(255 * (mean + std * z)) by the channel's mean and std, as far
 * as a byte holds it (values beyond 0 and 255, about 3 % of them, are cut).
 *
 *   pixels   inout [frames, height, width, 3]
 *
 * Local, one call at a time.  Takes its numbers from `stream` in the order of the pixels. */
void erase_fill(uint8_t *pixels, const struct eraser *eraser, struct random_stream *stream,
                struct crop_box box, int frames, int width, int height);

#endif
