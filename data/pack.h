/* Packing: video files into a dataset.
 *
 * The list of files is cut into shards before anything is read, so that the result depends on the
 * list alone: not on the number of jobs, not on which process did what, not on how often it was
 * killed.  Each shard is made from parts (data/part.h) by worker processes and appears whole.  What
 * finished shards cover is not done again; any number of packs of the same list may run at once, on
 * any number of machines, and share the shards among them. */
#ifndef LOCKSTEP_DATA_PACK_H
#define LOCKSTEP_DATA_PACK_H

#include <stdint.h>

#include "core/status.h"

#define PACK_REPORT_NAME "pack-report.csv"

struct pack_progress {
    int64_t files, files_done; /* of this run */
    uint64_t bytes, bytes_done;
    int64_t skipped;          /* of this run so far */
    int64_t shards_elsewhere; /* being packed by other processes */
    double elapsed_s;
};

#define PACK_SHARD_BYTES (UINT64_C(1) << 30)

/* Encoding dear videos again (`pack --gop`): data/pack_encode.h. */
struct pack_encoding {
    double gop_s;   /* from one key frame to the next, seconds; 0: nothing is encoded */
    int short_side; /* frames are made smaller until their shorter side is this; 0: they stay */
    double dear;    /* only videos whose clips are more work (data/clip_cost.h) */
};

struct pack_options {
    const char *const *inputs; /* folders, lists, files: list_add_input; none: only index and report
                                * of the shards that are there are made again */
    int input_count;
    const char *output;            /* the dataset folder; made when missing */
    int jobs;                      /* worker processes; 0: one a processor */
    int frame_side;                /* store decoded frames, shorter side at most this; 0: packets */
    struct pack_encoding encoding; /* of dear videos; not with frame_side */
    int part, parts;      /* make only every parts-th shard, the part-th of them (from 1); 0: all */
    uint64_t shard_bytes; /* a shard is closed when its sources reach this; 0: PACK_SHARD_BYTES */
    void (*progress)(void *context, const struct pack_progress *progress); /* may be NULL */
    void *context;
};

enum { PACK_REASON_BYTES = 256 };

struct pack_summary {
    int64_t videos, skipped; /* in the whole dataset */
    int64_t new_videos, new_skipped;
    int64_t encoded, kept; /* dear videos: encoded again, or kept as they are for a reason */
    int64_t duplicates;    /* names listed more than once, packed once */
    int64_t frames;
    uint64_t bytes; /* of packets */
    int64_t shards;
    int64_t left;                         /* shards of other parts that are not there yet */
    char first_reason[PACK_REASON_BYTES]; /* why the first skipped file was; "" where none was */
};

/* Pack, write the index and the report.  Files that cannot be used are skipped with a reason, which
 * is no failure.
 *
 * Local.  Forks worker processes: call it from a process with one thread.  Errors: LS_USAGE when
 * nothing is listed; LS_IO for what cannot be written; LS_DATA when not one file of the dataset
 * could be packed (the index and the report are written all the same), or for a damaged shard or
 * list. */
ls_status pack_run(struct pack_summary *out, const struct pack_options *options) LS_MUST_CHECK;

#endif
