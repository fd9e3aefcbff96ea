/* Shards: HDF5 files that hold packed videos (docs/formats.md).  Written once, from parts, then
 * immutable. */
#ifndef LOCKSTEP_DATA_SHARD_H
#define LOCKSTEP_DATA_SHARD_H

#include <stdint.h>

#include "core/hash.h"
#include "core/status.h"
#include "data/records.h"

#define SHARD_FORMAT "lockstep-shard"

/* Put the parts, in order, together to the shard `path` with this number.  All sizes are known
 * before the first byte.  Written beside, closed, synced and renamed: after a crash the shard is
 * there whole or not at all.  Local.  Errors: LS_IO; LS_DATA when a part is damaged (it is removed,
 * so that the next try makes it again). */
ls_status shard_write(const char *path, uint32_t number, const char *const *part_paths,
                      int64_t part_count) LS_MUST_CHECK;

/* A shard's tables of videos and skipped files, and where the rest lies. */
struct shard {
    char *path;
    struct shard_record record; /* first_video is 0 */
    struct video_record *videos;
    struct skipped_record *skipped;
    uint8_t *blob;
    uint64_t blob_bytes;
};

/* Open through HDF5 and check every row.  With `check` the whole content is hashed first, so that
 * HDF5 only sees what was written.  Local, not thread-safe.  Errors: LS_IO, LS_DATA. */
ls_status shard_open(struct shard *out, const char *path, int check) LS_MUST_CHECK;
void shard_close(struct shard *shard);

#endif
