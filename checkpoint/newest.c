/* What lies in RUN/checkpoints as a whole: finding the newest good checkpoint, and retention. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/fence.h"
#include "checkpoint/layout.h"
#include "checkpoint/verify.h"
#include "core/files.h"
#include "core/log.h"

/* The folders of checkpoints, by name. */
struct listing {
    struct layout_name *entries; /* newest step first, a committed one before its replaced twin */
    int count;
};

static int compare_entries(const void *a, const void *b)
{
    const struct layout_name *left = a;
    const struct layout_name *right = b;
    if (left->step != right->step)
        return left->step < right->step ? 1 : -1;
    if (left->kind != right->kind)
        return left->kind < right->kind ? -1 : 1;
    return (left->run_epoch < right->run_epoch) - (left->run_epoch > right->run_epoch);
}

static ls_status listing_open(struct listing *out, const char *folder)
{
    ls_status st = LS_OK;
    char **names = NULL;
    size_t name_count = 0;
    struct listing listing = {0};
    if (files_exists(folder))
        LS_TRY(files_list(&names, &name_count, folder));
    LS_TRY(core_alloc(&listing.entries, name_count));
    for (size_t i = 0; i < name_count; i++)
        if (layout_parse(&listing.entries[listing.count], names[i]))
            listing.count++;
    if (listing.count > 0)
        qsort(listing.entries, (size_t)listing.count, sizeof *listing.entries, compare_entries);
    *out = listing;
    listing.entries = NULL;
done:
    files_list_free(&names, name_count);
    free(listing.entries);
    return st;
}

static void log_damage(void *context, const char *line)
{
    (void)context;
    log_warn("checkpoint_damaged %s", line);
}

/* Open one and read all of it.  Damage is logged. */
static ls_status open_good(struct checkpoint **out, const char *path)
{
    struct checkpoint *c = NULL;
    ls_status st = manifest_read(&c, path);
    if (st != LS_OK)
        log_warn("checkpoint_damaged %s", status_message());
    else
        st = verify_shards(c, log_damage, NULL);
    if (st == LS_OK)
        *out = c;
    else
        checkpoint_close(&c);
    return st;
}

static bool superseded(const struct fence *fence, const struct checkpoint *c)
{
    int64_t by = fence_superseded(fence, c->info.run_epoch, c->info.step);
    if (by >= 0)
        log_warn("checkpoint_ignored path=%s run_epoch=%" PRId64
                 " reason=written_after_start_%" PRId64 "_took_over",
                 c->info.path, c->info.run_epoch, by);
    return by >= 0;
}

ls_status checkpoint_open_newest(struct checkpoint **out, const char *folder)
{
    ls_status st = LS_OK;
    struct listing listing = {0};
    struct fence fence = {0};
    char *real = NULL;
    char *path = NULL;
    int damaged = 0;
    if (!files_exists(folder))
        return LS_EOF;
    real = realpath(folder, NULL);
    LS_TRY(listing_open(&listing, folder));
    LS_TRY(fence_open(&fence, folder));
    for (int i = 0; i < listing.count; i++) {
        struct checkpoint *c = NULL;
        if (listing.entries[i].kind == LAYOUT_PARTIAL)
            continue;
        free(path);
        path = NULL;
        LS_TRY(layout_folder(&path, real != NULL ? real : folder, listing.entries[i]));
        if (open_good(&c, path) != LS_OK) {
            damaged++;
            continue;
        }
        if (superseded(&fence, c)) {
            checkpoint_close(&c);
            continue;
        }
        if (damaged > 0)
            log_warn("checkpoint_fallback path=%s step=%" PRId64 " damaged_newer=%d", c->info.path,
                     c->info.step, damaged);
        *out = c;
        goto done;
    }
    st = damaged == 0 ? LS_EOF
                      : LS_FAIL(LS_CHECKPOINT,
                                "%s: all %d checkpoints are damaged; `lockstep verify` names the "
                                "damage, `--fresh` starts the run anew",
                                folder, damaged);
done:
    fence_close(&fence);
    free(listing.entries);
    free(real);
    free(path);
    return layout_failure(st);
}

/* Remove a checkpoint: first it loses its name, so that a crash leaves no half checkpoint.  It gets
 * that of a save of its own start, since one of this start at that step may be under way. */
static ls_status remove_checkpoint(const char *folder, struct layout_name name)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *dying = NULL;
    LS_TRY(layout_folder(&path, folder, name));
    if (name.kind == LAYOUT_COMMITTED) {
        LS_TRY(layout_folder(
            &dying, folder, (struct layout_name){LAYOUT_PARTIAL, name.step, manifest_epoch(path)}));
        LS_TRY(files_remove(dying));
        LS_TRY(files_rename(path, dying));
        LS_TRY(files_remove(dying));
    } else {
        LS_TRY(files_remove(path));
    }
