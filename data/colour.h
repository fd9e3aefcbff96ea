/* Rows of a decoded frame as RGB: what swscale's accurate path gives at the same size (bicubic
 * chroma, SWS_ACCURATE_RND, full horizontal chroma interpolation), to 1 grey level, but only for
 * the pixels that are asked for.
 *
 * The matrix and range are the frame's own; unspecified is BT.601, limited unless the pixel format
 * says full.  Planar YCbCr of 8 to 16 bits with any subsampling is converted row by row; every
 * other format goes through swscale as a whole frame. */
#ifndef LOCKSTEP_DATA_COLOUR_H
#define LOCKSTEP_DATA_COLOUR_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

struct AVFrame;
struct colour;

/* What a frame is, without its pixels. */
struct picture {
    int width, height, format; /* format: an AVPixelFormat */
};
struct picture colour_picture(const struct AVFrame *frame);

/* Whether equal samples of two frames are equal colours: the same matrix and range.  Local. */
bool colour_is_alike(const struct AVFrame *a, const struct AVFrame *b);

/* Which columns of the frame are wanted: `count` ascending x.  `contiguous` when they are
 * columns[0], columns[0] + 1, ...  Borrowed until the next colour_begin. */
struct colour_columns {
    const int32_t *columns;
    int count;
    bool contiguous;
};

/* A converter: one a thread, reused over frames; its memory grows to the largest frame met. */
ls_status colour_open(struct colour **out) LS_MUST_CHECK;
void colour_close(struct colour **colour);

/* Start on a frame, which is borrowed until the next call.  Tables are kept while size, format,
 * matrix, range and columns stay the same; `same_columns` says that they do.  Local.  Errors:
 * LS_DATA for a frame that cannot be converted; LS_NOMEM. */
ls_status colour_begin(struct colour *colour, const struct AVFrame *frame,
                       struct colour_columns columns, bool same_columns) LS_MUST_CHECK;

/* Row y of the frame at the wanted columns: [count] pixels R | G << 8 | B << 16, valid until the
 * next call.  Rows are best asked for in ascending order: what neighbours share is kept.  Local,
 * cannot fail. */
const uint32_t *colour_row(struct colour *colour, int y);

#endif
