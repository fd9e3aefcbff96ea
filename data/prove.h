/* Proof of random access: for every shown frame the latest packet from which decoding gives exactly
 * the frame that decoding from the beginning gives.
 *
 * A key flag promises less than it seems to: frames after a key frame may need what came before it
 * (open GOPs), a recovery point is clean only later, and flags can be wrong.  So each is tried. */
#ifndef LOCKSTEP_DATA_PROVE_H
#define LOCKSTEP_DATA_PROVE_H

#include <stdint.h>

#include "core/status.h"
#include "data/playback.h"
#include "data/records.h"

/* Called after every frame that is decoded for a proof. */
struct prove_progress {
    void (*alive)(void *context);
    void *context;
};

/* Set `start` and `last` of frames.  On entry they come from decoding from packet 0: planes, size,
 * packet, ordinal, last, and start = 0, in presentation order.  Frames that no later start
 * reproduces keep start = 0.  `source` covers all packets.
 *
 * Local.  Errors: LS_IO, LS_NOMEM, LS_DATA. */
ls_status prove_starts(struct playback *playback, const struct playback_source *source,
                       struct frame_record *frames, uint32_t frame_count,
                       const struct prove_progress *progress) LS_MUST_CHECK;

/* Set PACKET_SKIPPABLE on the packets of frames that no other frame needs, when leaving all of them
 * out is shown to change no other frame; `packets` are the source's own.  Only for codecs where
 * such a packet carries no other state, and for videos that decode without errors.
 *
 * Local.  Errors: as above. */
ls_status prove_skippable(struct playback *playback, const struct playback_source *source,
                          struct packet_record *packets, const struct frame_record *frames,
                          uint32_t frame_count,
                          const struct prove_progress *progress) LS_MUST_CHECK;

#endif
