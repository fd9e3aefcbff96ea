/* The random resized crop and flip of a clip. */
#ifndef LOCKSTEP_DATA_CROP_H
#define LOCKSTEP_DATA_CROP_H

#include <stdbool.h>

#include "core/random.h"

/* A box of whole pixels of a shown frame: after rotation, before the flip. */
struct crop_box {
    int left, top, width, height;
};

/* Draw a box inside a frame.
 *
 *     area    = uniform in scale * (width * height of the frame)
 *     aspect  = exp(uniform in [log ratio[0], log ratio[1]])
 *     width   = round(sqrt(area * aspect)), height = round(sqrt(area / aspect))
 *
 * up to 10 times, until it fits; its place is uniform over all that fit.  Else the central box of
 * full width or height whose aspect is the nearest one allowed.
 *
 *   scale, ratio   in [2]  random_resize_scale, random_resize_aspect_ratio
 *   frame_width, frame_height   pixels, >= 1
 *
 * Local.  Source: design section 4. */
struct crop_box crop_draw(struct random_stream *stream, const double *scale, const double *ratio,
                          int frame_width, int frame_height);

/* Whether a clip is mirrored, p = 0.5; call after crop_draw.  Local. */
bool crop_draw_flip(struct random_stream *stream);

/* The box of frame `frame` of a clip of `frames`, on its way from `first` (frame 0) to `last` (the
 * last frame): each of left, top, width and height at equal steps between, whole pixels below.
 * Inside the frame where both are.  Local, pure.  Source: the public transform's motion_shift. */
struct crop_box crop_between(struct crop_box first, struct crop_box last, int frame, int frames);

/* The same part of a frame of another size (a stream may change its size midway): edges scaled and
 * rounded, at least one pixel, inside the frame.  Local. */
struct crop_box crop_rescale(struct crop_box box, int from_width, int from_height, int to_width,
                             int to_height);

#endif
