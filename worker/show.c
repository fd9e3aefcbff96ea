/* Reading the request, opening what it names, and the order of the rest. */
#include "worker/show.h"

#include <cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/log.h"
#include "worker/device.h"

enum { REQUEST_BYTES_MAX = 1 << 16 };

static ls_status take_text(char **out, const cJSON *root, const char *key, const char *path)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, key));
    if (text == NULL)
        return LS_FAIL(LS_DATA, "%s: no %s", path, key);
    return core_format(out, "%s", text);
}

/* Whole numbers in [low, high]; the launcher has checked what a person gave. */
static ls_status take_number(int64_t *out, const cJSON *root, const char *key, int64_t low,
                             int64_t high, const char *path)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, key);
    const double value = cJSON_IsNumber(item) ? cJSON_GetNumberValue(item) : (double)low - 1;
    if (!(value >= (double)low && value <= (double)high))
        return LS_FAIL(LS_DATA, "%s: %s is missing or out of range", path, key);
    *out = (int64_t)value;
    return LS_OK;
}

static ls_status fill_request(struct show_request *out, const cJSON *root, const char *path)
{
    ls_status st = LS_OK;
    int64_t frames = 0;
    int64_t frame_step = 0;
    int64_t size = 0;
    int64_t threads = 0;
    int64_t masks = 0;
    LS_TRY(take_text(&out->checkpoint, root, "checkpoint", path));
    LS_TRY(take_text(&out->dataset, root, "dataset", path));
    LS_TRY(take_text(&out->output, root, "output", path));
    LS_TRY(take_number(&out->video, root, "video", 0, INT64_C(1) << 40, path));
    LS_TRY(take_number(&out->start, root, "start", -1, INT64_C(1) << 40, path));
    LS_TRY(take_number(&out->seed, root, "seed", 0, INT64_C(1) << 52, path));
    LS_TRY(take_number(&frames, root, "frames", 0, 1 << 16, path));
    LS_TRY(take_number(&frame_step, root, "frame_step", 0, 1 << 16, path));
    LS_TRY(take_number(&size, root, "size", 0, 1 << 16, path));
    LS_TRY(take_number(&threads, root, "threads", 0, 1024, path));
    LS_TRY(take_number(&masks, root, "masks", 1, 1 << 16, path));
    out->frames = (int)frames;
    out->frame_step = (int)frame_step;
    out->size = (int)size;
    out->threads = (int)threads;
    out->masks = (int)masks;
    const char *dot = strrchr(out->output, '.');
    out->film = dot != NULL && strcmp(dot, ".mp4") == 0;
done:
    return st;
}

static ls_status read_request(struct show_request *out, const char *folder)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *text = NULL;
    cJSON *root = NULL;
    LS_TRY(core_format(&path, "%s/show.json", folder));
    LS_TRY(files_read(&text, NULL, path, REQUEST_BYTES_MAX));
    root = cJSON_Parse(text);
    LS_TRY(fill_request(out, root, path));
done:
    cJSON_Delete(root);
    free(text);
    free(path);
    return st;
}

static void close_request(struct show_request *request)
{
    free(request->checkpoint);
    free(request->dataset);
    free(request->output);
}

