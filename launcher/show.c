/* `lockstep show`: finds the checkpoint and the video, packs a video that is a file, and lets one
 * worker draw. */
#include <cJSON.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/dataset.h"
#include "data/describe.h"
#include "data/pack.h"
#include "launcher/commands.h"
#include "launcher/one_worker.h"
#include "launcher/probe_source.h"

struct show_options {
    struct option_list paths; /* checkpoint, video or dataset */
    const char *output, *video, *device;
    int64_t start, frames, frame_step, size, masks, seed, threads;
};

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text);
    const size_t of_end = strlen(end);
    return length > of_end && strcmp(text + length - of_end, end) == 0;
}

static ls_status check_output(const char *output)
{
    if (output == NULL)
        return LS_FAIL(LS_USAGE, "-o FILE.png or -o FILE.mp4 is wanted: where the picture goes");
    if (!ends_with(output, ".png") && !ends_with(output, ".mp4"))
        return LS_FAIL(LS_USAGE, "%s: a picture is a .png, a film an .mp4", output);
    return LS_OK;
}

/* One file as a dataset of one video. */
static ls_status pack_file(char **out, const char *path, const char *folder)
{
    ls_status st = LS_OK;
    struct pack_summary summary = {0};
    char *place = NULL;
    LS_TRY(core_format(&place, "%s/packed", folder));
    st = pack_run(&summary, &(struct pack_options){
                                .inputs = &path, .input_count = 1, .output = place, .jobs = 1});
    if (st == LS_DATA && summary.first_reason[0] != '\0')
        st = LS_FAIL(LS_DATA, "%s: %s", path, summary.first_reason);
    LS_TRY(st);
    *out = place;
    place = NULL;
done:
    free(place);
    return st;
}

static ls_status choose_video(char **dataset, int64_t *video, const struct show_options *options,
                              const char *folder)
{
    ls_status st = LS_OK;
    struct dataset *opened = NULL;
    const char *path = options->paths.values[1];
    *video = 0;
    if (!files_exists(path))
        return LS_FAIL(LS_IO, "%s: no such video or dataset", path);
    if (!files_is_folder(path)) {
        if (options->video != NULL)
            return LS_FAIL(LS_USAGE, "%s: is a file: --video chooses one of a dataset's", path);
        return pack_file(dataset, path, folder);
    }
    LS_TRY(files_absolute(dataset, path));
    LS_TRY(dataset_open(&opened, path));
    if (options->video != NULL)
        LS_TRY(dataset_find(video, opened, options->video));
    else if (dataset_video_count(opened) != 1)
        st = LS_FAIL(LS_USAGE,
                     "%s: has %" PRId64 " videos: say which (--video NAME, or --video '#12')", path,
                     dataset_video_count(opened));
done:
    dataset_close(&opened);
    return st;
}

static void put_number(cJSON *root, const char *key, int64_t value)
{
    (void)cJSON_AddNumberToObject(root, key, (double)value);
}

static ls_status write_request(const struct show_options *options, const char *folder,
                               const char *checkpoint, const char *dataset, int64_t video)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *text = NULL;
    cJSON *root = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(root, "checkpoint", checkpoint);
    (void)cJSON_AddStringToObject(root, "dataset", dataset);
    (void)cJSON_AddStringToObject(root, "output", options->output);
    put_number(root, "video", video);
    put_number(root, "start", options->start);
    put_number(root, "frames", options->frames);
    put_number(root, "frame_step", options->frame_step);
    put_number(root, "size", options->size);
    put_number(root, "masks", options->masks);
    put_number(root, "seed", options->seed);
    put_number(root, "threads", options->threads);
    text = cJSON_Print(root);
    if (text == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for a request");
        goto done;
    }
    LS_TRY(core_format(&path, "%s/show.json", folder));
    LS_TRY(files_replace(path, text, strlen(text)));
done:
    cJSON_Delete(root);
    free(path);
    free(text);
    return st;
}

