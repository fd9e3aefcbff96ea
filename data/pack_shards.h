/* Working through a plan: claims shards, hands their files and then the shards to worker processes.
 */
#ifndef LOCKSTEP_DATA_PACK_SHARDS_H
#define LOCKSTEP_DATA_PACK_SHARDS_H

#include <stdbool.h>

#include "core/status.h"
#include "data/pack.h"
#include "data/pack_plan.h"

struct pack_work_done {
    struct pack_progress progress;
    int64_t new_videos;
    int64_t left;   /* shards of other parts that are not there */
    bool elsewhere; /* some shard was finished by another process, perhaps with other files */
};

/* Returns when every shard of the plan, or of this part of it, is there.  `done->progress` runs on
 * from what it was. Local. Errors: LS_IO, LS_NOMEM, LS_DATA. */
ls_status pack_shards(struct pack_work_done *done, const struct pack_options *options,
                      const struct pack_plan *plan) LS_MUST_CHECK;

#endif
