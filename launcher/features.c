/* `lockstep features`: one worker writes the features of a dataset's videos.  What clips are taken
 * comes from the config that the checkpoint was trained with, where no option says otherwise. */
#include <cJSON.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/checkpoint.h"
#include "core/config_probe.h"
#include "core/files.h"
#include "launcher/commands.h"
#include "launcher/one_worker.h"
#include "launcher/probe_source.h"
#include "launcher/train_datasets.h"

struct features_options {
    struct option_list paths; /* checkpoint, dataset */
    const char *output, *network, *device;
    bool tokens;
    int64_t frames, frame_step, segments, size, batch, threads;
};

/* Options beside what the checkpoint's own config says. */
struct clip_choice {
    int64_t frames, frame_step, size;
    double fps;
};

static ls_status choose_clip(struct clip_choice *out, const struct features_options *options,
                             const char *checkpoint)
{
    ls_status st = LS_OK;
    struct checkpoint *opened = NULL;
    struct config *config = NULL;
    LS_TRY(checkpoint_open(&opened, checkpoint));
    LS_TRY(config_open_text(&config, checkpoint_info(opened)->config_yaml, checkpoint));
    const struct config_data *data = &config->data;
    const int frames = data->dataset_count > 0 ? data->datasets[0].frames_per_clip : 16;
    *out = (struct clip_choice){.frames = options->frames > 0 ? options->frames : frames,
                                .frame_step = options->frame_step > 0 ? options->frame_step
                                                                      : data->frame_step,
                                .size = options->size > 0 ? options->size : data->crop_height,
                                .fps = options->frame_step > 0 ? 0.0 : data->fps};
    if (options->size == 0 && data->crop_height != data->crop_width)
        st = LS_FAIL(LS_USAGE,
                     "%s was trained on frames of %d x %d: say which square to take (--size)",
                     checkpoint, data->crop_height, data->crop_width);
done:
    config_close(&config);
    checkpoint_close(&opened);
    return st;
}

static void put_text(cJSON *root, const char *name, const char *value)
{
    (void)cJSON_AddStringToObject(root, name, value);
}

/* A probe's config for the worker: its training videos are the dataset, and it trains nothing. */
static char *config_text(const struct features_options *options, const struct clip_choice *clip,
                         const char *folder, const char *checkpoint, const char *dataset)
{
    cJSON *root = cJSON_CreateObject();
    const bool random = strcmp(options->network, "random") == 0;
    put_text(root, "eval_name", "video_classification_frozen");
    put_text(root, "folder", folder);
    put_text(root, "init", random ? "random" : "pretrained");
    (void)cJSON_AddNumberToObject(root, "knn", 0);
    cJSON *experiment = cJSON_AddObjectToObject(root, "experiment");
    cJSON *data = cJSON_AddObjectToObject(experiment, "data");
    put_text(data, "dataset_train", dataset);
    put_text(data, "dataset_val", dataset);
    (void)cJSON_AddNumberToObject(data, "frames_per_clip", (double)clip->frames);
    (void)cJSON_AddNumberToObject(data, "frame_step", (double)clip->frame_step);
    (void)cJSON_AddNumberToObject(data, "fps", clip->fps);
    (void)cJSON_AddNumberToObject(data, "num_segments", (double)options->segments);
    (void)cJSON_AddNumberToObject(data, "resolution", (double)clip->size);
    (void)cJSON_AddNumberToObject(data, "test_scale", 1.0);
    cJSON *optimization = cJSON_AddObjectToObject(experiment, "optimization");
    (void)cJSON_AddNumberToObject(optimization, "batch_size", (double)options->batch);
    (void)cJSON_AddNumberToObject(optimization, "num_epochs", 1);
    cJSON *head = cJSON_CreateObject();
    (void)cJSON_AddItemToArray(cJSON_AddArrayToObject(optimization, "multihead_kwargs"), head);
    (void)cJSON_AddNumberToObject(head, "lr", 0);
    (void)cJSON_AddNumberToObject(head, "weight_decay", 0);
    (void)cJSON_AddNumberToObject(head, "final_weight_decay", 0);
    (void)cJSON_AddNumberToObject(cJSON_AddObjectToObject(experiment, "classifier"), "num_heads",
                                  1);
    cJSON *model = cJSON_AddObjectToObject(root, "model_kwargs");
    put_text(model, "checkpoint", checkpoint);
    cJSON *encoder =
        cJSON_AddObjectToObject(cJSON_AddObjectToObject(model, "pretrain_kwargs"), "encoder");
    put_text(encoder, "checkpoint_key", random ? "target_encoder" : options->network);
    cJSON *run = cJSON_AddObjectToObject(root, "lockstep");
    if (options->device != NULL)
        put_text(run, "device", options->device);
    (void)cJSON_AddNumberToObject(run, "threads", (double)options->threads);
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    return text;
}

