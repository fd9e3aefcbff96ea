/* A dataset opened for reading.  The index is mapped; shards are opened when they are first used
 * and stay open.  A shard's identity is its footer, which the index keeps a copy of. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files.h"
#include "data/dataset_internal.h"
#include "data/footer.h"

/* So many shards are opened and checked at once; with more, the rest follow when they are used. */
enum { OPEN_AT_ONCE = 256 };

static ls_status check_identity(const struct dataset_shard *shard,
                                const struct shard_record *record, int file)
{
    ls_status st = LS_OK;
    struct footer footer;
    LS_TRY(footer_read(&footer, file, record->file_bytes, shard->path));
    if (footer.hash.low != record->hash_low || footer.hash.high != record->hash_high)
        st = LS_FAIL(LS_DATA,
                     "%s: not the shard that the index was made from: make the index "
                     "again by `lockstep pack -o DATASET`",
                     shard->path);
done:
    return st;
}

/* Two threads may open the same shard at the same time; the second one's file is closed again. */
static ls_status open_shard(struct dataset_shard *shard, const struct shard_record *record)
{
    ls_status st = LS_OK;
    int none = -1;
    int file = -1;
    if (atomic_load(&shard->file) >= 0)
        return LS_OK;
    file = open(shard->path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        st = LS_FAIL(LS_IO, "%s: cannot open: %s%s", shard->path, strerror(errno),
                     errno == EMFILE ? " (raise `ulimit -n`)" : "");
        goto done;
    }
    LS_TRY(check_identity(shard, record, file));
    if (atomic_compare_exchange_strong(&shard->file, &none, file))
        file = -1;
done:
    if (file >= 0)
        (void)close(file);
    return st;
}

static ls_status find_shards(struct dataset *dataset)
{
    ls_status st = LS_OK;
    const struct index_file *index = &dataset->index;
    LS_TRY(core_alloc(&dataset->shards, index->shard_count));
    for (uint64_t s = 0; s < index->shard_count; s++)
        atomic_init(&dataset->shards[s].file, -1);
    for (uint64_t s = 0; s < index->shard_count; s++) {
        struct dataset_shard *shard = &dataset->shards[s];
        const struct shard_record *record = &index->shards[s];
        struct stat info;
        LS_TRY(index_shard_path(&shard->path, dataset->path, record->number));
        if (stat(shard->path, &info) != 0) {
            st = LS_FAIL(LS_IO,
                         "%s: missing (%s): copy it back, or run the same `lockstep pack` "
                         "once more",
                         shard->path, strerror(errno));
            goto done;
        }
        if ((uint64_t)info.st_size != record->file_bytes) {
            st = LS_FAIL(LS_DATA,
                         "%s: %s: %lld bytes, the index says %llu: copy it again, or remove "
                         "it and run the same `lockstep pack` once more",
                         shard->path,
                         (uint64_t)info.st_size < record->file_bytes ? "truncated" : "changed",
                         (long long)info.st_size, (unsigned long long)record->file_bytes);
            goto done;
        }
        if (s < OPEN_AT_ONCE)
            LS_TRY(open_shard(shard, record));
    }
done:
    return st;
}

ls_status dataset_open(struct dataset **out, const char *path)
{
    ls_status st = LS_OK;
    struct dataset *dataset = NULL;
    char *index_path = NULL;
    struct video_record video;
    LS_TRY(core_alloc(&dataset, 1));
    LS_TRY(core_format(&dataset->path, "%s", path));
    if (!files_is_folder(path)) {
        st = LS_FAIL(LS_IO, "%s: no such dataset folder: make it with `lockstep pack`", path);
        goto done;
    }
    LS_TRY(core_format(&index_path, "%s/%s", path, INDEX_NAME));
    LS_TRY(index_open(&dataset->index, index_path));
    if (dataset->index.video_count == 0) {
        st = LS_FAIL(LS_DATA, "%s: holds no video: see its pack-report.csv", path);
        goto done;
    }
    for (uint64_t v = 0; v < dataset->index.video_count; v++)
        LS_TRY(index_video(&video, &dataset->index, v));
    LS_TRY(find_shards(dataset));
    *out = dataset;
    dataset = NULL;
done:
    free(index_path);
    dataset_close(&dataset);
    return st;
}

