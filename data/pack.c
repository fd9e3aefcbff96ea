/* The pack itself: plans, has the plan worked through, and at the end writes the index and the
 * report. */
#include "data/pack.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "core/files.h"
#include "data/encoder.h"
#include "data/index.h"
#include "data/pack_lock.h"
#include "data/pack_plan.h"
#include "data/pack_report.h"
#include "data/pack_shards.h"

/* What killed packs left beside their targets. */
static ls_status remove_leftovers(const char *folder, const char *parts_folder)
{
    ls_status st = LS_OK;
    char **names = NULL;
    size_t count = 0;
    char *path = NULL;
    LS_TRY(files_list(&names, &count, folder));
    for (size_t i = 0; i < count; i++) {
        if (strstr(names[i], ".tmp-") == NULL)
            continue;
        LS_TRY(core_format(&path, "%s/%s", folder, names[i]));
        LS_TRY(files_remove(path));
        free(path);
        path = NULL;
    }
    LS_TRY(files_remove(parts_folder));
done:
    free(path);
    files_list_free(&names, count);
    return st;
}

/* One process at a time makes index and report, from all shards that are there; the last one to
 * finish sees all. */
static ls_status finish(struct pack_summary *out, const char *folder, const struct pack_plan *plan,
                        const struct pack_work_done *done, int presence)
{
    ls_status st = LS_OK;
    int lock = -1;
    char *path = NULL;
    LS_TRY(core_format(&path, "%s/index.lock", plan->parts_folder));
    LS_TRY(pack_lock_take(&lock, path, LOCK_EX));
    LS_TRY(index_write(folder));
    LS_TRY(pack_report_write(out, folder, plan));
    out->new_videos = done->new_videos;
    out->new_skipped = done->progress.skipped;
    out->left = done->left;
    if (out->left == 0 && flock(presence, LOCK_EX | LOCK_NB) == 0)
        LS_TRY(remove_leftovers(folder, plan->parts_folder));
    if (out->videos == 0 && out->left == 0)
        st =
            LS_FAIL(LS_DATA, "%s: not one of %lld files could be packed (the first: %s): see %s/%s",
                    folder, (long long)out->skipped, out->first_reason, folder, PACK_REPORT_NAME);
done:
    pack_lock_drop(&lock);
    free(path);
    return st;
}

ls_status pack_run(struct pack_summary *out, const struct pack_options *options)
{
    ls_status st = LS_OK;
    struct pack_plan plan = {0};
    struct pack_work_done work = {0};
    int presence = -1;
    if (options->encoding.gop_s > 0 && !encoder_exists()) {
        st = LS_FAIL(LS_USAGE, "--gop: this FFmpeg has no libx264 to encode with");
        goto done;
    }
    do {
        /* A shard that another pack finished may hold other files than planned here: plan again. */
        pack_plan_close(&plan);
        LS_TRY(pack_plan_open(&plan, options));
        if (presence < 0)
            LS_TRY(pack_lock_join(&presence, plan.parts_folder));
        work.progress.files += (int64_t)plan.file_count;
        work.progress.bytes += plan.bytes;
        work.elsewhere = false;
        LS_TRY(pack_shards(&work, options, &plan));
    } while (work.elsewhere);
    LS_TRY(finish(out, options->output, &plan, &work, presence));
done:
    pack_lock_drop(&presence);
    pack_plan_close(&plan);
    return st;
}
