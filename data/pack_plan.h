/* What a pack has to do: the listed files that no finished shard covers, cut into shards. */
#ifndef LOCKSTEP_DATA_PACK_PLAN_H
#define LOCKSTEP_DATA_PACK_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "data/list.h"
#include "data/pack.h"
#include "data/pack_video.h"

struct plan_shard {
    uint32_t number;
    char *path;
    size_t first, count; /* files [first, first + count) */
};

struct plan_file {
    struct pack_source source; /* texts borrowed from the list */
    char *part_path;
};

struct pack_plan {
    struct list list;
    char *parts_folder;
    struct plan_file *files;
    size_t file_count;
    struct plan_shard *shards;
    size_t shard_count;
    size_t *duplicates; /* entries of `list` */
    size_t duplicate_count;
    uint64_t bytes;
};

/* Make the plan.  Local, HDF5.  Errors: LS_USAGE, LS_IO, LS_DATA. */
ls_status pack_plan_open(struct pack_plan *out, const struct pack_options *options) LS_MUST_CHECK;
void pack_plan_close(struct pack_plan *plan);

#endif
