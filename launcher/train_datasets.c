/* Datasets are opened before anything starts, so that a wrong path costs no start of workers. */
#include "launcher/train_datasets.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files.h"
#include "core/hash.h"
#include "core/log.h"
#include "data/dataset.h"
#include "data/pack.h"

enum { READ_BYTES = 1 << 20, SHARD_BYTES = 1 << 30, NAME_BYTES = 48, LOG_EVERY_S = 15 };

static ls_status hash_list(struct hash128 *out, const char *path)
{
    ls_status st = LS_OK;
    struct hash_stream *stream = NULL;
    char *buffer = NULL;
    uint64_t bytes = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return LS_FAIL(LS_IO, "%s: cannot open: %s", path, strerror(errno));
    LS_TRY(files_size(&bytes, path));
    LS_TRY(core_alloc(&buffer, READ_BYTES));
    LS_TRY(hash_stream_open(&stream));
    for (uint64_t at = 0; at < bytes;) {
        size_t chunk = bytes - at < READ_BYTES ? (size_t)(bytes - at) : READ_BYTES;
        LS_TRY(files_read_at(file, buffer, chunk, at, path));
        hash_stream_add(stream, buffer, chunk);
        at += chunk;
    }
    *out = hash_stream_value(stream);
done:
    hash_stream_close(&stream);
    free(buffer);
    (void)close(file);
    return st;
}

/* FOLDER/STEM-HASH: another content of a list is another dataset. */
static ls_status packed_place(char **out, const char *list, const struct train_dataset *of)
{
    ls_status st = LS_OK;
    struct hash128 hash;
    char text[HASH_TEXT_BYTES];
    const char *slash = strrchr(list, '/');
    const char *name = slash != NULL ? slash + 1 : list;
    const char *dot = strrchr(name, '.');
    size_t stem = dot != NULL && dot > name ? (size_t)(dot - name) : strlen(name);
    if (stem > NAME_BYTES)
        stem = NAME_BYTES;
    LS_TRY(hash_list(&hash, list));
    hash_text(text, hash);
    if (of->packed_folder != NULL)
        LS_TRY(core_format(out, "%s/%.*s-%.8s", of->packed_folder, (int)stem, name, text));
    else
        LS_TRY(core_format(out, "%s/datasets/%.*s-%.8s", of->run, (int)stem, name, text));
done:
    return st;
}

static void log_progress(void *context, const struct pack_progress *progress)
{
    double *next_s = context;
    if (progress->elapsed_s < *next_s)
        return;
    *next_s = progress->elapsed_s + LOG_EVERY_S;
    log_info("packing files=%" PRId64 " of=%" PRId64 " skipped=%" PRId64 " elapsed_s=%.0f",
             progress->files_done, progress->files, progress->skipped, progress->elapsed_s);
}

static ls_status pack_list(const char *list, const char *place)
{
    ls_status st = LS_OK;
    struct pack_summary summary;
    double next_s = LOG_EVERY_S;
    char *report = NULL;
    const struct pack_options options = {.inputs = &list,
                                         .input_count = 1,
                                         .output = place,
                                         .shard_bytes = SHARD_BYTES,
                                         .progress = log_progress,
                                         .context = &next_s};
    log_info("packing list=%s into=%s", list, place);
    LS_TRY(pack_run(&summary, &options));
    LS_TRY(core_format(&report, "%s/%s", place, PACK_REPORT_NAME));
    log_info("packed videos=%" PRId64 " skipped=%" PRId64 " report=%s", summary.videos,
             summary.skipped, report);
done:
    free(report);
    return st;
}

ls_status train_dataset_settle(char **path, const struct train_dataset *of)
{
    ls_status st = LS_OK;
    char *place = NULL;
    char *index = NULL;
    if (!files_exists(*path))
        return LS_FAIL(LS_IO, "%s: no such dataset or list (%s of %s)", *path, of->key, of->source);
    if (files_is_folder(*path))
        return LS_OK;
    LS_TRY(packed_place(&place, *path, of));
    LS_TRY(core_format(&index, "%s/index.h5", place));
    if (!files_exists(index)) /* written last */
        LS_TRY(pack_list(*path, place));
    free(*path);
    *path = place;
    place = NULL;
done:
    free(place);
    free(index);
    return st;
}

ls_status train_datasets(struct config *config, const char *run)
{
    ls_status st = LS_OK;
    struct dataset *opened = NULL;
    int64_t videos = 0;
    for (int i = 0; i < config->data.dataset_count; i++) {
        struct config_dataset *dataset = &config->data.datasets[i];
        LS_TRY(train_dataset_settle(
            &dataset->path, &(struct train_dataset){.key = "data.datasets",
                                                    .source = config->source,
                                                    .packed_folder = config->data.packed_folder,
                                                    .run = run}));
        LS_TRY(dataset_open(&opened, dataset->path));
        videos += dataset_video_count(opened);
        dataset_close(&opened);
    }
    int64_t clips = (int64_t)config->data.batch_size * config->micro_batches;
    LS_TRY(config_set_ipe(config, videos >= clips ? videos / clips : 1));
done:
    dataset_close(&opened);
    return st;
}
