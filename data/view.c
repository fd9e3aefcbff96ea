/* A list is handed out item by item by a counter under a lock; each thread has its own decoder. */
#include "data/view.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/files.h"
#include "core/log.h"
#include "core/random.h"
#include "data/clip.h"
#include "data/transform.h"

enum { MESSAGE_BYTES = 512 };

struct maker {
    struct view_pool *pool;
    pthread_t thread;
    bool runs;
    struct clip_reader *reader;
    struct transform *transform;
    int64_t *frames; /* [clip_frames] */
    struct transform_view view;
    struct view_item *item;
    int written;
};

struct view_pool {
    struct view_options options;
    struct maker *makers;
    int maker_count;
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    struct view_item *items;
    int count, next, finished;
    bool closing;
    ls_status failure; /* of the running list, beside LS_DATA */
    char message[MESSAGE_BYTES];
};

struct view_window view_window(int64_t video_frames, int clip_frames, int64_t step, int segments,
                               int segment)
{
    const int64_t clip = clip_frames * step;
    const int64_t part = video_frames / segments;
    if (part > clip)
        return (struct view_window){.begin = part * segment,
                                    .frames = part,
                                    .room = clip_window_count(part, clip_frames, step)};
    const int64_t spare = video_frames > clip ? video_frames - clip : 0;
    const int64_t begin = segments > 1 ? spare / (segments - 1) * segment : 0;
    return (struct view_window){
        .begin = begin, .frames = video_frames > clip ? clip : video_frames, .room = 1};
}

struct crop_box view_box(const struct view_options *options, int view, int width, int height)
{
    const int side = width < height ? width : height;
    const int spare = (width > height ? width : height) - side;
    if (options->views == 1) {
        const int small = (int)fmax(1.0, rint(side * options->test_scale));
        return (struct crop_box){.left = (width - small) / 2,
                                 .top = (height - small) / 2,
                                 .width = small,
                                 .height = small};
    }
    const int at = spare / (options->views - 1) * view;
    return (struct crop_box){.left = width > height ? at : 0,
                             .top = width > height ? 0 : at,
                             .width = side,
                             .height = side};
}

static size_t frame_bytes(const struct view_options *options)
{
    return (size_t)options->size * (size_t)options->size * 3;
}

/* One decoded frame into its place; a repeated one has its pixels already. */
static ls_status take_frame(void *context, int position, const struct AVFrame *frame)
{
    struct maker *maker = context;
    const size_t bytes = frame_bytes(&maker->pool->options);
    uint8_t *out = maker->item->pixels + (size_t)position * bytes;
    maker->written++;
    if (position > 0 && maker->frames[position] == maker->frames[position - 1]) {
        memcpy(out, out - bytes, bytes);
        return LS_OK;
    }
    return transform_frame(maker->transform, out, frame, &maker->view);
}

static void choose_frames(struct maker *maker, const struct dataset_video *video)
{
    const struct view_options *o = &maker->pool->options;
    const struct view_item *item = maker->item;
    const int64_t step = clip_frame_step(video->average_fps, o->fps, o->frame_step);
    const struct view_window window =
        view_window(video->frames, o->clip_frames, step, o->segments, item->segment);
    int64_t at = window.room / 2;
    if (item->random) {
        struct random_stream stream;
        random_open(&stream, o->seed, RANDOM_WINDOW, (uint64_t)item->step,
                    (uint32_t)item->micro_batch,
                    (uint32_t)(item->sample * o->segments + item->segment));
        at = (int64_t)random_below(&stream, (uint64_t)window.room);
    }
    clip_numbers(maker->frames, window.frames, o->clip_frames, step, at);
    for (int t = 0; t < o->clip_frames; t++)
        maker->frames[t] += window.begin;
}

static void choose_crop(struct maker *maker, const struct dataset_video *video)
{
    const struct view_options *o = &maker->pool->options;
    const struct view_item *item = maker->item;
    maker->view = (struct transform_view){.orientation =
                                              dataset_video_orientation(item->dataset, item->video),
                                          .shown_width = video->width,
                                          .shown_height = video->height,
                                          .width = o->size,
                                          .height = o->size};
    if (!item->random) {
        maker->view.box = view_box(o, item->view, video->width, video->height);
        return;
    }
    struct random_stream stream;
    random_open(&stream, o->seed, RANDOM_CROP, (uint64_t)item->step, (uint32_t)item->micro_batch,
                (uint32_t)(item->sample * o->segments + item->segment));
    maker->view.box = crop_draw(&stream, o->scale, o->ratio, video->width, video->height);
}

