/* The rows of a shard and of the index: packets, frames, videos, skipped files, shards
 * (docs/formats.md says what each column means to a reader).
 *
 * Numbers of packets and frames count within their video.  Times are in the video's time base;
 * RECORD_NO_TIME where there is none. */
#ifndef LOCKSTEP_DATA_RECORDS_H
#define LOCKSTEP_DATA_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/hash.h"
#include "core/status.h"
#include "data/table.h"

#define RECORD_NO_TIME INT64_MIN

enum {
    RECORD_FORMAT_VERSION = 1,
    PACKET_ROW_BYTES = 48,
    FRAME_ROW_BYTES = 48,
    VIDEO_ROW_BYTES = 360,
    SKIPPED_ROW_BYTES = 56,
    SHARD_ROW_BYTES = 120,
};

/* packet_record.flags */
enum {
    PACKET_KEY = 1,
    PACKET_CORRUPT = 2,
    PACKET_DISCARD = 4,    /* decoded, its frame is not shown (edit lists) */
    PACKET_SKIPPABLE = 16, /* proven: without it every other frame stays the same */
};

/* frame_record.flags */
enum {
    FRAME_BAD = 1,            /* the decoder reported errors in it */
    FRAME_TIME_ESTIMATED = 2, /* the stream gives no usable time for it */
};

/* video_record.flags */
enum {
    VIDEO_STILL = 1,            /* one frame */
    VIDEO_SIZE_CHANGES = 2,     /* frames have different sizes */
    VIDEO_VARIABLE_RATE = 4,    /* distances between frame times differ by more than one tick */
    VIDEO_TIME_ESTIMATED = 8,   /* some frame has FRAME_TIME_ESTIMATED */
    VIDEO_HDR = 16,             /* transfer function PQ or HLG */
    VIDEO_ALPHA = 32,           /* the decoded format has an alpha plane */
    VIDEO_INTERLACED = 64,      /* some frame is interlaced */
    VIDEO_SOURCE_DAMAGED = 128, /* reading the source ended in an error */
    VIDEO_RATE_GIVEN = 256, /* average_fps is the list's, and frame n is shown at n / average_fps:
                               what the container says is kept and not used */
    VIDEO_ENCODED = 512,    /* encoded again by the pack: its store note says how */
    VIDEO_KEPT = 1024,      /* dear, yet kept as it is: its store note says why */
};

struct packet_record { /* in decode order */
    int64_t pts, dts, duration;
    uint64_t offset;    /* of its data in the shard's bytes */
    uint32_t size;      /* of its data */
    uint32_t side_size; /* of the side data block that follows the data */
    uint32_t flags;
    uint32_t check; /* record_packet_check */
};

struct frame_record { /* shown frames, in presentation order */
    int64_t time;     /* best-effort presentation time */
    uint64_t planes;  /* low half of the XXH3-128 of the decoded planes (data/planes.h) */
    uint32_t start;   /* packet to start decoding from */
    uint32_t last;    /* last packet to feed before the frame comes out */
    uint32_t packet;  /* packet that the frame is coded in */
    uint32_t ordinal; /* among the shown frames of that packet */
    uint32_t width, height;
    uint32_t flags;
    uint32_t check; /* record_frame_check */
};

struct video_record {
    uint64_t name_at, name_size;           /* in the blob: source name as listed */
    uint64_t container_at, container_size; /* demuxer name */
    uint64_t codec_at, codec_size;         /* codec name */
    uint64_t format_at, format_size;       /* pixel format name of the first frame */
    uint64_t extradata_at, extradata_size; /* decoder set-up */
    uint64_t side_data_at, side_data_size; /* stream side data block */
    int64_t label;                         /* -1: none */
    double weight;
    uint64_t source_bytes;          /* size of the source file */
    uint64_t first_packet, packets; /* rows of the packet table */
    uint64_t first_frame, frames;   /* rows of the frame table */
    uint64_t bytes_at, bytes_size;  /* in the shard's bytes */
    uint64_t bytes_hash_low, bytes_hash_high;
    int64_t start_time, duration; /* of the stream, as the container says */
    int64_t bit_rate;
    uint64_t bad_frames, decode_errors;
    double average_fps;
    double access_packets; /* packets to decode for one frame, mean over all frames */
    int32_t time_base_num, time_base_den;
    int32_t average_rate_num, average_rate_den; /* as the container says */
    int32_t real_rate_num, real_rate_den;       /* lowest rate that represents all times */
    uint32_t flags;
    int32_t width, height; /* of the first frame after orientation */
    int32_t quarter_turns; /* clockwise, 0..3, then flip */
    int32_t flip_horizontal;
    uint32_t shard;
    /* AVCodecParameters */
    uint32_t codec_id, codec_tag;
    int32_t coded_format;
    int32_t bits_per_coded_sample, bits_per_raw_sample;
    int32_t profile, level;
    int32_t coded_width, coded_height;
    int32_t sample_aspect_num, sample_aspect_den;
    int32_t field_order;
    int32_t color_range, color_primaries, color_transfer, color_space, chroma_location;
    int32_t video_delay;
};

struct skipped_record {
    uint64_t name_at, name_size;
    uint64_t reason_at, reason_size;
    uint64_t source_bytes;
    int64_t source_mtime_ns; /* since 1970; 0 when the file could not be looked at */
    int64_t label;
};

struct shard_record { /* of the index */
    uint64_t number;
    uint64_t file_bytes;                      /* footer included */
    uint64_t hash_low, hash_high;             /* of the footer */
    uint64_t first_video, videos;             /* in the index */
    uint64_t packets, frames, bytes, skipped; /* rows and bytes in the shard */
    uint64_t packets_at, frames_at, bytes_at; /* file offsets */
    uint64_t videos_at, blob_at;
};

extern const struct table_layout record_packet_layout;
extern const struct table_layout record_frame_layout;
extern const struct table_layout record_video_layout;
extern const struct table_layout record_skipped_layout;
extern const struct table_layout record_shard_layout;

/* low32(XXH3-128(row up to `check`)), and that xor low32(XXH3-128(data and side data)), which is
 * what `check` holds: it lets a reader trust a packet without reading the whole video.  Local. */
uint32_t record_packet_row_check(const struct packet_record *packet);
uint32_t record_packet_check(const struct packet_record *packet, const void *data);

/* low32(XXH3-128(row up to `check`)).  Local. */
uint32_t record_frame_check(const struct frame_record *frame);

/* Whether a reference into a blob of `blob_bytes` is inside it.  Local. */
bool record_reference_fits(uint64_t at, uint64_t size, uint64_t blob_bytes);

/* No codec reorders further, and FFmpeg's H.264 decoder has room for no more. */
enum { VIDEO_DELAY_MAX = 16 };

/* Check a video's row against the sizes of its shard: names inside the blob, rows inside the
 * tables, bytes inside the bytes.  `what` names the file in the message.  Local.  Errors: LS_DATA.
 */
ls_status record_video_check(const struct video_record *video, uint64_t blob_bytes,
                             const struct shard_record *shard, const char *what) LS_MUST_CHECK;

/* Growing memory for text and binary values that rows refer to. */
struct record_blob {
    uint8_t *data;
    size_t size, room;
};

/* Append `size` bytes and a closing 0 that is not counted; `*at` and `*out_size` receive the
 * reference.  Local.  Errors: LS_NOMEM. */
ls_status record_blob_add(struct record_blob *blob, const void *data, size_t size, uint64_t *at,
                          uint64_t *out_size) LS_MUST_CHECK;
void record_blob_close(struct record_blob *blob);

#endif