/* A model that only predicts, with the checkpoint's weights. */
static ls_status open_model(struct jepa **out, const struct frozen_source *source,
                            const struct worker_device *device, const struct show_clip *clip)
{
    ls_status st = LS_OK;
    const struct config *config = source->config;
    float *weights = NULL;
    float *ema = NULL;
    const struct jepa_options options = {.shape = source->shape,
                                         .dtype = device->dtype,
                                         .clips = 1,
                                         .frames = clip->count,
                                         .height = clip->size,
                                         .width = clip->size,
                                         .groups = config->mask_count,
                                         .bucket_tokens = device->bucket_tokens,
                                         .loss_exponent = config->loss_exp,
                                         .activation_checkpointing = true,
                                         .whole_target = true,
                                         .forward_only = true};
    LS_TRY(jepa_open(out, &options, device->model.table, device->model.device));
    const struct parameters *parameters = jepa_parameters(*out);
    LS_TRY(core_alloc(&weights, parameters->flat_count));
    LS_TRY(core_alloc(&ema, parameters->encoder_count));
    LS_TRY(frozen_source_read_all(weights, ema, source, parameters));
    LS_TRY(jepa_state_upload(
        *out, &(struct jepa_state){.weights = weights, .count = parameters->flat_count}));
    LS_TRY(jepa_state_upload(*out,
                             &(struct jepa_state){.ema = ema, .count = parameters->encoder_count}));
done:
    free(weights);
    free(ema);
    return st;
}

/* The mask token that was trained with clips of this length, or else the first one. */
static int mask_token_of(const struct config *config, int frames)
{
    int group = 0;
    for (int d = 0; d < config->data.dataset_count; d++) {
        bool seen = false;
        for (int e = 0; e < d; e++)
            seen = seen || config->data.datasets[e].frames_per_clip ==
                               config->data.datasets[d].frames_per_clip;
        if (config->data.datasets[d].frames_per_clip == frames)
            return group;
        group += seen ? 0 : 1;
    }
    return 0;
}

static void tell(const struct show_drawing *d)
{
    const double *shares = d->look->shares;
    (void)printf("%s: %d frames of %s, %" PRId64 " to %" PRId64
                 "; components hold %.0f, %.0f and %.0f %% of the variance; error of a hidden "
                 "token %.4f over %d masks\n",
                 d->request->output, d->clip->count, d->clip->video.name, d->clip->numbers[0],
                 d->clip->numbers[d->clip->count - 1], 100 * shares[0], 100 * shares[1],
                 100 * shares[2], d->look->error_mean, d->look->draws);
}

static ls_status look_and_draw(const struct show_request *request,
                               const struct frozen_source *source, const struct dataset *dataset,
                               const struct worker_device *device)
{
    ls_status st = LS_OK;
    struct show_clip clip = {0};
    struct show_look look = {0};
    struct show_model model = {.config = source->config};
    LS_TRY(show_clip_open(&clip, request, source->config, dataset));
    LS_TRY(open_model(&model.jepa, source, device, &clip));
    model.mask_token = mask_token_of(source->config, clip.count);
    LS_TRY(show_look_open(&look, &model, &clip, request));
    const struct show_drawing drawing = {
        .request = request, .clip = &clip, .look = &look, .checkpoint_step = source->info->step};
    LS_TRY(show_draw(&drawing));
    tell(&drawing);
done:
    jepa_close(&model.jepa);
    show_look_close(&look);
    show_clip_close(&clip);
    return st;
}

ls_status show_run(const struct worker_options *options)
{
    ls_status st = LS_OK;
    struct show_request request = {0};
    struct frozen_source source = {0};
    struct worker_device device = {0};
    struct dataset *dataset = NULL;
    log_open(0, LOG_LEVEL_WARN);
    LS_TRY(read_request(&request, options->run));
    LS_TRY(frozen_source_open(&source, request.checkpoint));
    LS_TRY(dataset_open(&dataset, request.dataset));
    if (request.video >= dataset_video_count(dataset)) {
        st = LS_FAIL(LS_USAGE, "%s: no video %" PRId64 " of %" PRId64, request.dataset,
                     request.video, dataset_video_count(dataset));
        goto done;
    }
    source.config->run.threads = request.threads;
    LS_TRY(worker_device_open(&device, source.config,
                              options->device_given ? options->device : CONFIG_DEVICE_AUTO, 0, 1));
    LS_TRY(look_and_draw(&request, &source, dataset, &device));
done:
    worker_device_close(&device);
    dataset_close(&dataset);
    frozen_source_close(&source);
    close_request(&request);
    return st;
}
