/* Runs of packets that are decoded in one go for the frames of a clip. */
#ifndef LOCKSTEP_DATA_SEGMENT_H
#define LOCKSTEP_DATA_SEGMENT_H

#include <stdint.h>

#include "data/records.h"

enum { SEGMENT_PACKETS_MAX = 1 << 17 }; /* budget of one segment: no file decodes for ever */

struct segment {
    int first, end;       /* positions [first, end) of the clip */
    uint32_t start, last; /* packets */
};

/* The longest segment that begins at position `first` of the clip's `count` frames: one decode from
 * the latest packet that gives all its frames.  Where the next frame can start behind what has been
 * fed by then, the segment ends and the packets between are never read.  Local, pure. */
struct segment segment_find(const struct frame_record *frames, int count, int first);

#endif