static ls_status make(struct maker *maker)
{
    ls_status st = LS_OK;
    const struct view_options *o = &maker->pool->options;
    const struct view_item *item = maker->item;
    const struct dataset_video video = dataset_video(item->dataset, item->video);
    if (video.frames < 1 || video.width < 1 || video.height < 1)
        return LS_FAIL(LS_DATA, "%s: %lld frames of %d x %d", video.name, (long long)video.frames,
                       video.width, video.height);
    choose_frames(maker, &video);
    choose_crop(maker, &video);
    maker->written = 0;
    LS_TRY(clip_reader_read(maker->reader, item->dataset, item->video, maker->frames,
                            o->clip_frames, take_frame, maker));
    if (maker->written != o->clip_frames)
        st = LS_FAIL(LS_DATA, "%s: %d of %d frames were decoded", video.name, maker->written,
                     o->clip_frames);
done:
    return st;
}

/* Under the lock. */
static void finish_item(struct view_pool *pool, struct view_item *item, ls_status st)
{
    item->status = st;
    if (st == LS_DATA && item->segment == 0 && item->view == 0)
        log_warn("video_left_out reason=\"%s\"", status_message());
    if (st != LS_OK && st != LS_DATA && pool->failure == LS_OK) {
        pool->failure = st;
        (void)snprintf(pool->message, sizeof pool->message, "%s", status_message());
    }
    status_clear();
    if (++pool->finished == pool->count)
        (void)pthread_cond_signal(&pool->done);
}

static void *run(void *context)
{
    struct maker *maker = context;
    struct view_pool *pool = maker->pool;
    (void)pthread_mutex_lock(&pool->lock);
    while (!pool->closing) {
        if (pool->next == pool->count) {
            (void)pthread_cond_wait(&pool->work, &pool->lock);
            continue;
        }
        maker->item = &pool->items[pool->next++];
        (void)pthread_mutex_unlock(&pool->lock);
        const ls_status st = make(maker);
        (void)pthread_mutex_lock(&pool->lock);
        finish_item(pool, maker->item, st);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static ls_status open_maker(struct view_pool *pool, struct maker *maker)
{
    ls_status st = LS_OK;
    maker->pool = pool;
    LS_TRY(core_alloc(&maker->frames, pool->options.clip_frames));
    LS_TRY(clip_reader_open(&maker->reader));
    LS_TRY(transform_open(&maker->transform));
    if (pthread_create(&maker->thread, NULL, run, maker) != 0) {
        st = LS_FAIL(LS_FAILED, "cannot start a decoding thread");
        goto done;
    }
    maker->runs = true;
done:
    return st;
}

ls_status view_pool_open(struct view_pool **out, const struct view_options *options, int threads)
{
    ls_status st = LS_OK;
    struct view_pool *pool = NULL;
    LS_TRY(core_alloc(&pool, 1));
    pool->options = *options;
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->work, NULL);
    (void)pthread_cond_init(&pool->done, NULL);
    LS_TRY(core_alloc(&pool->makers, threads));
    for (int i = 0; i < threads; i++) {
        pool->maker_count = i + 1;
        LS_TRY(open_maker(pool, &pool->makers[i]));
    }
    *out = pool;
    pool = NULL;
done:
    view_pool_close(&pool);
    return st;
}

void view_pool_close(struct view_pool **pool)
{
    struct view_pool *p = *pool;
    if (p == NULL)
        return;
    (void)pthread_mutex_lock(&p->lock);
    p->closing = true;
    (void)pthread_cond_broadcast(&p->work);
    (void)pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->maker_count; i++) {
        struct maker *maker = &p->makers[i];
        if (maker->runs)
            (void)pthread_join(maker->thread, NULL);
        clip_reader_close(&maker->reader);
        transform_close(&maker->transform);
        free(maker->frames);
    }
    (void)pthread_cond_destroy(&p->work);
    (void)pthread_cond_destroy(&p->done);
    (void)pthread_mutex_destroy(&p->lock);
    free(p->makers);
    free(p);
    *pool = NULL;
}

void view_pool_start(struct view_pool *pool, struct view_item *items, int count)
{
    (void)pthread_mutex_lock(&pool->lock);
    pool->items = items;
    pool->count = count;
    pool->next = pool->finished = 0;
    pool->failure = LS_OK;
    (void)pthread_cond_broadcast(&pool->work);
    (void)pthread_mutex_unlock(&pool->lock);
}

ls_status view_pool_wait(struct view_pool *pool, double timeout_s)
{
    ls_status st = LS_OK;
    struct timespec end;
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += (time_t)ceil(timeout_s);
    (void)pthread_mutex_lock(&pool->lock);
    int waited = 0;
    while (pool->finished < pool->count && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&pool->done, &pool->lock, &end);
    if (pool->finished < pool->count)
        st = LS_FAIL(LS_TIMEOUT, "%d of %d clips were decoded in %.0f s", pool->finished,
                     pool->count, timeout_s);
    else if (pool->failure != LS_OK)
        st = status_adopt(pool->failure, pool->message);
    (void)pthread_mutex_unlock(&pool->lock);
    return st;
}
