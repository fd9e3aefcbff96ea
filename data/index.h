/* DATASET/index.h5: the video tables of all shards in shard order, and where each shard's tables
 * and bytes lie.  It can be made again from the shards at any time. */
#ifndef LOCKSTEP_DATA_INDEX_H
#define LOCKSTEP_DATA_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "core/hash.h"
#include "core/status.h"
#include "data/records.h"

#define INDEX_FORMAT "lockstep-index"
#define INDEX_NAME "index.h5"

/* Number of a shard from its file name "shard-00012.h5"; -1 for other names.  Local. */
int64_t index_shard_number(const char *name);

/* Path of shard `number` of a dataset folder, owned by the caller.  Local.  Errors: LS_NOMEM. */
ls_status index_shard_path(char **out, const char *folder, uint64_t number) LS_MUST_CHECK;

/* Numbers of the shards in a folder, ascending; owned by the caller.  Local.  Errors: LS_IO. */
ls_status index_list_shards(int64_t **out, size_t *out_count, const char *folder) LS_MUST_CHECK;

/* Read all shards of the folder and write the index (beside, synced, renamed).  Local, HDF5.
 * Errors: LS_IO, LS_DATA naming the shard. */
ls_status index_write(const char *folder) LS_MUST_CHECK;

/* An index opened for reading: rows are mapped, not copied, so that a dataset of many million
 * videos costs a rank no memory of its own. */
struct index_file {
    char *path;
    struct shard_record *shards;
    uint64_t shard_count;
    uint64_t video_count;
    const uint8_t *map;
    uint64_t map_bytes;
    const uint8_t *video_rows; /* inside the map */
    const uint8_t *blob;       /* inside the map */
    uint64_t blob_bytes;
    struct hash128 hash; /* of the content */
};

/* Map and check: footer, checksum of the whole content, format, row types, shard rows.  Local,
 * HDF5. Errors: LS_IO, LS_DATA. */
ls_status index_open(struct index_file *out, const char *path) LS_MUST_CHECK;
void index_close(struct index_file *index);

/* Row of a video in [0, video_count), checked against its shard.  Local, any thread.  Errors:
 * LS_DATA. */
ls_status index_video(struct video_record *out, const struct index_file *index,
                      uint64_t video) LS_MUST_CHECK;

/* The shard of that number, by bisection; NULL when there is none.  Local, any thread. */
const struct shard_record *index_find_shard(const struct index_file *index, uint32_t number);

#endif
