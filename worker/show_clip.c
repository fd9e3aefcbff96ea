/* Which frames, and their pixels twice: as the model sees them and as they are drawn. */
#include <inttypes.h>
#include <stdlib.h>

#include "core/files.h"
#include "data/clip.h"
#include "data/excerpt.h"
#include "worker/show.h"

enum { PICTURE_SIDE = 176, FILM_SIDE = 320, REDUCE_MOST = 6, TOKENS_MOST = 1 << 20 };

static ls_status choose_size(struct show_clip *out, const struct show_request *request,
                             const struct config *config)
{
    const struct config_data *data = &config->data;
    const int trained = data->dataset_count > 0 ? data->datasets[0].frames_per_clip : 16;
    out->count = request->frames > 0 ? request->frames : trained;
    out->size = request->size > 0 ? request->size : data->crop_height;
    if (request->size == 0 && data->crop_height != data->crop_width)
        return LS_FAIL(LS_USAGE,
                       "the model was trained on frames of %d x %d: say which square to take "
                       "(--size)",
                       data->crop_height, data->crop_width);
    if (out->count % data->tubelet_size != 0)
        return LS_FAIL(LS_USAGE, "--frames %d: the model takes multiples of %d (its tubelet_size)",
                       out->count, data->tubelet_size);
    if (out->size % data->patch_size != 0)
        return LS_FAIL(LS_USAGE, "--size %d: the model takes multiples of %d (its patch_size)",
                       out->size, data->patch_size);
    const int64_t across = out->size / data->patch_size;
    if (out->count / data->tubelet_size * across * across > TOKENS_MOST)
        return LS_FAIL(LS_USAGE, "%d frames of %d x %d pixels: too many tokens", out->count,
                       out->size, out->size);
    return LS_OK;
}

static ls_status choose_frames(struct show_clip *out, const struct show_request *request,
                               const struct config *config)
{
    ls_status st = LS_OK;
    const struct dataset_video *video = &out->video;
    const double fps = request->frame_step > 0 ? 0.0 : config->data.fps;
    const int step = request->frame_step > 0 ? request->frame_step : config->data.frame_step;
    if (video->frames < 1)
        return LS_FAIL(LS_DATA, "%s: no frames", video->name);
    out->step = clip_frame_step(video->average_fps, fps, step);
    const int64_t windows = clip_window_count(video->frames, out->count, out->step);
    if (request->start >= windows)
        return LS_FAIL(LS_USAGE,
                       "--start %" PRId64 ": %d frames, every %" PRId64 " of the video's %" PRId64
                       ", begin at %" PRId64 " at the latest",
                       request->start, out->count, out->step, video->frames, windows - 1);
    LS_TRY(core_alloc(&out->numbers, out->count));
    clip_numbers(out->numbers, video->frames, out->count, out->step,
                 request->start >= 0 ? request->start : windows / 2);
done:
    return st;
}

ls_status show_clip_open(struct show_clip *out, const struct show_request *request,
                         const struct config *config, const struct dataset *dataset)
{
    ls_status st = LS_OK;
    *out = (struct show_clip){.video = dataset_video(dataset, request->video)};
    LS_TRY(choose_size(out, request, config));
    LS_TRY(choose_frames(out, request, config));
    const int native = out->video.width < out->video.height ? out->video.width : out->video.height;
    out->side = request->film ? FILM_SIDE : PICTURE_SIDE;
    out->reduce = native / out->side;
    out->reduce = out->reduce < 1 ? 1 : out->reduce > REDUCE_MOST ? REDUCE_MOST : out->reduce;
    const int64_t large = (int64_t)out->side * out->reduce;
    LS_TRY(core_alloc(&out->pixels, (int64_t)out->count * out->size * out->size * 3));
    LS_TRY(core_alloc(&out->drawn, out->count * large * large * 3));
    const struct excerpt_size sizes[] = {{.side = out->size, .pixels = out->pixels},
                                         {.side = (int)large, .pixels = out->drawn}};
    LS_TRY(excerpt_read(dataset, request->video, out->numbers, out->count, sizes, 2));
done:
    if (st != LS_OK)
        show_clip_close(out);
    return st;
}

void show_clip_close(struct show_clip *clip)
{
    free(clip->numbers);
    free(clip->pixels);
    free(clip->drawn);
    *clip = (struct show_clip){0};
}
