/* One batch of the loader is lent at a time: the one whose copy may still be under way, or, where
 * the model reads it in place, the one that is computed.  So the loader decodes as far ahead as
 * ever. */
#include "worker/feed.h"

#include <stdlib.h>

#include "core/files.h"
#include "core/log.h"

struct feed {
    struct loader *loader;
    struct jepa *jepa;
    const struct model_device *device;
    bool copies;                 /* device memory is not the host's */
    int pinned;                  /* buffers [0, pinned) of the loader are pinned */
    struct loader_batch *loaded; /* lent by the loader */
    bool staged;                 /* the next micro-batch is staged */
    struct hash128 draws;        /* of the one staged last */
    int64_t left;                /* not staged yet */
};

static void pin(struct feed *feed)
{
    void *memory = NULL;
    size_t bytes = 0;
    while (loader_pixels(feed->loader, feed->pinned, &memory, &bytes)) {
        if (feed->device->table->host_pin(feed->device->device, memory, bytes) != LS_OK) {
            log_warn("clips asked=pinned used=pageable reason=\"%s\"", status_text());
            status_clear();
            return;
        }
        feed->pinned++;
    }
}

ls_status feed_open(struct feed **out, struct loader *loader, struct jepa *jepa,
                    const struct model_device *device, int64_t batches)
{
    ls_status st = LS_OK;
    struct feed *feed = NULL;
    *out = NULL;
    LS_TRY(core_alloc(&feed, 1));
    *feed = (struct feed){.loader = loader,
                          .jepa = jepa,
                          .device = device,
                          .copies = !device->table->host_memory,
                          .left = batches};
    if (feed->copies)
        pin(feed);
    *out = feed;
done:
    return st;
}

void feed_close(struct feed **pointer)
{
    struct feed *feed = *pointer;
    void *memory = NULL;
    size_t bytes = 0;
    if (feed == NULL)
        return;
    if (jepa_unstage(feed->jepa) != LS_OK)
        status_clear(); /* the card is lost: nobody copies any more */
    for (int i = 0; i < feed->pinned; i++)
        if (loader_pixels(feed->loader, i, &memory, &bytes))
            feed->device->table->host_unpin(feed->device->device, memory);
    free(feed);
    *pointer = NULL;
}

static struct jepa_batch batch_of(const struct loader_batch *loaded)
{
    struct jepa_batch batch = {.pixels = loaded->pixels,
                               .clips = loaded->clips,
                               .frames = loaded->frames,
                               .mask_token = loaded->frames_group};
    for (int g = 0; g < loaded->group_count; g++) {
        batch.context[g] = loaded->context[g].tokens;
        batch.context_count[g] = loaded->context[g].count;
        batch.predicted[g] = loaded->predicted[g].tokens;
        batch.predicted_count[g] = loaded->predicted[g].count;
    }
    return batch;
}

/* Give back what the model has read. */
static ls_status release(struct feed *feed)
{
    ls_status st = LS_OK;
    if (feed->loaded == NULL)
        return LS_OK;
    LS_TRY(jepa_stage_wait(feed->jepa));
    loader_release(feed->loader, feed->loaded);
    feed->loaded = NULL;
done:
    return st;
}

static ls_status stage(struct feed *feed, double timeout_s)
{
    ls_status st = LS_OK;
    LS_TRY(release(feed));
    LS_TRY(loader_next(feed->loader, &feed->loaded, timeout_s));
    struct jepa_batch batch = batch_of(feed->loaded);
    LS_TRY(jepa_stage(feed->jepa, &batch));
    feed->draws = feed->loaded->draw_hash;
    feed->staged = true;
    feed->left--;
done:
    return st;
}

ls_status feed_take(struct feed *feed, struct hash128 *draws, double timeout_s)
{
    ls_status st = LS_OK;
    if (!feed->staged && feed->left == 0)
        return LS_FAIL(LS_USAGE, "no micro-batch is left");
    if (!feed->staged)
        LS_TRY(stage(feed, timeout_s));
    *draws = feed->draws;
    feed->staged = false;
done:
    return st;
}

const struct loader_batch *feed_taken(const struct feed *feed)
{
    return feed->loaded;
}

ls_status feed_ahead(struct feed *feed)
{
    if (!feed->copies)
        return release(feed);
    if (feed->staged || feed->left == 0 || !loader_ready(feed->loader))
        return LS_OK;
    return stage(feed, 0);
}
