/* Which checkpoints of a run stay.  A checkpoint that may go goes only once a newer one, or the one
 * that takes its place, was read back whole: deleting never leaves a run without a good one. */
#include <cJSON.h>
#include <math.h>
#include <stdlib.h>

#include "checkpoint/fence.h"
#include "checkpoint/layout.h"
#include "checkpoint/listing.h"
#include "checkpoint/manifest.h"
#include "core/files.h"

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
                    listing_open_good(&c, path) == LS_OK && !listing_superseded(fence, c);
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

/* What an entry may be kept for as one of the best. */
struct candidate {
    int64_t step;
    double value;
};

/* The metric of a checkpoint; false where its manifest does not tell. */
static bool read_metric(double *out, const char *folder, struct layout_name name,
                        const char *metric)
{
    char *path = NULL;
    struct checkpoint *c = NULL;
    cJSON *metrics = NULL;
    if (layout_folder(&path, folder, name) == LS_OK && manifest_read(&c, path) == LS_OK)
        metrics = cJSON_Parse(c->metrics_json);
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(metrics, metric);
    bool told = cJSON_IsNumber(value) && isfinite(value->valuedouble);
    if (told)
        *out = value->valuedouble;
    cJSON_Delete(metrics);
    checkpoint_close(&c);
    free(path);
    return told;
}

/* Best first; of equals the newer. */
static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *left = a;
    const struct candidate *right = b;
    if (left->value != right->value)
        return left->value < right->value ? -1 : 1;
    return (left->step < right->step) - (left->step > right->step);
}

/* The candidates to keep, at most `keep_best`, in `*out`. */
static ls_status find_best(struct candidate **out, int *count, const char *folder,
                           const struct listing *listing, const struct fence *fence,
                           const struct checkpoint_retention *retention)
{
    ls_status st = LS_OK;
    int found = 0;
    LS_TRY(core_alloc(out, listing->count));
    for (int i = 0; i < listing->count && retention->keep_best > 0; i++) {
        struct layout_name name = listing->entries[i];
        double value = 0;
        if (name.kind != LAYOUT_COMMITTED || is_dead(fence, folder, name) ||
            !read_metric(&value, folder, name, retention->metric))
            continue;
        (*out)[found++] = (struct candidate){name.step, retention->largest ? -value : value};
    }
    status_clear(); /* of a manifest that cannot be read: no candidate */
    if (found > 0)
        qsort(*out, (size_t)found, sizeof **out, compare_candidates);
    *count = found < retention->keep_best ? found : retention->keep_best;
done:
    return st;
}

static bool is_best(const struct candidate *best, int count, int64_t step)
{
    bool found = false;
    for (int i = 0; i < count; i++)
        found = found || best[i].step == step;
    return found;
}

static ls_status retain(const char *folder, const struct listing *listing,
                        const struct fence *fence, const struct checkpoint_retention *retention,
                        int64_t run_epoch)
{
    ls_status st = LS_OK;
    int keep_last = retention->keep_last < 1 ? 1 : retention->keep_last;
    int kept = 0;
    int good = -1; /* index of the newest good one, looked for when something is to go */
    int64_t newest = -1;
    struct candidate *best = NULL;
    int best_count = 0;
    LS_TRY(find_best(&best, &best_count, folder, listing, fence, retention));
    for (int i = 0; i < listing->count; i++) {
        struct layout_name name = listing->entries[i];
        bool dead = is_dead(fence, folder, name);
        bool counts = name.kind == LAYOUT_COMMITTED && !dead;
        if (counts && newest < 0)
            newest = name.step;
        bool milestone =
            retention->milestone_steps > 0 && name.step % retention->milestone_steps == 0;
        if (counts && (kept++ < keep_last || milestone || is_best(best, best_count, name.step) ||
                       is_kept(folder, name)))
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
    free(best);
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

ls_status checkpoint_retain(const char *folder, const struct checkpoint_retention *retention,
                            int64_t run_epoch)
{
    ls_status st = LS_OK;
    struct listing listing = {0};
    struct fence fence = {0};
    LS_TRY(fence_check(folder, run_epoch));
    LS_TRY(listing_open(&listing, folder));
    LS_TRY(fence_open(&fence, folder));
    LS_TRY(retain(folder, &listing, &fence, retention, run_epoch));
done:
    fence_close(&fence);
    free(listing.entries);
    return layout_failure(st);
}
