/* What a random clip of a video costs to decode.
 *
 *     decoded = packets that are decoded for a clip of 16 frames at 4 frames/s, mean over positions
 *     pixels  = decoded * pixels of a frame
 *     bytes   = of these packets
 *     work    = pixels + 128 * bytes
 *
 * A count and not a time, so that every machine and every repeat decides alike.  128 is what was
 * measured of H.264: 0.86 ms a million pixels and 113 ms a million bytes of one core (Zen 5), so
 * that 100 million of work are about 0.1 s.  The clip is that of the public recipe; packets that a
 * clip may leave out are not counted. */
#ifndef LOCKSTEP_DATA_CLIP_COST_H
#define LOCKSTEP_DATA_CLIP_COST_H

#include <stddef.h>
#include <stdint.h>

#include "data/records.h"

enum { CLIP_COST_FRAMES = 16, CLIP_COST_FPS = 4, CLIP_COST_BYTE = 128 };

struct clip_cost {
    double decoded; /* frames */
    double pixels, bytes, work;
};

/* From a video's tables, whose rows have been checked: over at most 64 positions, evenly spread.
 * Local, pure. */
struct clip_cost clip_cost_measure(const struct frame_record *frames, size_t frame_count,
                                   const struct packet_record *packets, double average_fps);

/* Of a video of `frame_count` frames of `area` pixels with a key frame at each multiple of
 * `gop_frames` (>= 1), none of which can be left out; bytes, which are not known, count 0.  Local,
 * pure. */
struct clip_cost clip_cost_predict(size_t frame_count, double area, uint32_t gop_frames,
                                   double average_fps);

#endif
