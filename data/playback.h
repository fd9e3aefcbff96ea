/* Stored packets to frames: reads packets of one video out of a file and decodes them from a given
 * packet on.  Packing proves its tables with it and clips are read with it, so both decode alike.
 *
 * Decoders are single-threaded and start fresh at every playback_start, so that what comes out is a
 * function of the packets alone. */
#ifndef LOCKSTEP_DATA_PLAYBACK_H
#define LOCKSTEP_DATA_PLAYBACK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "data/records.h"

/* Where the packets are.  All borrowed until the next playback_source or playback_close. */
struct playback_source {
    const char *path;      /* for messages */
    int file;              /* descriptor, read by pread */
    uint64_t bytes_offset; /* in the file: of byte 0 of packet_record.offset */
    const struct video_record *video;
    const uint8_t *blob; /* that the video's references point into, checked */
    const struct packet_record *packets;
    uint32_t first; /* number of packets[0] within the video */
    uint32_t count; /* of `packets` */
    bool unchecked; /* packets carry no check yet (while packing) */
};

struct AVFrame;

struct playback_frame {
    struct AVFrame *frame; /* until the next call */
    uint32_t packet;       /* it is coded in; UINT32_MAX when the decoder does not say */
    uint32_t ordinal;      /* among the frames of that packet since playback_start */
    uint32_t fed;          /* last packet that was fed when it came out */
};

struct playback;
ls_status playback_open(struct playback **out) LS_MUST_CHECK;
void playback_close(struct playback **playback);

/* Choose the video; ends what was going on.  Local. */
void playback_source(struct playback *playback, const struct playback_source *source);

/* Start decoding at a packet of the source, with a new decoder.  Local.  Errors: LS_DATA when this
 * FFmpeg has no such decoder or refuses the parameters; LS_NOMEM. */
ls_status playback_start(struct playback *playback, uint32_t packet) LS_MUST_CHECK;

/* After playback_start: let the decoder pass over frames that it knows no other frame needs.  Which
 * ones come out then tells which packets may be left out.  Local. */
void playback_pass_unreferenced(struct playback *playback);

/* The next shown frame, feeding packets up to and including `last`; behind the video's last packet
 * the decoder is drained.  LS_EOF when that gives no more.  Packets that fail to decode are counted
 * and passed over, as players do.  `wanted` (borrowed, may be NULL) says by packet number, from
 * source.first on, which PACKET_SKIPPABLE packets must be fed all the same; with NULL all are fed.
 * Where packets are passed over, frames leave the decoder's reorder buffer later, so that it is
 * then drained behind `last` too.
 *
 * Local.  Errors: LS_IO, LS_DATA for damaged packets, LS_NOMEM; LS_DATA when a packet gives frames
 * without end. */
ls_status playback_next(struct playback *playback, uint32_t last, const uint8_t *wanted,
                        struct playback_frame *out) LS_MUST_CHECK;

/* The packet that would be fed next.  Local. */
uint32_t playback_position(const struct playback *playback);

/* Packets that failed to decode since playback_start.  Local. */
uint64_t playback_errors(const struct playback *playback);

#endif