done:
    free(path);
    free(dying);
    return st;
}

/* Whether an entry was overtaken, so that no reader takes it. */
static bool is_dead(const struct fence *fence, const char *folder, struct layout_name name)
{
    char *path = NULL;
    if (name.kind == LAYOUT_PARTIAL || layout_folder(&path, folder, name) != LS_OK)
        return false;
    struct checkpoint *c = NULL;
    bool dead = manifest_read(&c, path) == LS_OK &&
                fence_superseded(fence, c->info.run_epoch, name.step) >= 0;
    checkpoint_close(&c);
    free(path);
    return dead;
}

/* Index of the newest checkpoint that reads back whole; listing->count when there is none. */
static int newest_good(const struct listing *listing, const struct fence *fence, const char *folder)
{
    for (int i = 0; i < listing->count; i++) {
        struct checkpoint *c = NULL;
        char *path = NULL;
        bool good = listing->entries[i].kind != LAYOUT_PARTIAL &&
                    layout_folder(&path, folder, listing->entries[i]) == LS_OK &&
                    open_good(&c, path) == LS_OK && !superseded(fence, c);
        free(path);
        checkpoint_close(&c);
        if (good)
            return i;
    }
    return listing->count;
}

/* Somebody wants to have it: see checkpoint_keep. */
static bool is_kept(const char *folder, struct layout_name name)
{
    char *path = NULL;
    char *mark = NULL;
    bool kept = layout_folder(&path, folder, name) != LS_OK ||
                core_format(&mark, "%s/keep", path) != LS_OK || files_exists(mark);
    free(path);
    free(mark);
    return kept;
}

static ls_status retain(const char *folder, const struct listing *listing,
                        const struct fence *fence, int keep_last, int64_t milestone_steps,
                        int64_t run_epoch)
{
    ls_status st = LS_OK;
    int kept = 0;
    int good = -1; /* index of the newest good one, looked for when something is to go */
    int64_t newest = -1;
    for (int i = 0; i < listing->count; i++) {
        struct layout_name name = listing->entries[i];
        bool dead = is_dead(fence, folder, name);
        bool counts = name.kind == LAYOUT_COMMITTED && !dead;
        if (counts && newest < 0)
            newest = name.step;
        bool milestone = milestone_steps > 0 && name.step % milestone_steps == 0;
        if (counts && (kept++ < keep_last || milestone || is_kept(folder, name)))
            continue;
        /* Another rank may already write its shard of the next save. */
        if (name.kind == LAYOUT_PARTIAL && name.run_epoch >= run_epoch && name.step > newest)
            continue;
        if (name.kind != LAYOUT_PARTIAL && good < 0)
            good = newest_good(listing, fence, folder);
        if (name.kind == LAYOUT_PARTIAL || i > good || (dead && good < listing->count))
            LS_TRY(remove_checkpoint(folder, name));
    }
done:
    return st;
}

ls_status checkpoint_keep(const char *path)
{
    ls_status st = LS_OK;
    char *mark = NULL;
    LS_TRY(core_format(&mark, "%s/keep", path));
    if (!files_exists(mark))
        LS_TRY(files_replace(mark, "", 0));
done:
    free(mark);
    return layout_failure(st);
}

ls_status checkpoint_retain(const char *folder, int keep_last, int64_t milestone_steps,
                            int64_t run_epoch)
{
    ls_status st = LS_OK;
    struct listing listing = {0};
    struct fence fence = {0};
    LS_TRY(fence_check(folder, run_epoch));
    LS_TRY(listing_open(&listing, folder));
    LS_TRY(fence_open(&fence, folder));
    LS_TRY(retain(folder, &listing, &fence, keep_last < 1 ? 1 : keep_last, milestone_steps,
                  run_epoch));
done:
    fence_close(&fence);
    free(listing.entries);
    return layout_failure(st);
}

ls_status checkpoint_last_epoch(int64_t *out, const char *folder)
{
    ls_status st = LS_OK;
    struct listing listing = {0};
    struct fence fence = {0};
    char *path = NULL;
    *out = 0;
    LS_TRY(fence_open(&fence, folder));
    for (int i = 0; i < fence.count; i++)
        if (fence.takeovers[i].run_epoch > *out)
            *out = fence.takeovers[i].run_epoch;
    LS_TRY(listing_open(&listing, folder));
    for (int i = 0; i < listing.count; i++) {
        free(path);
        path = NULL;
        LS_TRY(layout_folder(&path, folder, listing.entries[i]));
        int64_t epoch = listing.entries[i].kind == LAYOUT_PARTIAL ? listing.entries[i].run_epoch
                                                                  : manifest_epoch(path);
        if (epoch > *out)
            *out = epoch;
    }
done:
    fence_close(&fence);
    free(listing.entries);
    free(path);
    return layout_failure(st);
}
