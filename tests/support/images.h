/* Pictures for tests of the loader: frames made or decoded, and the reference that the loader's
 * pixels are held against.
 *
 * All functions are Local. */
#ifndef LOCKSTEP_TESTS_SUPPORT_IMAGES_H
#define LOCKSTEP_TESTS_SUPPORT_IMAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "data/crop.h"
#include "data/dataset.h"

struct AVFrame;

/* A frame of any pixel format showing moving waves of colour with sharp edges, limited or full
 * range as the format has it; `phase` shifts the picture.  Free with av_frame_free.  NULL when the
 * format cannot be made. */
struct AVFrame *images_make(int format, int width, int height, int phase);

/* The whole frame as RGB by swscale's accurate path at the same size, [height, width, 3]; matrix
 * and range of the frame, unspecified = BT.601 limited.  The caller frees *out. */
ls_status images_rgb(uint8_t **out, const struct AVFrame *frame) LS_MUST_CHECK;

/* An RGB24 frame as it is shown: turned by whole pixels, then mirrored.  Free with av_frame_free;
 * NULL without memory. */
struct AVFrame *images_turned(const struct AVFrame *frame, struct video_orientation orientation);

/* Bilinear resampling of a box of an RGB image to [out_height, out_width, 3], in double. */
void images_resample(double *out, int out_width, int out_height, const uint8_t *rgb, int width,
                     struct crop_box box, bool flip);

/* How far bytes are from a reference. */
struct images_difference {
    double sum;
    int64_t count, above_two;
    double largest;
};
void images_compare(struct images_difference *sum, const uint8_t *got, const double *reference,
                    int64_t count);

/* Decode a file's first video stream in order and hand over its first `limit` frames. */
typedef ls_status (*images_callback)(void *context, int64_t number, const struct AVFrame *frame);
ls_status images_decode(const char *path, int64_t limit, images_callback callback,
                        void *context) LS_MUST_CHECK;

#endif
