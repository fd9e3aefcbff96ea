/* Worker processes of a pack.  A decoder that crashes or hangs takes one file down, not the pack.
 */
#ifndef LOCKSTEP_DATA_PACK_POOL_H
#define LOCKSTEP_DATA_PACK_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"
#include "data/pack_plan.h"

enum pool_kind { POOL_NONE, POOL_FILE, POOL_SHARD };

struct pool_task {
    enum pool_kind kind;
    size_t index; /* of plan->files or plan->shards */
};

struct pool_result {
    struct pool_task task;
    bool skipped;
    ls_status status; /* the pack's own failure; `text` says which */
    char text[512];
};

struct pool;

/* Start `jobs` workers.  `plan` is borrowed.  Local.  Errors: LS_IO when the system refuses. */
ls_status pool_open(struct pool **out, const struct pack_plan *plan, int jobs) LS_MUST_CHECK;

/* Ends the workers at once; their unfinished files stay undone. */
void pool_close(struct pool **pool);

/* Whether a worker is free; give it a task.  Local.  Errors: LS_IO. */
bool pool_has_idle(const struct pool *pool);
bool pool_is_busy(const struct pool *pool);
ls_status pool_start(struct pool *pool, struct pool_task task) LS_MUST_CHECK;

/* Wait at most `timeout_s` for a result.  `out->task.kind` is POOL_NONE when there was none.  A
 * worker that dies is replaced, its file tried once more and then skipped; one that hangs is
 * replaced and its file skipped.  Local.  Errors: LS_IO. */
ls_status pool_wait(struct pool *pool, struct pool_result *out, double timeout_s) LS_MUST_CHECK;

#endif
