/* Draw, decode, transform; and the rule by which a bad video is replaced. */
#include "data/clip_maker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/fault.h"
#include "core/files.h"
#include "data/clip.h"
#include "data/crop.h"
#include "data/erase.h"
#include "data/frame_times.h"
#include "data/transform.h"

/* With max_bad_share 1 nothing else ends the draws of a sample. */
enum { DRAWS_IN_A_ROW_MAX = 1000, LAST_BYTES = 256 };

struct clip_maker {
    const struct clip_plan *plan;
    void *context; /* of plan->failed */
    struct clip_reader *reader;
    struct transform *transform;
    struct frame_times *times; /* NULL unless frames are chosen by time */
    double *seconds;
    struct eraser *eraser; /* NULL unless clips are erased */
    int64_t *frames;       /* numbers of the current clip */
    /* The current clip, for the frame callback. */
    struct transform_view view;
    struct crop_box first_box, last_box; /* alike unless the box moves */
    uint8_t *pixels;
    int frame_count, written;
    size_t frame_bytes;
    atomic_int dataset; /* busy with; -1: nothing */
    _Atomic int64_t video;
};

ls_status clip_maker_open(struct clip_maker **out, const struct clip_plan *plan, void *context)
{
    ls_status st = LS_OK;
    struct clip_maker *maker = NULL;
    int frames = 1;
    for (int g = 0; g < draw_group_count(plan->draw); g++)
        if (draw_group_frames(plan->draw, g) > frames)
            frames = draw_group_frames(plan->draw, g);
    LS_TRY(core_alloc(&maker, 1));
    maker->plan = plan;
    maker->context = context;
    atomic_init(&maker->dataset, -1);
    LS_TRY(core_alloc(&maker->frames, frames));
    LS_TRY(clip_reader_open(&maker->reader));
    LS_TRY(transform_open(&maker->transform));
    if (plan->config->data.sampling == CONFIG_SAMPLING_TIMESTAMPS) {
        LS_TRY(frame_times_open(&maker->times));
        LS_TRY(core_alloc(&maker->seconds, frames));
    }
    if (plan->config->data_aug.reprob > 0.0)
        LS_TRY(eraser_open(&maker->eraser));
    *out = maker;
    maker = NULL;
done:
    clip_maker_close(&maker);
    return st;
}

void clip_maker_close(struct clip_maker **maker)
{
    if (*maker == NULL)
        return;
    clip_reader_close(&(*maker)->reader);
    transform_close(&(*maker)->transform);
    frame_times_close(&(*maker)->times);
    eraser_close(&(*maker)->eraser);
    free((*maker)->seconds);
    free((*maker)->frames);
    free(*maker);
    *maker = NULL;
}

bool clip_maker_busy(struct clip_maker *maker, int *dataset, int64_t *video)
{
    *dataset = atomic_load(&maker->dataset);
    *video = atomic_load(&maker->video);
    return *dataset >= 0;
}

double clip_bad_limit(double max_bad_share, int64_t draws)
{
    if (!(max_bad_share > 0.0))
        return 0.0;
    const double mean = max_bad_share * (double)draws;
    return mean + 4.0 * sqrt(mean * (1.0 - max_bad_share)) + 3.0;
}

/* One decoded frame into its place.  Frame numbers never fall, so a repeated one has its pixels
 * already. */
static ls_status take_frame(void *context, int position, const struct AVFrame *frame)
{
    struct clip_maker *maker = context;
    (void)fault_point("frame");
    if (atomic_load_explicit(maker->plan->stop, memory_order_relaxed))
        return LS_FAIL(LS_STOP, "the loader is closed");
    if (position != maker->written || position >= maker->frame_count)
        return LS_FAIL(LS_DATA, "frame %d of a clip came in place %d", position, maker->written);
    uint8_t *out = maker->pixels + (size_t)position * maker->frame_bytes;
    maker->written++;
    const struct crop_box box =
        crop_between(maker->first_box, maker->last_box, position, maker->frame_count);
    const bool same_box = memcmp(&box, &maker->view.box, sizeof box) == 0;
    maker->view.box = box;
    if (position > 0 && same_box && maker->frames[position] == maker->frames[position - 1]) {
        memcpy(out, out - maker->frame_bytes, maker->frame_bytes);
        return LS_OK;
    }
    return transform_frame(maker->transform, out, frame, &maker->view);
}

/* The random numbers of one clip, drawn on through its replacements. */
struct clip_streams {
    struct draw_sample videos;
    struct random_stream window, crop;
};

/* Choose the frames; `*step` is how far apart they are, 0 when that is up to their times. */
static ls_status choose_frames(int64_t *step, struct clip_maker *maker, int64_t number,
                               const struct dataset *dataset, struct random_stream *window)
{
    ls_status st = LS_OK;
    const struct config_data *data = &maker->plan->config->data;
    const struct dataset_video video = dataset_video(dataset, number);
    if (maker->times != NULL) {
        double span = 0.0;
        *step = 0;
        LS_TRY(frame_times_span(&span, maker->times, dataset, number));
        clip_times(maker->seconds, span, maker->frame_count, data->fps, random_unit(window));
        LS_TRY(frame_times_nearest(maker->frames, maker->times, dataset, number, maker->seconds,
                                   maker->frame_count));
    } else {
        *step = clip_frame_step(video.average_fps, data->fps, data->frame_step);
        const int64_t windows = clip_window_count(video.frames, maker->frame_count, *step);
        clip_numbers(maker->frames, video.frames, maker->frame_count, *step,
                     (int64_t)random_below(window, (uint64_t)windows));
    }
done:
    return st;
}

