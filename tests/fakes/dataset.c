/* Videos in memory, and what the tests of the loader share. */
#include "tests/fakes/dataset.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libavutil/frame.h>

#include "core/clock.h"
#include "data/dataset.h"
#include "data/frame_times.h"

struct clip_reader {
    AVFrame *frame;
};

static atomic_int reads;
atomic_bool fake_let_go;

const char *dataset_path(const struct dataset *dataset)
{
    return dataset->path;
}

int64_t dataset_video_count(const struct dataset *dataset)
{
    return dataset->count;
}

enum { WIDTH = 48, HEIGHT = 32 };

struct dataset_video dataset_video(const struct dataset *dataset, int64_t video)
{
    static const char *const names[] = {"a.mp4", "b.mp4", "c.mp4"};
    return (struct dataset_video){.name = names[video % 3],
                                  .label = -1,
                                  .frames = dataset->frames,
                                  .width = WIDTH,
                                  .height = HEIGHT,
                                  .average_fps = 30.0,
                                  .weight = !dataset->weighted ? 1.0
                                            : video == 0       ? 0.0
                                                               : 2.0};
}

struct video_orientation dataset_video_orientation(const struct dataset *dataset, int64_t video)
{
    (void)dataset;
    (void)video;
    return (struct video_orientation){0, false};
}

ls_status clip_reader_open(struct clip_reader **out)
{
    struct clip_reader *reader = calloc(1, sizeof *reader);
    assert_non_null(reader);
    reader->frame = av_frame_alloc();
    assert_non_null(reader->frame);
    reader->frame->format = AV_PIX_FMT_YUV420P;
    reader->frame->width = WIDTH;
    reader->frame->height = HEIGHT;
    assert_true(av_frame_get_buffer(reader->frame, 0) >= 0);
    *out = reader;
    return LS_OK;
}

void clip_reader_close(struct clip_reader **reader)
{
    if (*reader == NULL)
        return;
    av_frame_free(&(*reader)->frame);
    free(*reader);
    *reader = NULL;
}

/* The grey level of a frame, by which it is known again. */
uint8_t fake_level(int dataset, int64_t video, int64_t frame)
{
    return (uint8_t)(20 + ((int64_t)dataset * 57 + video * 31 + frame * 7) % 200);
}

static void paint(AVFrame *frame, uint8_t level)
{
    frame->color_range = AVCOL_RANGE_JPEG;
    for (int y = 0; y < HEIGHT; y++)
        memset(frame->data[0] + (ptrdiff_t)y * frame->linesize[0], level, WIDTH);
    for (int plane = 1; plane < 3; plane++)
        for (int y = 0; y < HEIGHT / 2; y++)
            memset(frame->data[plane] + (ptrdiff_t)y * frame->linesize[plane], 128, WIDTH / 2);
}

ls_status clip_reader_read(struct clip_reader *reader, const struct dataset *dataset, int64_t video,
                           const int64_t *frames, int count, clip_frame_callback callback,
                           void *context)
{
    ls_status st = LS_OK;
    const char *name = dataset_video(dataset, video).name;
    const enum fake_behaviour behaviour =
        dataset->behaviour != NULL ? dataset->behaviour(video) : FAKE_GOOD;
    const int read = atomic_fetch_add(&reads, 1);
    if (dataset->restless)
        clock_sleep_s(0.0002 * (read * 7 % 5));
    if (behaviour == FAKE_BAD_AT_START)
        return LS_FAIL(LS_DATA, "%s: bad from the start", name);
    if (behaviour == FAKE_NO_SHARD)
        return LS_FAIL(LS_IO, "shard-00001.h5: cannot read");
    while (behaviour == FAKE_HANGS && !atomic_load(&fake_let_go))
        clock_sleep_s(0.001);
    for (int i = 0; i < count; i++) {
        if (behaviour == FAKE_BAD_MIDWAY && i == count / 2)
            return LS_FAIL(LS_DATA, "%s: bad in the middle", name);
        if (behaviour == FAKE_SHORT && i == count - 1)
            return LS_OK;
        paint(reader->frame, fake_level(dataset->number, video, frames[i]));
        LS_TRY(callback(context, i, reader->frame));
    }
done:
    return st;
}

/* Frame n is shown at n / 30 s, in the second half of the video at twice the distance. */
static double fake_time(const struct dataset *dataset, int64_t frame)
{
    const int64_t half = dataset->frames / 2;
    return (double)(frame < half ? frame : 2 * frame - half) / 30.0;
}

struct frame_times {
    int opened;
};

ls_status frame_times_open(struct frame_times **out)
{
    *out = calloc(1, sizeof **out);
    assert_non_null(*out);
    return LS_OK;
}

void frame_times_close(struct frame_times **times)
{
    free(*times);
    *times = NULL;
}