void dataset_close(struct dataset **dataset)
{
    struct dataset *closing = *dataset;
    if (closing == NULL)
        return;
    for (uint64_t s = 0; closing->shards != NULL && s < closing->index.shard_count; s++) {
        int file = atomic_load(&closing->shards[s].file);
        if (file >= 0)
            (void)close(file);
        free(closing->shards[s].path);
    }
    free(closing->shards);
    index_close(&closing->index);
    free(closing->path);
    free(closing);
    *dataset = NULL;
}

const char *dataset_path(const struct dataset *dataset)
{
    return dataset->path;
}

int64_t dataset_video_count(const struct dataset *dataset)
{
    return (int64_t)dataset->index.video_count;
}

/* A row that dataset_open has checked. */
static struct video_record checked_row(const struct dataset *dataset, int64_t video)
{
    struct video_record row;
    table_decode(&record_video_layout, &row,
                 dataset->index.video_rows + (uint64_t)video * VIDEO_ROW_BYTES, 1);
    return row;
}

struct dataset_video dataset_video(const struct dataset *dataset, int64_t video)
{
    struct video_record row = checked_row(dataset, video);
    return (struct dataset_video){
        .name = (const char *)dataset->index.blob + row.name_at,
        .label = row.label,
        .frames = (int64_t)row.frames,
        .width = row.width,
        .height = row.height,
        .average_fps = row.average_fps,
        .still = (row.flags & VIDEO_STILL) != 0,
        .shard = (int)row.shard,
        .weight = row.weight,
    };
}

struct video_orientation dataset_video_orientation(const struct dataset *dataset, int64_t video)
{
    struct video_record row = checked_row(dataset, video);
    return (struct video_orientation){.quarter_turns = row.quarter_turns,
                                      .flip_horizontal = row.flip_horizontal != 0};
}

struct hash128 dataset_fingerprint(const struct dataset *dataset)
{
    return dataset->index.hash;
}

ls_status dataset_place(struct dataset_place *out, const struct dataset *dataset, int64_t video)
{
    ls_status st = LS_OK;
    LS_TRY(index_video(&out->video, &dataset->index, (uint64_t)video));
    out->shard = index_find_shard(&dataset->index, out->video.shard);
    struct dataset_shard *shard = &dataset->shards[out->shard - dataset->index.shards];
    LS_TRY(open_shard(shard, out->shard));
    out->path = shard->path;
    out->file = atomic_load(&shard->file);
done:
    return st;
}

ls_status dataset_read_rows(void *records, uint8_t *rows, const struct dataset_place *place,
                            const struct table_layout *layout, uint64_t table_at, uint64_t first,
                            uint64_t count)
{
    ls_status st = LS_OK;
    LS_TRY(files_read_at(place->file, rows, count * layout->row_bytes,
                         table_at + first * layout->row_bytes, place->path));
    table_decode(layout, records, rows, count);
done:
    return st;
}

ls_status dataset_check_packet(const struct dataset_place *place,
                               const struct packet_record *packet, uint64_t number)
{
    const struct video_record *video = &place->video;
    uint64_t end = video->bytes_at + video->bytes_size;
    uint64_t bytes = (uint64_t)packet->size + packet->side_size;
    if (packet->offset < video->bytes_at || packet->offset > end || bytes > end - packet->offset ||
        packet->size > INT32_MAX)
        return LS_FAIL(LS_DATA, "%s: damaged: the row of packet %llu lies outside its video",
                       place->path, (unsigned long long)(video->first_packet + number));
    return LS_OK;
}
