/* What dataset.c shares with clip_reader.c and with packing, inspecting and verifying. */
#ifndef LOCKSTEP_DATA_DATASET_INTERNAL_H
#define LOCKSTEP_DATA_DATASET_INTERNAL_H

#include <stdatomic.h>

#include "core/status.h"
#include "data/dataset.h"
#include "data/index.h"

struct dataset_shard {
    char *path;
    atomic_int file; /* -1 until first used */
};

struct dataset {
    char *path;
    struct index_file index;
    struct dataset_shard *shards; /* as index.shards */
};

/* Where a video's packets and tables are. */
struct dataset_place {
    struct video_record video;
    const struct shard_record *shard;
    const char *path; /* of the shard */
    int file;
};

/* Local, any thread.  Errors: LS_IO when the shard cannot be opened, LS_DATA when it is not the one
 * that the index was made from. */
ls_status dataset_place(struct dataset_place *out, const struct dataset *dataset,
                        int64_t video) LS_MUST_CHECK;

/* Read `count` rows of a table from a shard's file offset `table_at` and decode them.  `rows` and
 * `records` have room for them.  Local.  Errors: LS_IO, LS_DATA. */
ls_status dataset_read_rows(void *records, uint8_t *rows, const struct dataset_place *place,
                            const struct table_layout *layout, uint64_t table_at, uint64_t first,
                            uint64_t count) LS_MUST_CHECK;

/* Check that a packet's row, number `number` of the video, lies inside the video's bytes.  Local.
 * Errors: LS_DATA. */
ls_status dataset_check_packet(const struct dataset_place *place,
                               const struct packet_record *packet, uint64_t number) LS_MUST_CHECK;

#endif
