/* inspect and verify of packed datasets and their shards. */
#include <cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/dataset.h"
#include "data/framemd5.h"
#include "data/index.h"
#include "data/verify.h"
#include "launcher/commands.h"
#include "launcher/dataset_page.h"

enum { STORED_FRAME_SIDE = 320 }; /* what `pack --store frames` does unless told otherwise */

static const char *last_word(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static bool is_shard(const char *path)
{
    return !files_is_folder(path) && index_shard_number(last_word(path)) >= 0;
}

/* A folder with an index, or with a shard: its index may be what is missing. */
static bool is_dataset(const char *path)
{
    char **names = NULL;
    size_t count = 0;
    bool found = false;
    if (!files_is_folder(path) || files_list(&names, &count, path) != LS_OK)
        return false;
    for (size_t i = 0; i < count && !found; i++)
        found = strcmp(names[i], INDEX_NAME) == 0 || index_shard_number(names[i]) >= 0;
    files_list_free(&names, count);
    return found;
}

/* ffmpeg's layout: stream, dts, pts, duration, size, hash. */
static ls_status print_line(void *context, const struct framemd5_line *line)
{
    (void)context;
    (void)printf("0, %10" PRId64 ", %10" PRId64 ", %8" PRId64 ", %8" PRId64 ", %s\n", line->time,
                 line->time, line->duration, line->bytes, line->md5);
    return LS_OK;
}

static ls_status print_framemd5(const struct dataset *dataset, int64_t video, bool random)
{
    ls_status st = LS_OK;
    struct video_detail detail;
    LS_TRY(dataset_detail(&detail, dataset, video));
    const struct video_record *row = &detail.row;
    bool swap = row->quarter_turns % 2 == 1;
    (void)printf("#format: frame checksums\n#version: 2\n#hash: MD5\n#software: lockstep\n"
                 "#tb 0: %d/%d\n#media_type 0: video\n#codec_id 0: rawvideo\n"
                 "#dimensions 0: %dx%d\n#sar 0: %d/%d\n"
                 "#stream#, dts,        pts, duration,     size, hash\n",
                 row->time_base_num, row->time_base_den, swap ? row->height : row->width,
                 swap ? row->width : row->height, row->sample_aspect_num, row->sample_aspect_den);
    LS_TRY(random ? framemd5_random(dataset, video, print_line, NULL)
                  : framemd5_sequential(dataset, video, print_line, NULL));
done:
    return st;
}

static ls_status inspect_video(const struct dataset *dataset, const struct inspect_options *options)
{
    ls_status st = LS_OK;
    int64_t video;
    LS_TRY(dataset_find(&video, dataset, options->video));
    if (options->framemd5)
        LS_TRY(print_framemd5(dataset, video, options->random));
    else
        LS_TRY(dataset_page_video(dataset, video, options->json));
done:
    return st;
}

static ls_status inspect_dataset(const char *path, const struct inspect_options *options)
{
    ls_status st = LS_OK;
    struct dataset *dataset = NULL;
    if (options->framemd5 && options->video == NULL)
        return LS_FAIL(LS_USAGE, "%s: --framemd5 wants a --video NAME", path);
    if (options->random && !options->framemd5)
        return LS_FAIL(LS_USAGE, "%s: --random goes with --framemd5", path);
    LS_TRY(dataset_open(&dataset, path));
    if (options->video != NULL)
        LS_TRY(inspect_video(dataset, options));
    else
        LS_TRY(dataset_page(dataset,
                            &(struct dataset_costs_question){
                                .gop_s = options->gop_s,
                                .short_side = (int)options->short_side,
                                .dear = options->dear_millions * 1e6,
                                .frame_side = STORED_FRAME_SIDE,
                            },
                            options->json));
done:
    dataset_close(&dataset);
    return st;
}

static ls_status inspect_shard(const char *path, const struct inspect_options *options)
{
    if (options->video != NULL || options->framemd5 || options->random)
        return LS_FAIL(LS_USAGE, "%s: --video and --framemd5 are for the dataset's folder", path);
    return dataset_page_shard(path, options->json);
}

static void print_damage(void *context, const char *line)
{
    (void)context;
    (void)printf("%s\n", line);
}

static ls_status conclude(const char *path, const struct verify_result *result)
{
    if (result->damages > 0)
        return LS_FAIL(LS_FAILED, "%s: %" PRId64 " damage%s", path, result->damages,
                       result->damages == 1 ? "" : "s");
    (void)printf("%s: good: %" PRId64 " shard%s, %" PRId64 " videos, %.1f MB read\n", path,
                 result->shards, result->shards == 1 ? "" : "s", result->videos,
                 (double)result->bytes * 1e-6);
    return LS_OK;
}

static ls_status run_verify_dataset(const char *path, const struct verify_options *options)
{
    struct verify_result result;
    (void)options;
    ls_status st = verify_dataset(&result, path, print_damage, NULL);
    return st == LS_OK ? conclude(path, &result) : st;
}

static ls_status run_verify_shard(const char *path, const struct verify_options *options)
{
    struct verify_result result;
    (void)options;
    ls_status st = verify_shard(&result, path, print_damage, NULL);
    return st == LS_OK ? conclude(path, &result) : st;
}

const struct path_kind path_kind_dataset = {"dataset", is_dataset, inspect_dataset,
                                            run_verify_dataset};
const struct path_kind path_kind_dataset_shard = {"dataset shard", is_shard, inspect_shard,
                                                  run_verify_shard};
