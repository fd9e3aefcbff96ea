/* A part: one source file's share of a shard, on its way into it (internal to packing, not a
 * format that others read).
 *
 * Packing analyses files in any order and on many processes; each result is a part, written beside
 * and renamed, so that a killed pack loses at most the file it was at.  A shard is then put
 * together from its parts in list order, and is the same whoever made them. */
#ifndef LOCKSTEP_DATA_PART_H
#define LOCKSTEP_DATA_PART_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "data/records.h"

/* Writing: packet bytes first, as they come, then the tables. */
struct part_writer;
ls_status part_writer_open(struct part_writer **out, const char *path) LS_MUST_CHECK;
void part_writer_close(struct part_writer **writer);

/* Append packet bytes; `*at` is their place.  Local.  Errors: LS_IO. */
ls_status part_writer_bytes(struct part_writer *writer, const void *data, size_t bytes,
                            uint64_t *at) LS_MUST_CHECK;

/* Descriptor to pread what has been written so far (flushes).  Local.  Errors: LS_IO. */
ls_status part_writer_file(struct part_writer *writer, int *out) LS_MUST_CHECK;

/* Have the finished part at another path than it was opened for.  Local.  Errors: LS_NOMEM. */
ls_status part_writer_aim(struct part_writer *writer, const char *path) LS_MUST_CHECK;

/* Finish a part of a packed video, or of a skipped file (its reason); renames it into place. Local.
 * Errors: LS_IO. */
ls_status part_writer_commit_video(struct part_writer *writer, const struct video_record *video,
                                   const struct packet_record *packets,
                                   const struct frame_record *frames,
                                   const struct record_blob *blob) LS_MUST_CHECK;
ls_status part_write_skipped(const char *path, const struct skipped_record *skipped,
                             const struct record_blob *blob) LS_MUST_CHECK;

struct part {
    char *path;
    int file;
    bool is_video;
    uint64_t bytes, packet_count, frame_count, blob_bytes;
    struct video_record video;     /* references into `blob` */
    struct skipped_record skipped; /* likewise */
    uint8_t *blob;
};

/* Open a finished part; `check` hashes all of it.  Tables stay in the file: packet rows begin at
 * `bytes`, frame rows follow.  Local.  Errors: LS_IO when it is not there, LS_DATA when damaged. */
ls_status part_open(struct part *out, const char *path, bool check) LS_MUST_CHECK;
void part_close(struct part *part);

#endif
