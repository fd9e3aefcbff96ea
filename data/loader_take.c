/* The consumer's side: batches in order, the time spent waiting for them, and why draws failed. */
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "data/loader_internal.h"

/* The batch to hand out next; NULL until it is filled. */
static struct slot *find_filled(struct loader *loader)
{
    for (int i = 0; i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        if (slot->sequence == loader->next_out && loader_slot_filled(loader, slot))
            return slot;
    }
    return NULL;
}

static bool all_lent(const struct loader *loader)
{
    for (int i = 0; i < loader->slot_count; i++)
        if (loader->slots[i].state != SLOT_LENT)
            return false;
    return true;
}

/* Names what the threads are busy with. */
static ls_status time_out(struct loader *loader, double timeout_s)
{
    char busy[LOADER_FAILURE_BYTES] = "";
    size_t used = 0;
    for (int i = 0; i < loader->filler_count; i++) {
        int dataset = 0;
        int64_t video = 0;
        if (!clip_maker_busy(loader->fillers[i].maker, &dataset, &video) || used >= sizeof busy / 2)
            continue;
        int count = snprintf(busy + used, sizeof busy - used, "%s%s: %s", used > 0 ? ", " : "",
                             dataset_path(loader->datasets[dataset]),
                             dataset_video(loader->datasets[dataset], video).name);
        if (count > 0)
            used += (size_t)count;
    }
    return LS_FAIL(
        LS_TIMEOUT, "no data for %g s: step %lld, micro-batch %d; the decode threads are at %s",
        timeout_s, (long long)(loader->first_step + loader->next_out / loader->micro_count),
        loader->micro_first + (int)(loader->next_out % loader->micro_count),
        used > 0 ? busy : "nothing");
}

bool loader_ready(struct loader *loader)
{
    (void)pthread_mutex_lock(&loader->lock);
    const struct slot *slot = find_filled(loader);
    const bool ready = slot != NULL && slot->status == LS_OK;
    (void)pthread_mutex_unlock(&loader->lock);
    return ready;
}

ls_status loader_next(struct loader *loader, struct loader_batch **out, double timeout_s)
{
    ls_status st = LS_OK;
    const double start = clock_now_s();
    const struct timespec deadline = clock_deadline(timeout_s);
    (void)pthread_mutex_lock(&loader->lock);
    struct slot *slot = NULL;
    while ((slot = find_filled(loader)) == NULL) {
        if (all_lent(loader)) {
            st = LS_FAIL(LS_USAGE, "all %d batches of the loader are lent", loader->slot_count);
            goto done;
        }
        if (pthread_cond_timedwait(&loader->ready, &loader->lock, &deadline) != 0) {
            st = time_out(loader, timeout_s);
            goto done;
        }
    }
    if (slot->status != LS_OK) {
        st = status_adopt(slot->status, slot->failure);
        goto done;
    }
    reasons_merge(&loader->counters.reasons, &slot->reasons);
    slot->state = SLOT_LENT;
    loader->next_out++;
    *out = &slot->batch;
done:
    loader->counters.wait_s += clock_now_s() - start;
    (void)pthread_mutex_unlock(&loader->lock);
    return st;
}

void loader_release(struct loader *loader, struct loader_batch *batch)
{
    (void)pthread_mutex_lock(&loader->lock);
    for (int i = 0; i < loader->slot_count; i++)
        if (&loader->slots[i].batch == batch)
            loader->slots[i].state = SLOT_FREE;
    (void)pthread_cond_broadcast(&loader->work);
    (void)pthread_mutex_unlock(&loader->lock);
}

struct loader_counters loader_counters(struct loader *loader)
{
    (void)pthread_mutex_lock(&loader->lock);
    struct loader_counters counters = loader->counters;
    loader->counters.wait_s = 0.0;
    (void)pthread_mutex_unlock(&loader->lock);
    return counters;
}
