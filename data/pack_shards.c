/* Dispatch.  Shards are claimed in order, one more whenever the files of those claimed are handed
 * out; only when there is nothing left to claim are the shards of other processes looked at again.
 */
#include "data/pack_shards.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/file.h>

#include "core/clock.h"
#include "core/files.h"
#include "data/pack_lock.h"
#include "data/pack_pool.h"

enum shard_state { SHARD_OPEN, SHARD_ELSEWHERE, SHARD_OURS, SHARD_DONE };

struct shard_work {
    enum shard_state state;
    size_t next;     /* file to hand out */
    size_t finished; /* files with a part */
    int lock;
};

struct stack {
    size_t *shards;
    size_t count;
};

struct packing {
    const struct pack_options *options;
    const struct pack_plan *plan;
    struct pack_work_done *done;
    struct shard_work *works;
    size_t *shard_of_file;
    size_t *order;        /* of files within their shards: large ones first */
    size_t unclaimed;     /* shards from here on have not been looked at */
    struct stack filling; /* ours, with files to hand out */
    struct stack ready;   /* ours, with all parts made */
    size_t unfinished;    /* shards that are not there yet */
    struct pool *pool;
    double started_s, looked_s;
};

static const double look_every_s = 1;
static const double wait_s = 0.2;

static void push(struct stack *stack, size_t shard)
{
    stack->shards[stack->count++] = shard;
}

static void report_progress(struct packing *packing)
{
    struct pack_progress *progress = &packing->done->progress;
    progress->elapsed_s = clock_now_s() - packing->started_s;
    if (packing->options->progress != NULL)
        packing->options->progress(packing->options->context, progress);
}

/* Another process has finished the shard: its files are no work of ours. */
static void finish_elsewhere(struct packing *packing, size_t s)
{
    const struct plan_shard *shard = &packing->plan->shards[s];
    struct pack_progress *progress = &packing->done->progress;
    packing->works[s].state = SHARD_DONE;
    packing->unfinished--;
    packing->done->elsewhere = true;
    progress->files -= (int64_t)shard->count;
    for (size_t i = 0; i < shard->count; i++)
        progress->bytes -= packing->plan->files[shard->first + i].source.bytes;
}

static ls_status claim(struct packing *packing, size_t s)
{
    ls_status st = LS_OK;
    struct shard_work *work = &packing->works[s];
    const struct plan_shard *shard = &packing->plan->shards[s];
    char *path = NULL;
    packing->done->progress.shards_elsewhere -= work->state == SHARD_ELSEWHERE;
    LS_TRY(core_format(&path, "%s/shard-%05u.lock", packing->plan->parts_folder, shard->number));
    LS_TRY(pack_lock_take(&work->lock, path, LOCK_EX | LOCK_NB));
    if (work->lock < 0) {
        work->state = SHARD_ELSEWHERE;
        packing->done->progress.shards_elsewhere++;
    } else if (files_exists(shard->path)) {
        pack_lock_drop(&work->lock);
        finish_elsewhere(packing, s);
    } else {
        work->state = SHARD_OURS;
        push(&packing->filling, s);
    }
done:
    free(path);
    return st;
}

/* Shards of other processes: finished, or abandoned and now ours. */
static ls_status look_elsewhere(struct packing *packing)
{
    ls_status st = LS_OK;
    double now = clock_now_s();
    if (now - packing->looked_s < look_every_s)
        return LS_OK;
    packing->looked_s = now;
    for (size_t s = 0; s < packing->plan->shard_count; s++)
        if (packing->works[s].state == SHARD_ELSEWHERE)
            LS_TRY(claim(packing, s));
done:
    return st;
}

/* What an idle worker should do next; POOL_NONE when there is nothing at the moment. */
static ls_status next_task(struct packing *packing, struct pool_task *out)
{
    ls_status st = LS_OK;
    *out = (struct pool_task){.kind = POOL_NONE};
    if (packing->ready.count > 0) {
        *out = (struct pool_task){.kind = POOL_SHARD,
                                  .index = packing->ready.shards[--packing->ready.count]};
        goto done;
    }
    while (packing->filling.count == 0 && packing->unclaimed < packing->plan->shard_count) {
        const size_t s = packing->unclaimed++;
        if (packing->works[s].state == SHARD_OPEN)
            LS_TRY(claim(packing, s));
    }
    if (packing->filling.count == 0) {
        LS_TRY(look_elsewhere(packing));
        goto done;
    }
    size_t s = packing->filling.shards[packing->filling.count - 1];
    struct shard_work *work = &packing->works[s];
    const struct plan_shard *shard = &packing->plan->shards[s];
    *out =
        (struct pool_task){.kind = POOL_FILE, .index = packing->order[shard->first + work->next++]};
    if (work->next == shard->count)
        packing->filling.count--;
done:
    return st;
}

