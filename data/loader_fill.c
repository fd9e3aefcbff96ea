/* The decode threads.
 *
 * Each takes the next task of the oldest unfinished batch, or starts the next micro-batch in a free
 * one.  What a task writes depends on its place in the run only, so the order in which threads run
 * cannot be seen.  A failure ends its batch and is kept with it: it comes out when that batch is
 * asked for, so that a run ends at the same micro-batch however far ahead its threads were. */
#include <stdio.h>

#include "core/log.h"
#include "data/loader_internal.h"

bool loader_slot_filled(const struct loader *loader, const struct slot *slot)
{
    return slot->state == SLOT_FILLING && slot->running == 0 &&
           slot->next_task > loader->config->data.batch_size;
}

void loader_note_bad(void *context, int dataset, int64_t video, const char *reason)
{
    struct filler *filler = context;
    struct loader *loader = filler->loader;
    struct slot *slot = filler->slot;
    (void)pthread_mutex_lock(&loader->lock);
    slot->bad_draws[dataset]++;
    bad_videos_add(&slot->bad_videos, dataset, video, reason);
    reasons_add(&slot->reasons, dataset, dataset_video(loader->datasets[dataset], video).name,
                reason);
    (void)pthread_mutex_unlock(&loader->lock);
}

/* The draws of step `step`: those of the step-th number that is not skipped. */
static int64_t draw_step_of(const struct loader *loader, int64_t step)
{
    for (int i = 0; i < loader->skip_count; i++)
        step += loader->skip[i] <= step;
    return step;
}

static void start_slot(struct loader *loader, struct slot *slot)
{
    struct loader_batch *batch = &slot->batch;
    slot->state = SLOT_FILLING;
    slot->sequence = loader->next_start++;
    slot->next_task = 0;
    slot->running = 0;
    slot->status = LS_OK;
    for (int d = 0; d < loader->config->data.dataset_count; d++)
        slot->bad_draws[d] = 0;
    slot->reasons = (struct reasons){.kinds = 0};
    slot->bad_videos = (struct bad_videos){.count = 0};
    batch->step = loader->first_step + slot->sequence / loader->micro_count;
    batch->micro_batch = loader->micro_first + (int)(slot->sequence % loader->micro_count);
    slot->draw_step = draw_step_of(loader, batch->step);
    batch->clips = loader->config->data.batch_size;
    batch->frames_group = draw_group(loader->draw, slot->draw_step, batch->micro_batch);
    batch->frames = draw_group_frames(loader->draw, batch->frames_group);
    batch->draw_hash = (struct hash128){0, 0};
}

/* The batch whose task is to be done next; NULL when there is nothing to do. */
static struct slot *find_work(struct loader *loader)
{
    struct slot *oldest = NULL;
    struct slot *free_slot = NULL;
    for (int i = 0; i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        if (slot->state == SLOT_FREE)
            free_slot = slot;
        else if (slot->state == SLOT_FILLING &&
                 slot->next_task <= loader->config->data.batch_size &&
                 (oldest == NULL || slot->sequence < oldest->sequence))
            oldest = slot;
    }
    if (oldest == NULL && free_slot != NULL) {
        start_slot(loader, free_slot);
        oldest = free_slot;
    }
    return oldest;
}

static struct hash128 hash_list(const struct loader_tokens *list, int clips, int micro_batch,
                                int number)
{
    /* Clips are hashed at their sample number: lists come after all of them. */
    const uint64_t place = ((uint64_t)1 << 32) + (uint64_t)number;
    return hash_buffer_at(list->tokens, (size_t)clips * (size_t)list->count * sizeof *list->tokens,
                          (uint64_t)micro_batch, place);
}

static ls_status make_masks(struct hash128 *hash, const struct loader *loader, struct slot *slot)
{
    ls_status st = LS_OK;
    struct loader_batch *batch = &slot->batch;
    const struct config *config = loader->config;
    LS_TRY(mask_draw(slot->masks, config->masks, config->mask_count,
                     mask_grid_of(&config->data, batch->frames), batch->clips,
                     (uint64_t)config->meta.seed, (uint64_t)slot->draw_step,
                     (uint32_t)batch->micro_batch));
    *hash = (struct hash128){0, 0};
    for (int g = 0; g < config->mask_count; g++) {
        const struct mask_lists *lists = &slot->masks[g];
        batch->context[g] =
            (struct loader_tokens){.count = lists->context_count, .tokens = lists->context};
        batch->predicted[g] =
            (struct loader_tokens){.count = lists->predicted_count, .tokens = lists->predicted};
        *hash =
            hash_add(*hash, hash_list(&batch->context[g], batch->clips, batch->micro_batch, 2 * g));
        *hash = hash_add(
            *hash, hash_list(&batch->predicted[g], batch->clips, batch->micro_batch, 2 * g + 1));
    }
done:
    return st;
}

static ls_status make_clip(struct hash128 *hash, struct filler *filler, struct slot *slot,
                           int sample)
{
    ls_status st = LS_OK;
    const struct loader_batch *batch = &slot->batch;
    const struct config_data *data = &filler->loader->config->data;
    const size_t bytes =
        (size_t)batch->frames * (size_t)data->crop_height * (size_t)data->crop_width * 3;
    uint8_t *pixels = batch->pixels + (size_t)sample * bytes;
    LS_TRY(clip_maker_make(filler->maker, pixels, &batch->sources[sample],
                           (struct clip_place){.step = slot->draw_step,
                                               .micro_batch = batch->micro_batch,
                                               .sample = sample}));
    *hash = hash_buffer_at(pixels, bytes, (uint64_t)batch->micro_batch, (uint64_t)sample);
done:
    return st;
}

/* Keep the failure of the lowest task, and give up the tasks that nobody has taken. */
static void record_failure(struct loader *loader, struct slot *slot, int task, ls_status st)
{
    if (slot->status == LS_OK || task < slot->status_task) {
        slot->status = st;
        slot->status_task = task;
        (void)snprintf(slot->failure, sizeof slot->failure, "%s", status_message());
    }
    slot->next_task = loader->config->data.batch_size + 1;
}

void *loader_fill(void *context)
{
    struct filler *filler = context;
    struct loader *loader = filler->loader;
    (void)pthread_mutex_lock(&loader->lock);
    while (!atomic_load(&loader->stop)) {
        struct slot *slot = find_work(loader);
        if (slot == NULL) {
            (void)pthread_cond_wait(&loader->work, &loader->lock);
            continue;
        }
        const int task = slot->next_task++;
        slot->running++;
        filler->slot = slot;
        (void)pthread_mutex_unlock(&loader->lock);
        struct hash128 hash = {0, 0};
        ls_status st =
            task == 0 ? make_masks(&hash, loader, slot) : make_clip(&hash, filler, slot, task - 1);
        (void)pthread_mutex_lock(&loader->lock);
        slot->running--;
        if (st != LS_OK)
            record_failure(loader, slot, task, st);
        slot->batch.draw_hash = hash_add(slot->batch.draw_hash, hash);
        if (loader_slot_filled(loader, slot))
            (void)pthread_cond_broadcast(&loader->ready);
    }
    (void)pthread_mutex_unlock(&loader->lock);
    return NULL;
}
