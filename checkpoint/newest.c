/* What lies in RUN/checkpoints as a whole, and the newest good checkpoint of it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/fence.h"
#include "checkpoint/layout.h"
#include "checkpoint/listing.h"
#include "checkpoint/verify.h"
#include "core/files.h"
#include "core/log.h"

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

ls_status listing_open(struct listing *out, const char *folder)
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

ls_status listing_open_good(struct checkpoint **out, const char *path)
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

bool listing_superseded(const struct fence *fence, const struct checkpoint *c)
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
        if (listing_open_good(&c, path) != LS_OK) {
            damaged++;
            continue;
        }
        if (listing_superseded(&fence, c)) {
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