static ls_status take_result(struct packing *packing, const struct pool_result *result)
{
    struct pack_progress *progress = &packing->done->progress;
    if (result->status != LS_OK)
        return status_adopt(result->status, result->text);
    if (result->task.kind == POOL_FILE) {
        size_t s = packing->shard_of_file[result->task.index];
        progress->files_done++;
        progress->bytes_done += packing->plan->files[result->task.index].source.bytes;
        progress->skipped += result->skipped;
        packing->done->new_videos += !result->skipped;
        if (++packing->works[s].finished == packing->plan->shards[s].count)
            push(&packing->ready, s);
    } else if (result->task.kind == POOL_SHARD) {
        struct shard_work *work = &packing->works[result->task.index];
        work->state = SHARD_DONE;
        packing->unfinished--;
        pack_lock_drop(&work->lock);
    }
    return LS_OK;
}

static ls_status work_through(struct packing *packing)
{
    ls_status st = LS_OK;
    while (packing->unfinished > 0) {
        struct pool_task task = {.kind = POOL_FILE};
        struct pool_result result;
        while (pool_has_idle(packing->pool) && task.kind != POOL_NONE) {
            LS_TRY(next_task(packing, &task));
            if (task.kind != POOL_NONE)
                LS_TRY(pool_start(packing->pool, task));
        }
        LS_TRY(pool_wait(packing->pool, &result, wait_s));
        LS_TRY(take_result(packing, &result));
        report_progress(packing);
    }
done:
    return st;
}

static bool is_of_other_part(const struct pack_options *options, const struct plan_shard *shard)
{
    return options->parts > 0 &&
           (int)(shard->number % (uint32_t)options->parts) != options->part - 1;
}

/* Shards go to parts by their number, which depends on the list and on nothing else. */
static void leave_other_parts(struct packing *packing)
{
    struct pack_progress *progress = &packing->done->progress;
    for (size_t s = 0; s < packing->plan->shard_count; s++) {
        const struct plan_shard *shard = &packing->plan->shards[s];
        if (!is_of_other_part(packing->options, shard))
            continue;
        packing->works[s].state = SHARD_DONE;
        packing->unfinished--;
        progress->files -= (int64_t)shard->count;
        for (size_t i = 0; i < shard->count; i++)
            progress->bytes -= packing->plan->files[shard->first + i].source.bytes;
    }
}

static int processor_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return CPU_COUNT(&set);
}

struct sized_file {
    size_t file;
    uint64_t bytes;
};

static int compare_sizes(const void *a, const void *b)
{
    const struct sized_file *x = a;
    const struct sized_file *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return (x->file > y->file) - (x->file < y->file);
}

/* Large files first, so that no worker is left with one at the end while the others wait. */
static ls_status order_files(struct packing *packing)
{
    ls_status st = LS_OK;
    const struct pack_plan *plan = packing->plan;
    struct sized_file *sized = NULL;
    LS_TRY(core_alloc(&sized, plan->file_count));
    LS_TRY(core_alloc(&packing->order, plan->file_count));
    for (size_t i = 0; i < plan->file_count; i++)
        sized[i] = (struct sized_file){i, plan->files[i].source.bytes};
    for (size_t s = 0; s < plan->shard_count; s++)
        qsort(sized + plan->shards[s].first, plan->shards[s].count, sizeof *sized, compare_sizes);
    for (size_t i = 0; i < plan->file_count; i++)
        packing->order[i] = sized[i].file;
done:
    free(sized);
    return st;
}

static ls_status prepare(struct packing *packing)
{
    ls_status st = LS_OK;
    const struct pack_plan *plan = packing->plan;
    LS_TRY(core_alloc(&packing->works, plan->shard_count));
    LS_TRY(core_alloc(&packing->shard_of_file, plan->file_count));
    LS_TRY(core_alloc(&packing->filling.shards, plan->shard_count));
    LS_TRY(core_alloc(&packing->ready.shards, plan->shard_count));
    for (size_t s = 0; s < plan->shard_count; s++) {
        packing->works[s].lock = -1;
        for (size_t i = 0; i < plan->shards[s].count; i++)
            packing->shard_of_file[plan->shards[s].first + i] = s;
    }
    LS_TRY(order_files(packing));
done:
    return st;
}

ls_status pack_shards(struct pack_work_done *done, const struct pack_options *options,
                      const struct pack_plan *plan)
{
    ls_status st = LS_OK;
    struct packing packing = {
        .options = options,
        .plan = plan,
        .done = done,
        .unfinished = plan->shard_count,
        .started_s = clock_now_s() - done->progress.elapsed_s,
    };
    int jobs = options->jobs > 0 ? options->jobs : processor_count();
    if ((size_t)jobs > plan->file_count)
        jobs = (int)plan->file_count;
    if (jobs == 0)
        return LS_OK;
    LS_TRY(prepare(&packing));
    leave_other_parts(&packing);
    LS_TRY(pool_open(&packing.pool, plan, jobs));
    LS_TRY(work_through(&packing));
    done->left = 0;
    for (size_t s = 0; s < plan->shard_count; s++)
        done->left +=
            is_of_other_part(options, &plan->shards[s]) && !files_exists(plan->shards[s].path);
done:
    pool_close(&packing.pool);
    for (size_t s = 0; packing.works != NULL && s < plan->shard_count; s++)
        pack_lock_drop(&packing.works[s].lock);
    free(packing.works);
    free(packing.shard_of_file);
    free(packing.order);
    free(packing.filling.shards);
    free(packing.ready.shards);
    return st;
}
