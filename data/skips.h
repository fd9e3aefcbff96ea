/* Skipped files that still stand: a file that was skipped once and packed, or skipped again, later
 * counts once. */
#ifndef LOCKSTEP_DATA_SKIPS_H
#define LOCKSTEP_DATA_SKIPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

struct skip {
    char *name;
    uint64_t shard, row; /* of its skipped table */
    bool stands;
};

struct skips {
    struct skip *entries; /* by name */
    size_t count, room;
};

/* Read the skipped files of all shards of a folder.  Local, HDF5.  Errors: LS_IO, LS_DATA. */
ls_status skips_read(struct skips *out, const char *folder) LS_MUST_CHECK;
void skips_close(struct skips *skips);

/* Whether row `row` of a shard, whose file is `name`, still stands.  Local. */
bool skips_stands(const struct skips *skips, const char *name, uint64_t shard, uint64_t row);

#endif
