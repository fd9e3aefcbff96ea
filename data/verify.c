/* Verification.  The footer's checksum over a whole file finds any flipped byte.  To say what is
 * hit, the finer checksums are compared: those of packets and frame rows, each by itself, and of a
 * video's bytes.  What they do not cover is HDF5's structure and the table of videos. */
#include "data/verify.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files.h"
#include "data/dataset_internal.h"
#include "data/footer.h"
#include "data/shard.h"

enum { LINE_BYTES = 2048 };

struct verifying {
    struct verify_result *result;
    verify_callback callback;
    void *context;
    const struct index_file *index; /* NULL: none, or damaged */
};

static void report(struct verifying *v, const char *format, ...) LS_PRINTF(2, 3);
static void report(struct verifying *v, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    v->result->damages++;
    v->callback(v->context, line);
}

/* A failure to read is a damage like others, but a full memory is not. */
static ls_status report_failure(struct verifying *v, ls_status st)
{
    if (st == LS_OK || st == LS_NOMEM)
        return st;
    report(v, "%s", status_message());
    status_clear();
    return LS_OK;
}

/* Damaged packets of a video: row or bytes. */
static ls_status trace_packets(struct verifying *v, const struct dataset_place *place,
                               const char *name, bool *found)
{
    ls_status st = LS_OK;
    const struct video_record *video = &place->video;
    uint8_t row[PACKET_ROW_BYTES];
    uint8_t *data = NULL;
    uint64_t bad = 0;
    uint64_t first = 0;
    for (uint64_t p = 0; p < video->packets; p++) {
        struct packet_record packet;
        bool good = false;
        LS_TRY(dataset_read_rows(&packet, row, place, &record_packet_layout,
                                 place->shard->packets_at, video->first_packet + p, 1));
        if (dataset_check_packet(place, &packet, p) == LS_OK) {
            size_t bytes = (size_t)packet.size + packet.side_size;
            free(data);
            data = NULL;
            LS_TRY(core_alloc(&data, bytes));
            LS_TRY(files_read_at(place->file, data, bytes, place->shard->bytes_at + packet.offset,
                                 place->path));
            good = record_packet_check(&packet, data) == packet.check;
        }
        if (!good && bad++ == 0)
            first = p;
    }
    if (bad > 0)
        report(v, "%s: damaged: %" PRIu64 " packet%s of '%.600s', the first is number %" PRIu64,
               place->path, bad, bad == 1 ? "" : "s", name, first);
    *found |= bad > 0;
done:
    free(data);
    return st;
}

static ls_status trace_frames(struct verifying *v, const struct dataset_place *place,
                              const char *name, bool *found)
{
    ls_status st = LS_OK;
    const struct video_record *video = &place->video;
    uint8_t row[FRAME_ROW_BYTES];
    uint64_t bad = 0;
    uint64_t first = 0;
    for (uint64_t n = 0; n < video->frames; n++) {
        struct frame_record frame;
        LS_TRY(dataset_read_rows(&frame, row, place, &record_frame_layout, place->shard->frames_at,
                                 video->first_frame + n, 1));
        if (record_frame_check(&frame) != frame.check && bad++ == 0)
            first = n;
    }
    if (bad > 0)
        report(v, "%s: damaged: %" PRIu64 " frame row%s of '%.600s', the first is number %" PRIu64,
               place->path, bad, bad == 1 ? "" : "s", name, first);
    *found |= bad > 0;
done:
    return st;
}

/* What of a shard's content, whose checksum does not match, is damaged. */
static ls_status trace_damage(struct verifying *v, const struct shard_record *shard,
                              const char *path, int file)
{
    ls_status st = LS_OK;
    bool found = false;
    struct dataset_place place = {.shard = shard, .path = path, .file = file};
    assert(v->index != NULL); /* a shard's record is of an index */
    for (uint64_t i = 0; i < shard->videos; i++) {
        LS_TRY(index_video(&place.video, v->index, shard->first_video + i));
        const char *name = (const char *)v->index->blob + place.video.name_at;
        LS_TRY(trace_packets(v, &place, name, &found));
        LS_TRY(trace_frames(v, &place, name, &found));
    }
    if (!found)
        report(v,
               "%s: damaged: its table of videos or HDF5's own structures; packets and frame "
               "rows are good",
               path);
done:
    return st;
}

