/* The pack itself: claims shards, hands their files and then the shards to the pool, and at the end
 * writes the index and the report.  Locks only save double work: two packs that make the same shard
 * make the same bytes, so where a file system has no locks nothing is lost but time. */
#include "data/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/files.h"
#include "data/index.h"
#include "data/pack_plan.h"
#include "data/pack_pool.h"
#include "data/pack_report.h"

enum shard_state { SHARD_OPEN, SHARD_ELSEWHERE, SHARD_OURS, SHARD_WRITING, SHARD_DONE };

struct shard_work {
    enum shard_state state;
    size_t next;     /* file to hand out */
    size_t finished; /* files with a part */
    int lock;
};

struct packing {
    const struct pack_options *options;
    struct pack_plan plan;
    struct shard_work *works;
    size_t *shard_of_file;
    struct pool *pool;
    struct pack_progress progress;
    double started_s;
    int64_t new_videos;
};

/* A lock file, opened and locked as `how` says; -1 when another process has it.  Where locks do not
 * exist, as if it were free. */
static ls_status take_lock(int *out, const char *path, int how)
{
    *out = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*out < 0)
        return LS_FAIL(LS_IO, "%s: cannot create: %s", path, strerror(errno));
    int result;
    do
        result = flock(*out, how);
    while (result != 0 && errno == EINTR);
    if (result != 0 && errno == EWOULDBLOCK) {
        (void)close(*out);
        *out = -1;
    }
    return LS_OK;
}

/* Workers hold copies of the descriptor: closing ours alone would not unlock. */
static void drop_lock(int *lock)
{
    if (*lock < 0)
        return;
    (void)flock(*lock, LOCK_UN);
    (void)close(*lock);
    *lock = -1;
}

static void report_progress(struct packing *packing)
{
    int64_t elsewhere = 0;
    for (size_t s = 0; s < packing->plan.shard_count; s++)
        elsewhere += packing->works[s].state == SHARD_ELSEWHERE;
    packing->progress.shards_elsewhere = elsewhere;
    packing->progress.elapsed_s = clock_now_s() - packing->started_s;
    if (packing->options->progress != NULL)
        packing->options->progress(packing->options->context, &packing->progress);
}

/* Another process has finished the shard: its files are no work of ours. */
static void mark_done_elsewhere(struct packing *packing, size_t s)
{
    const struct plan_shard *shard = &packing->plan.shards[s];
    packing->works[s].state = SHARD_DONE;
    packing->progress.files -= (int64_t)shard->count;
    for (size_t i = 0; i < shard->count; i++)
        packing->progress.bytes -= packing->plan.files[shard->first + i].source.bytes;
}

static ls_status claim(struct packing *packing, size_t s)
{
    ls_status st = LS_OK;
    struct shard_work *work = &packing->works[s];
    const struct plan_shard *shard = &packing->plan.shards[s];
    char *path = NULL;
    LS_TRY(core_format(&path, "%s/shard-%05u.lock", packing->plan.parts_folder, shard->number));
    LS_TRY(take_lock(&work->lock, path, LOCK_EX | LOCK_NB));
    if (work->lock < 0) {
        work->state = SHARD_ELSEWHERE;
    } else if (files_exists(shard->path)) {
        drop_lock(&work->lock);
        mark_done_elsewhere(packing, s);
    } else {
        work->state = SHARD_OURS;
    }
done:
    free(path);
    return st;
}

/* What an idle worker should do next; POOL_NONE when there is nothing at the moment. */
static ls_status next_task(struct packing *packing, struct pool_task *out)
{
    ls_status st = LS_OK;
    *out = (struct pool_task){.kind = POOL_NONE};
    for (size_t s = 0; s < packing->plan.shard_count; s++) {
        struct shard_work *work = &packing->works[s];
        const struct plan_shard *shard = &packing->plan.shards[s];
        if (work->state == SHARD_OPEN)
            LS_TRY(claim(packing, s));
        if (work->state != SHARD_OURS)
            continue;
        if (work->finished == shard->count) {
            work->state = SHARD_WRITING;
            *out = (struct pool_task){.kind = POOL_SHARD, .index = s};
            break;
        }
        if (work->next < shard->count) {
            *out = (struct pool_task){.kind = POOL_FILE, .index = shard->first + work->next++};
            break;
        }
    }
done:
    return st;
}

static ls_status take_result(struct packing *packing, const struct pool_result *result)
{
    if (result->status != LS_OK)
        return status_adopt(result->status, result->text);
    if (result->task.kind == POOL_FILE) {
        packing->works[packing->shard_of_file[result->task.index]].finished++;
        packing->progress.files_done++;
        packing->progress.bytes_done += packing->plan.files[result->task.index].source.bytes;
        packing->progress.skipped += result->skipped;
        packing->new_videos += !result->skipped;
    } else if (result->task.kind == POOL_SHARD) {
        struct shard_work *work = &packing->works[result->task.index];
        work->state = SHARD_DONE;
        drop_lock(&work->lock);
    }
    return LS_OK;
}

