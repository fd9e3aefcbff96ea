/* Making a set of durable shards a checkpoint: manifest, rename, `latest`. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint/fence.h"
#include "checkpoint/layout.h"
#include "checkpoint/manifest.h"
#include "core/fault.h"
#include "core/files.h"

static ls_status check_shards(const char *partial, const struct checkpoint_shard_facts *facts,
                              int of)
{
    ls_status st = LS_OK;
    char *path = NULL;
    uint64_t bytes = 0;
    for (int s = 0; s < of; s++) {
        free(path);
        path = NULL;
        LS_TRY(layout_shard(&path, partial, s, of));
        LS_TRY(files_size(&bytes, path));
        if (facts[s].shard != s || facts[s].of != of || facts[s].bytes != bytes) {
            st = LS_FAIL(LS_CHECKPOINT, "%s: %" PRIu64 " bytes, its rank reported %" PRIu64, path,
                         bytes, facts[s].bytes);
            goto done;
        }
    }
done:
    free(path);
    return st;
}

static ls_status write_manifest(const char *partial, const struct checkpoint_state *state,
                                const struct checkpoint_shard_facts *facts, int of,
                                int64_t run_epoch)
{
    ls_status st = LS_OK;
    struct hash128 digest;
    LS_TRY(
        layout_check_extents(partial, state->arrays, state->array_count, facts, of, state->slice));
    LS_TRY(layout_table_hash(&digest, state->step, state->parameters, state->parameter_count));
    for (int s = 0; s < of; s++)
        digest = hash_add(digest, facts[s].digest);
    LS_TRY(manifest_write(partial, state, facts, of, run_epoch, digest));
done:
    return st;
}

/* A checkpoint of this step exists: after a rollback, or after a resume from an older one because
 * this one was damaged.  Both names stay valid at every instant: either the two folders swap names
 * in one call, or the old one is kept under a name that readers know.  One of a newer start stays:
 * these workers may have slept since they looked at the fence. */
static ls_status replace(const char *folder, const char *partial, const char *final, int64_t step,
                         int64_t run_epoch)
{
    ls_status st = LS_OK;
    char *aside = NULL;
    int64_t theirs = manifest_epoch(final);
    if (theirs > run_epoch) {
        st = fence_refuse(folder, theirs, run_epoch);
        goto done;
    }
    if (fault_point("rename") == 0 &&
        renameat2(AT_FDCWD, partial, AT_FDCWD, final, RENAME_EXCHANGE) == 0) {
        LS_TRY(files_sync(folder));
        LS_TRY(files_remove(partial));
        goto done;
    }
    LS_TRY(layout_folder(&aside, folder, (struct layout_name){LAYOUT_REPLACED, step, theirs}));
    LS_TRY(files_remove(aside));
    LS_TRY(files_rename(final, aside));
    LS_TRY(files_rename(partial, final));
    LS_TRY(files_remove(aside));
done:
    free(aside);
    return st;
}

/* Point `latest` at the checkpoint of `step`, by rename: it is never missing. */
static ls_status move_latest(const char *folder, int64_t step)
{
    ls_status st = LS_OK;
    char *beside = NULL;
    char *latest = NULL;
    char target[64];
    (void)snprintf(target, sizeof target, "step-%09" PRId64, step);
    LS_TRY(core_format(&beside, "%s/latest.tmp-%ld", folder, (long)getpid()));
    LS_TRY(core_format(&latest, "%s/latest", folder));
    LS_TRY(files_remove(beside));
    if (fault_point("create") != 0 || symlink(target, beside) != 0) {
        st = LS_FAIL(LS_CHECKPOINT, "%s: cannot make the link: %s", beside, strerror(errno));
        goto done;
    }
    LS_TRY(files_rename(beside, latest));
done:
    if (st != LS_OK && beside != NULL)
        (void)unlink(beside);
    free(beside);
    free(latest);
    return st;
}

ls_status checkpoint_commit(const char *folder, const struct checkpoint_state *state,
                            const struct checkpoint_shard_facts *facts, int of, int64_t run_epoch)
{
    ls_status st = LS_OK;
    char *partial = NULL;
    char *final = NULL;
    LS_TRY(fence_check(folder, run_epoch));
    LS_TRY(layout_folder(&partial, folder,
                         (struct layout_name){LAYOUT_PARTIAL, state->step, run_epoch}));
    LS_TRY(layout_folder(&final, folder, (struct layout_name){.step = state->step}));
    LS_TRY(check_shards(partial, facts, of));
    LS_TRY(write_manifest(partial, state, facts, of, run_epoch));
    LS_TRY(fence_check(folder, run_epoch)); /* what came between was slow */
    if (files_exists(final))
        LS_TRY(replace(folder, partial, final, state->step, run_epoch));
    else
        LS_TRY(files_rename(partial, final));
    LS_TRY(move_latest(folder, state->step));
done:
    free(partial);
    free(final);
    return layout_failure(st);
}

ls_status checkpoint_discard(const char *folder, int64_t step, int64_t run_epoch)
{
    ls_status st = LS_OK;
    char *partial = NULL;
    LS_TRY(layout_folder(&partial, folder, (struct layout_name){LAYOUT_PARTIAL, step, run_epoch}));
    LS_TRY(files_remove(partial));
done:
    free(partial);
    return layout_failure(st);
}
