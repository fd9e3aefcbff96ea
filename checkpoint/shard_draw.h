/* The structure of a shard's file, without its data. */
#ifndef LOCKSTEP_CHECKPOINT_SHARD_DRAW_H
#define LOCKSTEP_CHECKPOINT_SHARD_DRAW_H

#include <stdint.h>

#include "checkpoint/layout.h"

/* The file as HDF5 laid it out. */
struct shard_drawing {
    int file; /* memfd, owned by the caller (close) */
    uint64_t bytes;
};

/* Draw up shard `shard` of `of`: extents[array_count] get the offset, count and places in the file
 * of the state's arrays and of their tables of hashes.  Local.  Errors: LS_CHECKPOINT. */
ls_status shard_draw(struct shard_drawing *out, const struct checkpoint_state *state, int shard,
                     int of, int64_t run_epoch, struct checkpoint_extent *extents) LS_MUST_CHECK;

#endif
