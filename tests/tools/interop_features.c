/* interop_features CHECKPOINT CLIP.rgb OUT MASK_TOKEN: what a checkpoint's model makes of one clip,
 * for tests/interop/compare.py.
 *
 * The clip is uint8 [frames, height, width, 3] as the checkpoint's config says.  Every third token
 * is predicted, the others are context.  Written as float32: OUT.target (target encoder, all
 * tokens), OUT.context (online encoder, context tokens), OUT.prediction. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/checkpoint.h"
#include "core/files.h"
#include "model/device.h"
#include "model/jepa.h"

enum { PREDICTED_EVERY = 3 };

struct clip {
    char *pixels;
    int32_t *context, *predicted;
    int tokens, context_count, predicted_count;
    struct jepa_batch batch;
};

static ls_status open_clip(struct clip *clip, const char *path, const struct config *config,
                           int mask_token)
{
    ls_status st = LS_OK;
    const struct config_data *data = &config->data;
    const int frames = data->datasets[0].frames_per_clip;
    const size_t wanted = (size_t)frames * (size_t)data->crop_height * (size_t)data->crop_width * 3;
    size_t bytes = 0;
    LS_TRY(files_read(&clip->pixels, &bytes, path, wanted));
    if (bytes != wanted) {
        st = LS_FAIL(LS_DATA, "%s: %zu bytes, not %zu", path, bytes, wanted);
        goto done;
    }
    clip->tokens = frames / data->tubelet_size * (data->crop_height / data->patch_size) *
                   (data->crop_width / data->patch_size);
    LS_TRY(core_alloc(&clip->context, clip->tokens));
    LS_TRY(core_alloc(&clip->predicted, clip->tokens));
    for (int t = 0; t < clip->tokens; t++)
        if (t % PREDICTED_EVERY == PREDICTED_EVERY - 1)
            clip->predicted[clip->predicted_count++] = t;
        else
            clip->context[clip->context_count++] = t;
    clip->batch = (struct jepa_batch){.pixels = clip->pixels,
                                      .clips = 1,
                                      .frames = frames,
                                      .mask_token = mask_token,
                                      .context = {clip->context},
                                      .predicted = {clip->predicted},
                                      .context_count = {clip->context_count},
                                      .predicted_count = {clip->predicted_count}};
done:
    return st;
}

static ls_status load(struct jepa *jepa, const struct checkpoint *checkpoint)
{
    ls_status st = LS_OK;
    const struct parameters *parameters = jepa_parameters(jepa);
    const int64_t totals[2] = {parameters->flat_count, parameters->encoder_count};
    float *data[2] = {NULL, NULL};
    for (int a = 0; a < 2; a++) {
        LS_TRY(core_alloc(&data[a], parameters->flat_count));
        LS_TRY(checkpoint_read(checkpoint,
                               &(struct checkpoint_array){.name = a == 0 ? "weights" : "ema",
                                                          .data = data[a],
                                                          .count = totals[a],
                                                          .total = totals[a]}));
    }
    LS_TRY(jepa_state_upload(
        jepa,
        &(struct jepa_state){.weights = data[0], .ema = data[1], .count = parameters->flat_count}));
done:
    free(data[0]);
    free(data[1]);
    return st;
}

static ls_status write_output(struct jepa *jepa, enum jepa_output which, int rows, const char *out,
                              const char *name)
{
    ls_status st = LS_OK;
    const size_t count = (size_t)rows * (size_t)jepa_parameters(jepa)->shape.dim;
    float *values = NULL;
    char *path = NULL;
    LS_TRY(core_alloc(&values, count));
    LS_TRY(jepa_output(jepa, which, 0, values));
    LS_TRY(core_format(&path, "%s.%s", out, name));
    LS_TRY(files_replace(path, values, count * sizeof *values));
done:
    free(values);
    free(path);
    return st;
}

static ls_status run(const char *checkpoint_path, const char *clip_path, const char *out,
                     int mask_token)
{
    ls_status st = LS_OK;
    struct checkpoint *checkpoint = NULL;
    struct config *config = NULL;
    struct clip clip = {0};
    struct model_device device = {0};
    struct jepa *jepa = NULL;
    LS_TRY(checkpoint_open(&checkpoint, checkpoint_path));
    LS_TRY(config_open_text(&config, checkpoint_info(checkpoint)->config_yaml, checkpoint_path));
    LS_TRY(open_clip(&clip, clip_path, config, mask_token));
    LS_TRY(model_device_open(&device, CONFIG_DEVICE_CPU, 2, 0, true));
    struct jepa_options options = {.dtype = OP_F32,
                                   .clips = 1,
                                   .frames = clip.batch.frames,
                                   .height = config->data.crop_height,
                                   .width = config->data.crop_width,
                                   .groups = 1,
                                   .loss_exponent = 1,
                                   .beta1 = 0.9,
                                   .beta2 = 0.999,
                                   .eps = 1e-8,
                                   .whole_target = true};
    LS_TRY(model_shape_of_config(&options.shape, config));
    LS_TRY(jepa_open(&jepa, &options, device.table, device.device));
    LS_TRY(load(jepa, checkpoint));
    LS_TRY(jepa_begin_step(jepa));
    LS_TRY(jepa_micro_batch(jepa, &clip.batch, 1.0, NULL, NULL));
    LS_TRY(write_output(jepa, JEPA_TARGET_RAW, clip.tokens, out, "target"));
    LS_TRY(write_output(jepa, JEPA_CONTEXT, clip.context_count, out, "context"));
    LS_TRY(write_output(jepa, JEPA_PREDICTION, clip.predicted_count, out, "prediction"));
done:
    jepa_close(&jepa);
    model_device_close(&device);
    free(clip.pixels);
    free(clip.context);
    free(clip.predicted);
    config_close(&config);
    checkpoint_close(&checkpoint);
    return st;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        (void)fprintf(stderr, "usage: interop_features CHECKPOINT CLIP.rgb OUT MASK_TOKEN\n");
        return 2;
    }
    ls_status st = run(argv[1], argv[2], argv[3], (int)strtol(argv[4], NULL, 10));
    if (st != LS_OK)
        (void)fprintf(stderr, "%s\n", status_text());
    return status_exit_code(st);
}
