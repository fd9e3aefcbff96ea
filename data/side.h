/* Side data blocks: what a container carries beside a packet or stream and decoding needs.
 *
 * A block is a run of entries {u32 kind, u32 size, size bytes}, little-endian.  Kinds are ours, not
 * FFmpeg's numbers, which change between versions; what has no kind is not kept. */
#ifndef LOCKSTEP_DATA_SIDE_H
#define LOCKSTEP_DATA_SIDE_H

#include <libavcodec/avcodec.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "data/records.h"

enum side_kind {
    SIDE_NEW_EXTRADATA = 1,    /* decoder set-up from this packet on */
    SIDE_PALETTE = 2,          /* 256 colours of 32 bits */
    SIDE_PARAM_CHANGE = 3,     /* FFmpeg's AV_PKT_DATA_PARAM_CHANGE */
    SIDE_BLOCK_ADDITIONAL = 4, /* Matroska BlockAdditional (alpha) */
    SIDE_DISPLAY_MATRIX = 5,   /* 9 x int32, 16.16 fixed point */
    SIDE_ICC_PROFILE = 6,
    SIDE_CONTENT_LIGHT = 7,     /* 2 x uint32: MaxCLL, MaxFALL */
    SIDE_MASTERING_DISPLAY = 8, /* AVMasteringDisplayMetadata of libavutil 57 */
    SIDE_SPHERICAL = 9,         /* AVSphericalMapping of libavutil 57 */
    SIDE_STEREO = 10,           /* AVStereo3D of libavutil 57 */
    SIDE_DOLBY_VISION = 11,     /* AVDOVIDecoderConfigurationRecord of libavutil 57 */
    SIDE_STORE_NOTE = 12,       /* what packing did with the video (data/store_note.h) */
};

/* Append the known ones of `count` FFmpeg side data as a block to `out`; `*size` is what it added.
 * Local.  Errors: LS_NOMEM. */
ls_status side_encode(struct record_blob *out, uint32_t *size, const AVPacketSideData *side,
                      int count) LS_MUST_CHECK;

/* The first entry of a kind, NULL when there is none or the block is malformed.  Local. */
const uint8_t *side_find(const uint8_t *block, size_t block_size, enum side_kind kind,
                         size_t *out_size);

/* Append one entry to `out`.  Local.  Errors: LS_NOMEM. */
ls_status side_add(struct record_blob *out, enum side_kind kind, const uint8_t *data,
                   size_t size) LS_MUST_CHECK;

/* Attach a block's entries to a packet.  Local.  Errors: LS_DATA when the block is malformed. */
ls_status side_attach(AVPacket *packet, const uint8_t *block, size_t block_size) LS_MUST_CHECK;

#endif
