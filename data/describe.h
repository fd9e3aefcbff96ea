/* What a dataset holds, in numbers: for `lockstep inspect`. */
#ifndef LOCKSTEP_DATA_DESCRIBE_H
#define LOCKSTEP_DATA_DESCRIBE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/hash.h"
#include "core/status.h"
#include "data/clip_cost.h"
#include "data/dataset.h"
#include "data/records.h"
#include "data/store_note.h"

enum { DESCRIBE_CODECS_MAX = 24, DESCRIBE_NAME_BYTES = 24 };

struct describe_codec {
    char name[DESCRIBE_NAME_BYTES];
    int64_t videos;
};

struct dataset_totals {
    int64_t shards, videos, stills, frames, packets, skipped;
    uint64_t packet_bytes, file_bytes;
    double seconds;        /* of video, stills not counted */
    double access_packets; /* packets to decode for one frame, mean over all frames */
    int64_t bad_frames;
    int64_t labelled, label_low, label_high;
    int width_low, width_high, height_low, height_high;
    int64_t turned, size_changes, variable_rate, estimated_times, hdr, alpha, interlaced, damaged;
    int codec_count; /* the most frequent first; more than DESCRIBE_CODECS_MAX are left out */
    struct describe_codec codecs[DESCRIBE_CODECS_MAX];
};

/* Local. */
void dataset_totals(struct dataset_totals *out, const struct dataset *dataset);

/* Number of the video with that name: as listed, or the end of one listed name behind a slash, or
 * "#12" for video 12.  Local.  Errors: LS_USAGE when there is none or more than one. */
ls_status dataset_find(int64_t *out, const struct dataset *dataset, const char *name) LS_MUST_CHECK;

struct video_detail {
    struct video_record row;
    const char *name, *container, *codec, *pixel_format; /* borrowed from the dataset */
    const char *shard_path;
    int64_t starts;    /* packets that decoding starts from */
    int64_t keys;      /* packets with a key flag */
    int64_t skippable; /* packets that may be left out */
    int64_t discarded; /* packets whose frame is not shown */
    struct clip_cost cost;
    bool has_note; /* the pack did something about a dear video */
    struct store_note note;
};

/* Reads the video's tables.  Local.  Errors: LS_IO, LS_DATA, LS_NOMEM. */
ls_status dataset_detail(struct video_detail *out, const struct dataset *dataset,
                         int64_t video) LS_MUST_CHECK;

#endif
