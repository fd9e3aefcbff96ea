/* A decoded frame to a training image: orientation, crop, bilinear resize, flip, uint8 RGB, in one
 * pass over the rows that are needed. */
#ifndef LOCKSTEP_DATA_TRANSFORM_H
#define LOCKSTEP_DATA_TRANSFORM_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "data/crop.h"
#include "data/dataset.h"

struct AVFrame;
struct transform;

/* What all frames of a clip share. */
struct transform_view {
    struct video_orientation orientation; /* from stored to shown */
    int shown_width, shown_height;        /* the size that `box` was drawn for */
    struct crop_box box;                  /* in shown pixels */
    bool flip;                            /* mirror the result */
    int width, height;                    /* of the result */
};

/* One a thread; its memory grows to the largest frame and view met and is then reused. */
ls_status transform_open(struct transform **out) LS_MUST_CHECK;
void transform_close(struct transform **transform);

/* Write one frame.
 *
 *   out     out [height, width, 3]  RGB, rounded to nearest
 *   frame   native planes of any format that swscale reads; data/colour.h says which matrix and
 *           range.  A frame of another size than the shown one gives the same part of its picture
 *           (crop_rescale)
 *
 *     rgb = uint8 RGB at the frame's own size; out = round(bilinear(rgb[box]))
 *
 * Local, one call at a time.  Errors: LS_DATA for a frame that cannot be converted, LS_NOMEM. */
ls_status transform_frame(struct transform *transform, uint8_t *out, const struct AVFrame *frame,
                          const struct transform_view *view) LS_MUST_CHECK;

#endif
