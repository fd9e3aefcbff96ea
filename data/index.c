/* Opening the index.  HDF5 is asked once, in a process of its own, where the tables lie; after that
 * all access goes through the map, which needs no lock and is shared by the ranks of a machine. */
#include "data/index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files.h"
#include "data/footer.h"
#include "data/h5_locate.h"

#define REMEDY "make it again by `lockstep pack -o DATASET`"

static ls_status map_file(struct index_file *index)
{
    ls_status st = LS_OK;
    struct stat info;
    struct footer footer;
    const char *path = index->path;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &info) != 0) {
        st = LS_FAIL(LS_IO,
                     "%s: cannot open: %s: not a packed dataset, or its `lockstep pack` has "
                     "not ended",
                     path, strerror(errno));
        goto done;
    }
    st = footer_read(&footer, file, (uint64_t)info.st_size, path);
    if (st == LS_DATA)
        st = LS_FAIL(LS_DATA, "%s: truncated or damaged: " REMEDY, path);
    if (st != LS_OK)
        goto done;
    void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) {
        st = LS_FAIL(LS_IO, "%s: cannot map: %s", path, strerror(errno));
        goto done;
    }
    index->map = map;
    index->map_bytes = (uint64_t)info.st_size;
    index->hash = footer.hash;
    if (!hash_equal(hash_buffer(map, (size_t)footer.content_bytes), footer.hash))
        st =
            LS_FAIL(LS_DATA, "%s: damaged: its content does not match its checksum: " REMEDY, path);
done:
    if (file >= 0)
        (void)close(file);
    return st;
}

static ls_status check_shards(const struct index_file *index)
{
    uint64_t videos = 0;
    for (uint64_t s = 0; s < index->shard_count; s++) {
        const struct shard_record *shard = &index->shards[s];
        uint64_t content = shard->file_bytes - FOOTER_BYTES;
        if (shard->file_bytes < FOOTER_BYTES || shard->first_video != videos ||
            shard->videos > index->video_count - videos || shard->bytes > content ||
            shard->bytes_at > content - shard->bytes ||
            shard->packets > content / PACKET_ROW_BYTES ||
            shard->packets_at > content - shard->packets * PACKET_ROW_BYTES ||
            shard->frames > content / FRAME_ROW_BYTES ||
            shard->frames_at > content - shard->frames * FRAME_ROW_BYTES ||
            shard->number > UINT32_MAX)
            return LS_FAIL(LS_DATA, "%s: damaged: row %llu of its shards: " REMEDY, index->path,
                           (unsigned long long)s);
        videos += shard->videos;
    }
    if (videos != index->video_count)
        return LS_FAIL(LS_DATA, "%s: damaged: %llu videos in its shards, %llu rows: " REMEDY,
                       index->path, (unsigned long long)videos,
                       (unsigned long long)index->video_count);
    return LS_OK;
}

static ls_status find_tables(struct index_file *index)
{
    enum { SHARDS, VIDEOS, BLOB, TABLES };
    static const struct h5_wanted wanted[TABLES] = {
        [SHARDS] = {&record_shard_layout, NULL},
        [VIDEOS] = {&record_video_layout, NULL},
        [BLOB] = {NULL, "blob"},
    };
    ls_status st = LS_OK;
    struct h5_extent found[TABLES];
    LS_TRY(h5_locate(found, wanted, TABLES, index->path, INDEX_FORMAT,
                     index->map_bytes - FOOTER_BYTES));
    LS_TRY(core_alloc(&index->shards, found[SHARDS].count));
    table_decode(&record_shard_layout, index->shards, index->map + found[SHARDS].offset,
                 found[SHARDS].count);
    index->shard_count = found[SHARDS].count;
    index->video_count = found[VIDEOS].count;
    index->video_rows = index->map + found[VIDEOS].offset;
    index->blob = index->map + found[BLOB].offset;
    index->blob_bytes = found[BLOB].count;
done:
    return st;
}

ls_status index_open(struct index_file *out, const char *path)
{
    ls_status st = LS_OK;
    struct index_file index = {0};
    LS_TRY(core_format(&index.path, "%s", path));
    LS_TRY(map_file(&index));
    LS_TRY(find_tables(&index));
    LS_TRY(check_shards(&index));
    *out = index;
    index = (struct index_file){0};
done:
    index_close(&index);
    return st;
}

void index_close(struct index_file *index)
{
    if (index->map != NULL)
        (void)munmap((void *)(uintptr_t)index->map, (size_t)index->map_bytes);
    free(index->shards);
    free(index->path);
    *index = (struct index_file){0};
}

const struct shard_record *index_find_shard(const struct index_file *index, uint32_t number)
{
    uint64_t low = 0;
    uint64_t high = index->shard_count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (index->shards[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < index->shard_count && index->shards[low].number == number ? &index->shards[low]
                                                                           : NULL;
}

ls_status index_video(struct video_record *out, const struct index_file *index, uint64_t video)
{
    if (video >= index->video_count)
        return LS_FAIL(LS_DATA, "%s: no video %llu", index->path, (unsigned long long)video);
    table_decode(&record_video_layout, out, index->video_rows + video * VIDEO_ROW_BYTES, 1);
    const struct shard_record *shard = index_find_shard(index, out->shard);
    if (shard == NULL)
        return LS_FAIL(LS_DATA, "%s: damaged: video %llu is in no shard", index->path,
                       (unsigned long long)video);
    ls_status st = record_video_check(out, index->blob_bytes, shard, index->path);
    const uint64_t texts[] = {out->name_at + out->name_size, out->codec_at + out->codec_size,
                              out->container_at + out->container_size,
                              out->format_at + out->format_size};
    for (int i = 0; st == LS_OK && i < 4; i++)
        if (index->blob[texts[i]] != 0)
            st = LS_FAIL(LS_DATA, "%s: damaged: a text of video %llu has no end", index->path,
                         (unsigned long long)video);
    return st;
}
