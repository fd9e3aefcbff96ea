/* Chosen frames of one video at several sizes: what a model sees of them, and what a person shall.
 */
#ifndef LOCKSTEP_DATA_EXCERPT_H
#define LOCKSTEP_DATA_EXCERPT_H

#include <stdint.h>

#include "core/status.h"
#include "data/dataset.h"

struct excerpt_size {
    int side;        /* pixels of the square result */
    uint8_t *pixels; /* out [count, side, side, 3] */
};

/* Decode frames[0 .. count) (as clip_reader_read takes them) of a video once and write the central
 * square of each, resized as data/transform.h does, for every size.  Local.  Errors: LS_DATA,
 * LS_IO, LS_NOMEM. */
ls_status excerpt_read(const struct dataset *dataset, int64_t video, const int64_t *frames,
                       int count, const struct excerpt_size *sizes, int size_count) LS_MUST_CHECK;

#endif