/* Shards of other processes are looked at again: finished, or abandoned and now ours. */
static ls_status look_elsewhere(struct packing *packing, bool *left)
{
    ls_status st = LS_OK;
    *left = false;
    for (size_t s = 0; s < packing->plan.shard_count; s++) {
        if (packing->works[s].state == SHARD_ELSEWHERE)
            LS_TRY(claim(packing, s));
        *left |= packing->works[s].state != SHARD_DONE;
    }
done:
    return st;
}

static ls_status work_through(struct packing *packing)
{
    ls_status st = LS_OK;
    bool left = true;
    double looked_s = 0;
    while (left) {
        struct pool_task task = {.kind = POOL_FILE};
        struct pool_result result;
        while (pool_has_idle(packing->pool) && task.kind != POOL_NONE) {
            LS_TRY(next_task(packing, &task));
            if (task.kind != POOL_NONE)
                LS_TRY(pool_start(packing->pool, task));
        }
        LS_TRY(pool_wait(packing->pool, &result, 0.2));
        LS_TRY(take_result(packing, &result));
        report_progress(packing);
        if (!pool_is_busy(packing->pool) || clock_now_s() - looked_s > 1) {
            LS_TRY(look_elsewhere(packing, &left));
            looked_s = clock_now_s();
        }
    }
done:
    return st;
}

static int processor_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return CPU_COUNT(&set);
}

static ls_status pack_shards(struct packing *packing)
{
    ls_status st = LS_OK;
    const struct pack_plan *plan = &packing->plan;
    int jobs = packing->options->jobs > 0 ? packing->options->jobs : processor_count();
    LS_TRY(core_alloc(&packing->works, plan->shard_count));
    LS_TRY(core_alloc(&packing->shard_of_file, plan->file_count));
    for (size_t s = 0; s < plan->shard_count; s++) {
        packing->works[s].lock = -1;
        for (size_t i = 0; i < plan->shards[s].count; i++)
            packing->shard_of_file[plan->shards[s].first + i] = s;
    }
    if ((size_t)jobs > plan->file_count)
        jobs = (int)plan->file_count;
    if (jobs > 0) {
        LS_TRY(pool_open(&packing->pool, plan, jobs));
        LS_TRY(work_through(packing));
    }
done:
    pool_close(&packing->pool);
    for (size_t s = 0; packing->works != NULL && s < plan->shard_count; s++)
        drop_lock(&packing->works[s].lock);
    return st;
}

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
static ls_status finish(struct packing *packing, struct pack_summary *out, int presence)
{
    ls_status st = LS_OK;
    int lock = -1;
    char *path = NULL;
    const char *folder = packing->options->output;
    LS_TRY(core_format(&path, "%s/index.lock", packing->plan.parts_folder));
    LS_TRY(take_lock(&lock, path, LOCK_EX));
    LS_TRY(index_write(folder));
    LS_TRY(pack_report_write(out, folder, &packing->plan));
    out->new_videos = packing->new_videos;
    out->new_skipped = packing->progress.skipped;
    if (flock(presence, LOCK_EX | LOCK_NB) == 0)
        LS_TRY(remove_leftovers(folder, packing->plan.parts_folder));
    if (out->videos == 0)
        st = LS_FAIL(LS_DATA, "%s: not one of %lld files could be packed: see %s/%s", folder,
                     (long long)out->skipped, folder, PACK_REPORT_NAME);
done:
    drop_lock(&lock);
    free(path);
    return st;
}

/* The shared lock that says a pack is at work.  A pack that has just ended may have removed the
 * folder with the lock in it while we waited: then once more. */
static ls_status join(int *presence, const char *parts_folder)
{
    ls_status st = LS_OK;
    char *path = NULL;
    struct stat info;
    LS_TRY(core_format(&path, "%s/pack.lock", parts_folder));
    for (;;) {
        LS_TRY(files_make_folder(parts_folder));
        LS_TRY(take_lock(presence, path, LOCK_SH));
        if (fstat(*presence, &info) != 0 || info.st_nlink > 0)
            break;
        drop_lock(presence);
    }
done:
    free(path);
    return st;
}

ls_status pack_run(struct pack_summary *out, const struct pack_options *options)
{
    ls_status st = LS_OK;
    struct packing packing = {.options = options, .started_s = clock_now_s()};
    int presence = -1;
    LS_TRY(pack_plan_open(&packing.plan, options));
    packing.progress.files = (int64_t)packing.plan.file_count;
    packing.progress.bytes = packing.plan.bytes;
    LS_TRY(join(&presence, packing.plan.parts_folder));
    LS_TRY(pack_shards(&packing));
    LS_TRY(finish(&packing, out, presence));
done:
    drop_lock(&presence);
    free(packing.works);
    free(packing.shard_of_file);
    pack_plan_close(&packing.plan);
    return st;
}
