/* What packing finds out about a video whose packets lie in a part. */
#ifndef LOCKSTEP_DATA_PACK_ANALYSE_H
#define LOCKSTEP_DATA_PACK_ANALYSE_H

#include "core/status.h"
#include "data/pack_work.h"
#include "data/playback.h"

/* Decode the packets of `work` once from the beginning, prove where each frame's decoding may
 * start, and complete the records.  On entry there are the packets, written to the part, and the
 * stream's description.  `playback` is left with this video as its source, which is good until
 * `work` changes.
 *
 * Local.  Errors: LS_DATA, LS_IO: of the source, unless work->part_status has one; LS_NOMEM. */
ls_status pack_analyse(struct pack_work *work, struct playback *playback) LS_MUST_CHECK;

#endif