static ls_status show_in(const char *folder, const struct show_options *options)
{
    ls_status st = LS_OK;
    char *checkpoint = NULL;
    char *dataset = NULL;
    int64_t video = 0;
    LS_TRY(core_format(&checkpoint, "%s", options->paths.values[0]));
    LS_TRY(probe_source_settle(&checkpoint, "CHECKPOINT", "the command line"));
    LS_TRY(choose_video(&dataset, &video, options, folder));
    LS_TRY(write_request(options, folder, checkpoint, dataset, video));
    LS_TRY(one_worker_run(folder, (const char *const[]){"--show",
                                                        options->device != NULL ? "--device" : NULL,
                                                        options->device, NULL}));
done:
    free(checkpoint);
    free(dataset);
    return st;
}

static ls_status run_show(const void *given)
{
    ls_status st = LS_OK;
    const struct show_options *options = given;
    char *folder = NULL;
    LS_TRY(check_output(options->output));
    LS_TRY(one_worker_folder_make(&folder, options->output));
    LS_TRY(one_worker_folder_remove(folder, show_in(folder, options)));
done:
    free(folder);
    return st;
}

static const char *const devices[] = {"auto", "cpu", "cuda", "emulated", NULL};
#define AT(field) offsetof(struct show_options, field)

static const struct option table[] = {
    {.name = "output",
     .letter = 'o',
     .type = OPTION_TEXT,
     .offset = AT(output),
     .word = "FILE",
     .help = "Where the picture (.png) or film (.mp4) goes; written whole."},
    {.name = "video",
     .type = OPTION_TEXT,
     .offset = AT(video),
     .word = "NAME",
     .help = "Of a dataset: which video, by its name, the end of it, or '#12'."},
    {.name = "start",
     .type = OPTION_INTEGER,
     .offset = AT(start),
     .word = "FRAME",
     .initial = "-1",
     .low = -1,
     .high = INT64_C(1) << 40,
     .help = "The clip's first frame; -1: the clip is the middle of the video."},
    {.name = "frames",
     .type = OPTION_INTEGER,
     .offset = AT(frames),
     .word = "T",
     .low = 1,
     .high = 1024,
     .help = "Frames of the clip; by default those of the pretraining."},
    {.name = "frame-step",
     .type = OPTION_INTEGER,
     .offset = AT(frame_step),
     .word = "K",
     .low = 1,
     .high = 1000,
     .help = "Every how many frames the clip takes one; by default as the pretraining did."},
    {.name = "size",
     .type = OPTION_INTEGER,
     .offset = AT(size),
     .word = "PIXELS",
     .low = 1,
     .high = 8192,
     .help = "Side to which the central square is resized; by default the pretraining's crop."},
    {.name = "masks",
     .type = OPTION_INTEGER,
     .offset = AT(masks),
     .word = "M",
     .initial = "4",
     .low = 1,
     .high = 1000,
     .help = "How many masks hide each token, at least."},
    {.name = "seed",
     .type = OPTION_INTEGER,
     .offset = AT(seed),
     .word = "N",
     .initial = "0",
     .low = 0,
     .high = INT64_C(1) << 52,
     .help = "Of the masks."},
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

const struct command command_show = {
    .name = "show",
    .arguments = "CHECKPOINT VIDEO",
    .summary = "draws what a model sees in a clip: features as colours, errors as a heat map",
    .details =
        "CHECKPOINT is a run folder (its newest good checkpoint) or a checkpoint's folder, VIDEO a "
        "file or a packed dataset (with --video).  Beside each frame: the first three principal "
        "components of the target encoder's features as red, green and blue, found once for the "
        "whole clip, so that colours keep their meaning over time; and the loss of each token when "
        "masks as in training hide it, averaged over them: dark is what the model predicts well.  "
        "In a .png one column stands for a tubelet, which shows its first frame.  Frames are the "
        "central square.",
    .arguments_least = 2,
    .arguments_most = 2,
    .arguments_offset = offsetof(struct show_options, paths),
    .options = table,
    .option_count = sizeof table / sizeof table[0],
    .bytes = sizeof(struct show_options),
    .run = run_show,
};
