/* Names, grid and hashes that writing and reading of checkpoints share.  Internal to checkpoint/.
 */
#ifndef LOCKSTEP_CHECKPOINT_LAYOUT_H
#define LOCKSTEP_CHECKPOINT_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "checkpoint/checkpoint.h"

/* Version 2 is of divided arrays. */
enum {
    LAYOUT_VERSION = 1,
    LAYOUT_VERSION_DIVIDED = 2,
    LAYOUT_SHARDS_MAX = 65536,
    LAYOUT_HASH_BYTES = 16
};

/* What a folder under RUN/checkpoints is, by its name. */
enum layout_kind {
    LAYOUT_COMMITTED, /* step-000001200 */
    LAYOUT_PARTIAL,   /* step-000001200.epoch-3.partial: being written or being removed */
    LAYOUT_REPLACED   /* step-000001200.epoch-3.replaced: whole, but about to give way */
};
struct layout_name {
    enum layout_kind kind;
    int64_t step, run_epoch; /* run_epoch -1 for LAYOUT_COMMITTED: the manifest knows */
};

/* Names; the text is owned by the caller.  Local.  Errors: LS_NOMEM. */
ls_status layout_folder(char **out, const char *folder, struct layout_name name) LS_MUST_CHECK;
ls_status layout_shard(char **out, const char *folder, int shard, int of) LS_MUST_CHECK;

/* Whether `text` is exactly the name of a checkpoint folder.  Local. */
bool layout_parse(struct layout_name *out, const char *text);

/* Blocks of `count` elements that start on the grid.  Local. */
int64_t layout_blocks(int64_t count);

/* Hash of block `block` (of the whole array) of the array called `name`: `count` floats.  Local. */
struct hash128 layout_block_hash(uint64_t array, int64_t block, const float *data, int64_t count);
uint64_t layout_array_hash(const char *name);

/* Hash of the step and the parameter table with its step counts: the digest's part that is not in
 * blocks.  Local.  Errors: LS_NOMEM. */
ls_status layout_table_hash(struct hash128 *out, int64_t step,
                            const struct checkpoint_parameter *parameters, int count) LS_MUST_CHECK;

/* Whether the shards' extents cover each array once, in order, on the grid and inside their files.
 * Local.  Errors: LS_CHECKPOINT naming `path`, shard and array. */
ls_status layout_check_extents(const char *path, const struct checkpoint_array *arrays,
                               int array_count, const struct checkpoint_shard_facts *shards, int of,
                               int64_t slice) LS_MUST_CHECK;

/* The `index`-th stretch of an extent that lies in one piece in the array as well as in the file:
 * all of it, or where arrays are divided over `of` shards one slice.  False beyond the last.
 * Local. */
bool layout_stretch(struct checkpoint_extent *out, const struct checkpoint_extent *extent,
                    int64_t slice, int of, int64_t index);

/* Failures of files and memory become LS_CHECKPOINT for callers; the record keeps its text. */
ls_status layout_failure(ls_status st);

#endif