static ls_status check_content(struct verifying *v, const struct shard_record *shard,
                               const char *path, int file, uint64_t file_bytes)
{
    ls_status st = LS_OK;
    struct footer footer = {0};
    struct hash128 hash;
    bool footer_good = footer_read(&footer, file, file_bytes, path) == LS_OK;
    if (!footer_good)
        report(v, "%s", status_message());
    if (shard == NULL && !footer_good)
        return LS_OK;
    if (shard != NULL && shard->file_bytes != file_bytes) {
        report(v, "%s: %s: %" PRIu64 " bytes, the index says %" PRIu64, path,
               file_bytes < shard->file_bytes ? "truncated" : "too long", file_bytes,
               shard->file_bytes);
        return LS_OK;
    }
    LS_TRY(footer_hash_content(&hash, file, file_bytes - FOOTER_BYTES, path));
    v->result->bytes += file_bytes;
    if (shard == NULL) {
        if (!hash_equal(hash, footer.hash))
            report(v, "%s: damaged: its content does not match its checksum", path);
        goto done;
    }
    struct hash128 wanted = {.low = shard->hash_low, .high = shard->hash_high};
    if (hash_equal(hash, wanted))
        goto done;
    if (footer_good && hash_equal(hash, footer.hash))
        report(v, "%s: not the shard that the index was made from", path);
    else
        LS_TRY(trace_damage(v, shard, path, file));
done:
    return st;
}

static ls_status check_shard(struct verifying *v, const struct shard_record *shard,
                             const char *path)
{
    ls_status st = LS_OK;
    struct stat info;
    struct shard opened = {0};
    int64_t before = v->result->damages;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &info) != 0) {
        report(v, "%s: %s: %s", path, errno == ENOENT ? "missing" : "cannot open", strerror(errno));
        goto done;
    }
    v->result->shards++;
    LS_TRY(report_failure(v, check_content(v, shard, path, file, (uint64_t)info.st_size)));
    /* Only what is as it was written goes on to HDF5. */
    if (v->result->damages > before)
        goto done;
    LS_TRY(report_failure(v, shard_open(&opened, path, 0)));
    v->result->videos += (int64_t)opened.record.videos;
done:
    shard_close(&opened);
    if (file >= 0)
        (void)close(file);
    return st;
}

/* Shards that lie in the folder and are in no index. */
static ls_status check_others(struct verifying *v, const char *folder)
{
    ls_status st = LS_OK;
    int64_t *numbers = NULL;
    size_t count = 0;
    char *path = NULL;
    LS_TRY(index_list_shards(&numbers, &count, folder));
    for (size_t i = 0; i < count; i++) {
        if (v->index != NULL && index_find_shard(v->index, (uint32_t)numbers[i]) != NULL)
            continue;
        LS_TRY(index_shard_path(&path, folder, (uint64_t)numbers[i]));
        if (v->index != NULL)
            report(v, "%s: not in the index: make that again by `lockstep pack -o DATASET`", path);
        LS_TRY(check_shard(v, NULL, path));
        free(path);
        path = NULL;
    }
done:
    free(path);
    free(numbers);
    return st;
}

ls_status verify_dataset(struct verify_result *out, const char *path, verify_callback callback,
                         void *context)
{
    ls_status st = LS_OK;
    struct index_file index = {0};
    struct verifying v = {.result = out, .callback = callback, .context = context};
    char *text = NULL;
    *out = (struct verify_result){0};
    if (!files_is_folder(path)) {
        st = LS_FAIL(LS_IO, "%s: no such folder", path);
        goto done;
    }
    LS_TRY(core_format(&text, "%s/%s", path, INDEX_NAME));
    LS_TRY(report_failure(&v, index_open(&index, text)));
    if (index.map != NULL) {
        v.index = &index;
        out->bytes += index.map_bytes;
    }
    for (uint64_t s = 0; s < index.shard_count; s++) {
        free(text);
        text = NULL;
        LS_TRY(index_shard_path(&text, path, index.shards[s].number));
        LS_TRY(check_shard(&v, &index.shards[s], text));
    }
    LS_TRY(check_others(&v, path));
done:
    free(text);
    index_close(&index);
    return st;
}

ls_status verify_shard(struct verify_result *out, const char *path, verify_callback callback,
                       void *context)
{
    struct verifying v = {.result = out, .callback = callback, .context = context};
    *out = (struct verify_result){0};
    return check_shard(&v, NULL, path);
}
