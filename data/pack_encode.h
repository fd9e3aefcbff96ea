/* Encoding dear videos again while they are packed (`pack --gop`): H.264 with a key frame at least
 * every so many seconds, and smaller frames if wanted.
 *
 * Shown frames, their times and flags, orientation, pixel format, matrix, range, primaries and
 * transfer stay; what would not keep them is kept as it is, with a note why. */
#ifndef LOCKSTEP_DATA_PACK_ENCODE_H
#define LOCKSTEP_DATA_PACK_ENCODE_H

#include <stdbool.h>

#include "core/status.h"
#include "data/pack_work.h"
#include "data/playback.h"

/* Encode the analysed video of `work`, whose source `playback` has, if its clips cost more than the
 * limit, into a part of its own at `part_path`, which is committed; its note says how.  A dear
 * video that is not encoded gets its note into `work`.
 *
 *   encoded   out  whether the part is there
 *
 * Local.  Errors: LS_NOMEM, and a failure to write, which is in work->part_status. */
ls_status pack_encode(bool *encoded, struct pack_work *work, struct playback *playback,
                      const char *part_path) LS_MUST_CHECK;

#endif
