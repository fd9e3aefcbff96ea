/* What a random clip of a video costs to decode.
 *
 *     decoded = packets that are decoded for a clip of 16 frames at 4 frames/s, mean over positions
 *     pixels  = decoded * pixels of a frame
 *
 * A count and not a time, so that every machine and every repeat decides alike.  A core decodes
 * some 0.5 to 1 thousand million pixels a second of 8-bit H.264.  The clip is that of the public
 * recipe; packets that a clip may leave out are not counted. */
#ifndef LOCKSTEP_DATA_CLIP_COST_H
#define LOCKSTEP_DATA_CLIP_COST_H

#include <stddef.h>
#include <stdint.h>

#include "data/records.h"

enum { CLIP_COST_FRAMES = 16, CLIP_COST_FPS = 4 };

struct clip_cost {
    double decoded; /* frames */
    double pixels;
};

/* From a video's tables, whose rows have been checked: over at most 64 positions, evenly spread.
 * Local, pure. */
struct clip_cost clip_cost_measure(const struct frame_record *frames, size_t frame_count,
                                   const struct packet_record *packets, double average_fps);

/* Of a video of `frame_count` frames of `area` pixels with a key frame at each multiple of
 * `gop_frames` (>= 1), none of which can be left out.  Local, pure. */
struct clip_cost clip_cost_predict(size_t frame_count, double area, uint32_t gop_frames,
                                   double average_fps);

#endif
