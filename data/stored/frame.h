/* A decoded frame of a build without FFmpeg: a view of a stored one.  The rest of data/ knows the
 * type by name only. */
#ifndef LOCKSTEP_DATA_STORED_FRAME_H
#define LOCKSTEP_DATA_STORED_FRAME_H

#include <stdint.h>

struct AVFrame {
    int width, height;
    const uint8_t *pixels; /* [height, width, 3] RGB */
};

#endif
