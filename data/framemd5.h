/* MD5 of each shown frame's native planes, as ffmpeg's framemd5 gives for `-f framemd5` of the
 * decoder's own pixel format without rotation. */
#ifndef LOCKSTEP_DATA_FRAMEMD5_H
#define LOCKSTEP_DATA_FRAMEMD5_H

#include <stdint.h>

#include "core/status.h"
#include "data/dataset.h"
#include "data/planes.h"

struct framemd5_line {
    int64_t time, duration; /* in the video's time base */
    int64_t bytes;          /* of the planes */
    int width, height;
    char md5[PLANES_MD5_TEXT_BYTES];
};

typedef ls_status (*framemd5_callback)(void *context, const struct framemd5_line *line);

/* Call back for every shown frame of a video in presentation order.  Sequential: the video is
 * decoded once from its first packet.  Random: every frame is read by itself, in a shuffled order,
 * as a loader would.  Frames whose planes differ from those at packing are an error.
 *
 * Local.  Errors: LS_DATA, LS_IO, LS_NOMEM, and the callback's. */
ls_status framemd5_sequential(const struct dataset *dataset, int64_t video,
                              framemd5_callback callback, void *context) LS_MUST_CHECK;
ls_status framemd5_random(const struct dataset *dataset, int64_t video, framemd5_callback callback,
                          void *context) LS_MUST_CHECK;

#endif