static ls_status run_in(const char *folder, const struct features_options *options)
{
    ls_status st = LS_OK;
    char *checkpoint = NULL;
    char *dataset = NULL;
    char *path = NULL;
    char *text = NULL;
    struct clip_choice clip;
    LS_TRY(core_format(&checkpoint, "%s", options->paths.values[0]));
    LS_TRY(core_format(&dataset, "%s", options->paths.values[1]));
    LS_TRY(probe_source_settle(&checkpoint, "CHECKPOINT", "the command line"));
    LS_TRY(train_dataset_settle(
        &dataset,
        &(struct train_dataset){.key = "DATASET", .source = "the command line", .run = folder}));
    LS_TRY(choose_clip(&clip, options, checkpoint));
    text = config_text(options, &clip, folder, checkpoint, dataset);
    if (text == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for a config");
        goto done;
    }
    LS_TRY(core_format(&path, "%s/probe.yaml", folder));
    LS_TRY(files_replace(path, text, strlen(text)));
    LS_TRY(
        one_worker_run(folder, (const char *const[]){"--probe", "--features", options->output,
                                                     options->tokens ? "--tokens" : NULL, NULL}));
done:
    free(checkpoint);
    free(dataset);
    free(path);
    free(text);
    return st;
}

static ls_status run_features(const void *given)
{
    ls_status st = LS_OK;
    const struct features_options *options = given;
    char *folder = NULL;
    if (options->output == NULL)
        return LS_FAIL(LS_USAGE, "-o FILE.h5 is wanted: where the features go");
    LS_TRY(one_worker_folder_make(&folder, options->output));
    LS_TRY(one_worker_folder_remove(folder, run_in(folder, options)));
done:
    free(folder);
    return st;
}

static const char *const devices[] = {"auto", "cpu", "cuda", "emulated", NULL};
static const char *const networks[] = {"target_encoder", "encoder", "random", NULL};
#define AT(field) offsetof(struct features_options, field)

static const struct option table[] = {
    {.name = "output",
     .letter = 'o',
     .type = OPTION_TEXT,
     .offset = AT(output),
     .word = "FILE.h5",
     .help = "Where the features go (docs/formats.md); written whole."},
    {.name = "tokens",
     .type = OPTION_FLAG,
     .offset = AT(tokens),
     .help = "Features of every token; without it their mean, one vector a video."},
    {.name = "network",
     .type = OPTION_CHOICE,
     .offset = AT(network),
     .word = "NETWORK",
     .initial = "target_encoder",
     .choices = networks,
     .help =
         "Which network: the EMA target, the trained encoder, or one at random initial weights."},
    {.name = "frames",
     .type = OPTION_INTEGER,
     .offset = AT(frames),
     .word = "T",
     .low = 1,
     .high = 1024,
     .help = "Frames of a clip; by default those of the pretraining."},
    {.name = "frame-step",
     .type = OPTION_INTEGER,
     .offset = AT(frame_step),
     .word = "K",
     .low = 1,
     .high = 1000,
     .help = "Every how many frames a clip takes one; by default as the pretraining did."},
    {.name = "segments",
     .type = OPTION_INTEGER,
     .offset = AT(segments),
     .word = "S",
     .initial = "1",
     .low = 1,
     .high = 64,
     .help = "Clips of a video, spread over it."},
    {.name = "size",
     .type = OPTION_INTEGER,
     .offset = AT(size),
     .word = "PIXELS",
     .low = 1,
     .high = 8192,
     .help = "Side of the central square that is taken; by default the pretraining's crop."},
    {.name = "batch",
     .type = OPTION_INTEGER,
     .offset = AT(batch),
     .word = "B",
     .initial = "8",
     .low = 1,
     .high = 65536,
     .help = "Videos that are encoded at once."},
    {.name = "device",
     .type = OPTION_CHOICE,
     .offset = AT(device),
     .word = "DEVICE",
     .choices = devices,
     .help = "What computes."},
    {.name = "threads",
     .type = OPTION_INTEGER,
     .offset = AT(threads),
     .word = "N",
     .low = 1,
     .high = 1024,
     .help = "Compute threads; by default the cores."},
};

const struct command command_features = {
    .name = "features",
    .arguments = "CHECKPOINT DATASET",
    .summary = "writes an encoder's features of a dataset's videos to HDF5",
    .details = "CHECKPOINT is a run folder (its newest good checkpoint) or a checkpoint's folder, "
               "DATASET a packed dataset or a list of `path label` lines.  A clip is the middle of "
               "the video, its frames' central square.",
    .arguments_least = 2,
    .arguments_most = 2,
    .arguments_offset = offsetof(struct features_options, paths),
    .options = table,
    .option_count = sizeof table / sizeof table[0],
    .bytes = sizeof(struct features_options),
    .run = run_features,
};
