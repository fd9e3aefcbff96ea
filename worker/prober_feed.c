/* Two buffers: while the clips of one are encoded, threads decode into the other. */
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "worker/prober.h"

ls_status prober_feed_open(struct prober *prober)
{
    ls_status st = LS_OK;
    const struct config_probe *config = prober->config;
    const struct config *base = &config->base;
    struct prober_feed *feed = &prober->feed;
    const struct view_options options = {
        .clip_frames = config->frames_per_clip,
        .frame_step = base->data.frame_step,
        .segments = config->segments,
        .views = config->views,
        .size = config->resolution,
        .test_scale = config->test_scale,
        .scale = {base->data_aug.random_resize_scale[0], base->data_aug.random_resize_scale[1]},
        .ratio = {base->data_aug.random_resize_aspect_ratio[0],
                  base->data_aug.random_resize_aspect_ratio[1]},
        .seed = (uint64_t)base->meta.seed};
    feed->segments = config->segments;
    feed->most = base->data.batch_size;
    feed->clip_bytes = (size_t)config->frames_per_clip * (size_t)config->resolution *
                       (size_t)config->resolution * 3;
    for (int i = 0; i < 2; i++) {
        struct prober_buffer *buffer = &feed->buffers[i];
        const size_t clips = (size_t)feed->most * (size_t)feed->segments;
        LS_TRY(core_alloc(&buffer->pixels, clips * feed->clip_bytes));
        LS_TRY(core_alloc(&buffer->items, clips));
        LS_TRY(core_alloc(&buffer->requests, feed->most));
    }
    LS_TRY(view_pool_open(&feed->pool, &options, base->data.num_workers));
done:
    return st;
}

void prober_feed_close(struct prober_feed *feed)
{
    view_pool_close(&feed->pool);
    for (int i = 0; i < 2; i++) {
        free(feed->buffers[i].pixels);
        free(feed->buffers[i].items);
        free(feed->buffers[i].requests);
    }
    *feed = (struct prober_feed){0};
}

void prober_feed_start(struct prober_feed *feed, const struct prober_request *requests, int count)
{
    struct prober_buffer *buffer = &feed->buffers[feed->filling];
    memcpy(buffer->requests, requests, (size_t)count * sizeof *requests);
    buffer->count = count;
    for (int i = 0; i < count * feed->segments; i++) {
        const struct prober_request *request = &requests[i / feed->segments];
        buffer->items[i] =
            (struct view_item){.dataset = request->split->dataset,
                               .video = request->video,
                               .segment = i % feed->segments,
                               .view = request->view,
                               .random = request->random,
                               .step = request->step,
                               .micro_batch = request->micro_batch,
                               .sample = request->sample,
                               .pixels = buffer->pixels + (size_t)i * feed->clip_bytes};
    }
    view_pool_start(feed->pool, buffer->items, count * feed->segments);
}

ls_status prober_feed_take(struct prober *prober, const struct prober_request *next, int next_count)
{
    ls_status st = LS_OK;
    struct prober_feed *feed = &prober->feed;
    const struct prober_buffer *buffer = &feed->buffers[feed->filling];
    LS_TRY(view_pool_wait(feed->pool, prober->config->base.run.save_timeout_s));
    for (int i = 0; i < buffer->count * feed->segments; i++) {
        const struct prober_request *request = &buffer->requests[i / feed->segments];
        if (buffer->items[i].status == LS_DATA)
            request->split->labels[request->video] = -1;
    }
    feed->filling = 1 - feed->filling;
    prober_feed_start(feed, next, next_count);
    if (buffer->count > 0)
        LS_TRY(frozen_encode(prober->frozen, buffer->pixels));
done:
    return st;
}

void prober_pool(float *out, const float *tokens, int64_t count, int dim)
{
    for (int c = 0; c < dim; c++) {
        double sum = 0.0;
        for (int64_t t = 0; t < count; t++)
            sum += (double)tokens[t * dim + c];
        out[c] = (float)(sum / (double)count);
    }
}
