/* From a display matrix to quarter turns and a flip. */
#ifndef LOCKSTEP_DATA_ORIENTATION_H
#define LOCKSTEP_DATA_ORIENTATION_H

#include <stdint.h>

#include "data/dataset.h"

/* The turn (to the nearest quarter) and flip of a display matrix: 9 numbers in 16.16 fixed point,
 * row by row, as MP4 and FFmpeg hold them.  Degenerate matrices turn nothing.  Local.
 * Source: ISO/IEC 14496-12, track header matrix; the ffmpeg program's automatic rotation. */
struct video_orientation orientation_of_matrix(const int32_t *matrix);

#endif