/* Choose what part of the picture is taken: one box, or two that it moves between. */
static void choose_box(struct clip_maker *maker, const struct dataset_video *video,
                       struct random_stream *stream)
{
    const struct config_augmentation *how = &maker->plan->config->data_aug;
    maker->view.shown_width = video->width;
    maker->view.shown_height = video->height;
    maker->first_box = crop_draw(stream, how->random_resize_scale, how->random_resize_aspect_ratio,
                                 video->width, video->height);
    maker->last_box = maker->first_box;
    if (how->motion_shift)
        maker->last_box = crop_draw(stream, how->random_resize_scale,
                                    how->random_resize_aspect_ratio, video->width, video->height);
    maker->view.box = maker->first_box;
    maker->view.flip = crop_draw_flip(stream) && how->horizontal_flip;
}

/* Try one video.  Errors: LS_DATA when it cannot be decoded. */
static ls_status try_video(struct clip_maker *maker, struct loader_clip_source *source,
                           struct clip_streams *streams)
{
    ls_status st = LS_OK;
    int64_t step = 0;
    const struct dataset *dataset = maker->plan->datasets[source->dataset];
    const struct dataset_video video = dataset_video(dataset, source->video);
    if (video.frames < 1 || video.width < 1 || video.height < 1)
        return LS_FAIL(LS_DATA, "%s: %lld frames of %d x %d", video.name, (long long)video.frames,
                       video.width, video.height);
    LS_TRY(choose_frames(&step, maker, source->video, dataset, &streams->window));
    maker->view.orientation = dataset_video_orientation(dataset, source->video);
    choose_box(maker, &video, &streams->crop);
    maker->written = 0;
    LS_TRY(clip_reader_read(maker->reader, dataset, source->video, maker->frames,
                            maker->frame_count, take_frame, maker));
    if (maker->written != maker->frame_count)
        st = LS_FAIL(LS_DATA, "%s: %d of %d frames were decoded", video.name, maker->written,
                     maker->frame_count);
    source->frame_step = step;
    source->box = maker->first_box;
    source->last_box = maker->last_box;
    source->flip = maker->view.flip;
    source->first_frame = maker->frames[0];
    source->last_frame = maker->frames[maker->frame_count - 1];
done:
    return st;
}

/* Erase a part of the finished clip, or nothing: `data_aug.reprob`. */
static void erase(struct clip_maker *maker, struct clip_place place)
{
    const struct config *config = maker->plan->config;
    struct random_stream stream;
    struct crop_box box;
    if (maker->eraser == NULL)
        return;
    random_open(&stream, (uint64_t)config->meta.seed, RANDOM_ERASE, (uint64_t)place.step,
                (uint32_t)place.micro_batch, (uint32_t)place.sample);
    if (erase_draw(&box, &stream, config->data_aug.reprob, maker->view.width, maker->view.height))
        erase_fill(maker->pixels, maker->eraser, &stream, box, maker->frame_count,
                   maker->view.width, maker->view.height);
}

ls_status clip_maker_make(struct clip_maker *maker, uint8_t *pixels,
                          struct loader_clip_source *source, struct clip_place place)
{
    ls_status st = LS_OK;
    const struct config *config = maker->plan->config;
    const uint64_t seed = (uint64_t)config->meta.seed;
    const uint64_t step = (uint64_t)place.step;
    const uint32_t micro_batch = (uint32_t)place.micro_batch;
    const uint32_t sample = (uint32_t)place.sample;
    struct clip_streams streams;
    char last[LAST_BYTES] = "";
    draw_sample_open(&streams.videos, maker->plan->draw, place.step, place.micro_batch,
                     place.sample);
    random_open(&streams.window, seed, RANDOM_WINDOW, step, micro_batch, sample);
    random_open(&streams.crop, seed, RANDOM_CROP, step, micro_batch, sample);
    maker->pixels = pixels;
    maker->frame_count = draw_group_frames(maker->plan->draw, streams.videos.group);
    maker->view.width = config->data.crop_width;
    maker->view.height = config->data.crop_height;
    maker->frame_bytes = (size_t)config->data.crop_width * (size_t)config->data.crop_height * 3;
    for (int failed = 0;; failed++) {
        if (failed > clip_bad_limit(config->data.max_bad_share, failed) ||
            failed >= DRAWS_IN_A_ROW_MAX) {
            st = LS_FAIL(LS_DATA,
                         "%s: %d draws in a row could not be decoded (data.max_bad_share is %g), "
                         "the last: %s; run `lockstep verify` on it",
                         dataset_path(maker->plan->datasets[source->dataset]), failed,
                         config->data.max_bad_share, last);
            break;
        }
        draw_sample_next(&source->dataset, &source->video, &streams.videos, maker->plan->draw);
        source->replaced = failed;
        atomic_store(&maker->video, source->video);
        atomic_store(&maker->dataset, source->dataset);
        st = try_video(maker, source, &streams);
        if (st != LS_DATA)
            break;
        maker->plan->failed(maker->context, source->dataset, source->video, status_message());
        (void)snprintf(last, sizeof last, "%s", status_message());
        status_clear();
    }
    if (st == LS_OK)
        erase(maker, place);
    atomic_store(&maker->dataset, -1);
    return st;
}
