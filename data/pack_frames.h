/* A dataset of stored frames (`pack --store frames`): the shown frames of a video, decoded, turned
 * as they are shown, made smaller and kept as uint8 RGB, one packet a frame.  For machines that are
 * short of processors, or have no video decoder. */
#ifndef LOCKSTEP_DATA_PACK_FRAMES_H
#define LOCKSTEP_DATA_PACK_FRAMES_H

#include "core/status.h"
#include "data/pack_work.h"
#include "data/playback.h"

/* What the codec and format columns of such a video say. */
#define STORED_CODEC "rawvideo"
#define STORED_FORMAT "rgb24"

/* Size of a stored frame: the shorter side is `side` where the shown frame's is longer.  Local,
 * pure. */
void pack_frames_size(int *width, int *height, int side);

/* Decode the analysed video of `work` from `playback`, and write its frames into a part of their
 * own at `part_path`, which is committed.  Local.  Errors: LS_DATA, LS_IO, LS_NOMEM; a failure to
 * write is in work->part_status. */
ls_status pack_frames(struct pack_work *work, struct playback *playback,
                      const char *part_path) LS_MUST_CHECK;

#endif
