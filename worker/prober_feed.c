/* Two buffers: while the clips of one are encoded, threads decode into the other.  And passes in
 * which every video of a split is wanted once. */
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "worker/prober.h"
#include "worker/signals.h"

static const double batch_limit_s = 900;

ls_status prober_feed_open(struct prober *prober)
{
    ls_status st = LS_OK;
    const struct config_probe *config = prober->config;
    const struct config *base = &config->base;
    struct prober_feed *feed = &prober->feed;
    const struct view_options options = {
        .clip_frames = config->frames_per_clip,
        .frame_step = base->data.frame_step,
        .fps = base->data.fps,
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
                               .video = request->split->numbers[request->video],
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

static int64_t batches_of(const struct prober_pass *pass)
{
    const int64_t videos = pass->prober->config->base.data.batch_size;
    return (pass->split->count + videos - 1) / videos;
}

static int videos_of(const struct prober_pass *pass, int64_t batch)
{
    const int64_t videos = pass->prober->config->base.data.batch_size;
    const int64_t left = pass->split->count - batch * videos;
    return (int)(left < videos ? left : videos);
}

/* The requests of micro-batch and view `number`; beyond the last one none. */
static int request(const struct prober_pass *pass, struct prober_request *out, int64_t number)
{
    const int64_t batch = number / pass->views;
    if (batch >= batches_of(pass))
        return 0;
    const int count = videos_of(pass, batch);
    for (int i = 0; i < count; i++)
        out[i] = (struct prober_request){
            .split = pass->split,
            .video = pass->split->first + batch * pass->prober->config->base.data.batch_size + i,
            .view = (int)(number % pass->views)};
    return count;
}

ls_status prober_pass_run(const struct prober_pass *pass)
{
    ls_status st = LS_OK;
    struct prober *prober = pass->prober;
    const int64_t most = prober->config->base.data.batch_size;
    const int64_t numbers = batches_of(pass) * pass->views;
    struct prober_request *next = NULL;
    LS_TRY(core_alloc(&next, most));
    prober_feed_start(&prober->feed, next, request(pass, next, 0));
    for (int64_t number = 0; number < numbers; number++) {
        const int64_t batch = number / pass->views;
        trainer_phase(prober->job, "pass", batch, batch_limit_s);
        LS_TRY(prober_feed_take(prober, next, request(pass, next, number + 1)));
        LS_TRY(pass->use(pass, pass->split->first + batch * most, videos_of(pass, batch),
                         (int)(number % pass->views)));
        if (worker_stop_asked()) {
            st = LS_FAIL(LS_STOP, "stopped; it begins anew when it is started again");
            goto done;
        }
    }
    LS_TRY(view_pool_wait(prober->feed.pool, batch_limit_s));
done:
    free(next);
    return st;
}