ls_status frame_times_span(double *out, struct frame_times *times, const struct dataset *dataset,
                           int64_t video)
{
    (void)times;
    (void)video;
    *out = fake_time(dataset, dataset->frames - 1);
    return LS_OK;
}

ls_status frame_times_nearest(int64_t *out, struct frame_times *times,
                              const struct dataset *dataset, int64_t video, const double *seconds,
                              int count)
{
    (void)times;
    (void)video;
    for (int i = 0; i < count; i++) {
        out[i] = 0;
        for (int64_t n = 1; n < dataset->frames; n++)
            if (fabs(fake_time(dataset, n) - seconds[i]) <
                fabs(fake_time(dataset, out[i]) - seconds[i]))
                out[i] = n;
    }
    return LS_OK;
}

void fake_setting_init(struct fake_setting *setting, int count)
{
    static const struct config_mask mask = {.num_blocks = 2,
                                            .spatial_scale = {0.3, 0.3},
                                            .temporal_scale = {1.0, 1.0},
                                            .aspect_ratio = {0.75, 1.5},
                                            .max_temporal_keep = 1.0};
    static const char *const paths[] = {"/data/one", "/data/two", "/data/three"};
    memset(setting, 0, sizeof *setting);
    for (int d = 0; d < count; d++) {
        setting->configs[d] = (struct config_dataset){.weight = 1.0, .frames_per_clip = 8};
        setting->made[d] = (struct dataset){
            .path = paths[d], .number = d, .count = 20 + 3 * d, .frames = 100, .restless = true};
        setting->datasets[d] = &setting->made[d];
    }
    setting->config = (struct config){
        .micro_batches = 4,
        .data = {.datasets = setting->configs,
                 .dataset_count = count,
                 .batch_size = 3,
                 .crop_height = 16,
                 .crop_width = 24,
                 .patch_size = 4,
                 .tubelet_size = 2,
                 .fps = 4.0,
                 .num_workers = 2,
                 .max_bad_share = 0.05},
        .data_aug = {.random_resize_scale = {0.3, 1.0},
                     .random_resize_aspect_ratio = {0.75, 1.35},
                     .horizontal_flip = true},
        .masks = {mask, mask},
        .mask_count = 2,
        .meta = {.seed = 239},
        .run = {.prefetch = 2},
    };
    setting->config.masks[1].num_blocks = 1;
    setting->config.masks[1].spatial_scale[0] = setting->config.masks[1].spatial_scale[1] = 0.6;
}

struct loader *fake_loader_open(struct fake_setting *setting, int64_t first_step, int micro_first,
                                int micro_count)
{
    struct loader *loader = NULL;
    ls_status st = loader_open(&loader, &setting->config, setting->datasets, first_step,
                               micro_first, micro_count, NULL, 0);
    if (st != LS_OK)
        fail_msg("loader_open: %s", status_text());
    return loader;
}

static struct fake_seen look_at(const struct loader_batch *batch, const struct config *config)
{
    size_t clip = (size_t)batch->frames * (size_t)config->data.crop_height *
                  (size_t)config->data.crop_width * 3;
    struct fake_seen seen;
    memset(&seen, 0, sizeof seen);
    seen.step = batch->step;
    seen.micro_batch = batch->micro_batch;
    seen.frames = batch->frames;
    seen.frames_group = batch->frames_group;
    seen.draw_hash = batch->draw_hash;
    seen.pixels = hash_buffer(batch->pixels, clip * (size_t)batch->clips);
    for (int g = 0; g < batch->group_count; g++) {
        const struct loader_tokens *lists[2] = {&batch->context[g], &batch->predicted[g]};
        for (int k = 0; k < 2; k++)
            seen.lists =
                hash_add(seen.lists, hash_buffer_at(lists[k]->tokens,
                                                    (size_t)batch->clips * (size_t)lists[k]->count *
                                                        sizeof(int32_t),
                                                    (uint64_t)g, (uint64_t)k));
    }
    for (int b = 0; b < batch->clips; b++) {
        const struct loader_clip_source *source = &batch->sources[b];
        const int64_t numbers[] = {source->dataset, source->video, source->first_frame,
                                   source->last_frame, source->replaced};
        seen.sources =
            hash_add(seen.sources, hash_buffer_at(numbers, sizeof numbers, 0, (uint64_t)b));
        seen.replaced += source->replaced;
    }
    return seen;
}

void fake_take(struct fake_seen *out, int count, struct loader *loader, const struct config *config)
{
    for (int i = 0; i < count; i++) {
        struct loader_batch *batch = NULL;
        ls_status st = loader_next(loader, &batch, 100.0);
        if (st != LS_OK)
            fail_msg("batch %d: %s", i, status_text());
        out[i] = look_at(batch, config);
        loader_release(loader, batch);
    }
}
