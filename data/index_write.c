/* Making the index from the shards. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files.h"
#include "data/footer.h"
#include "data/h5.h"
#include "data/index.h"
#include "data/shard.h"
#include "data/skips.h"

struct building {
    uint8_t *video_rows;
    size_t video_count, video_room;
    struct shard_record *shards;
    size_t shard_count, shard_room;
    struct record_blob blob;
    struct skips skips;
};

int64_t index_shard_number(const char *name)
{
    long long number = -1;
    int end = 0;
    if (sscanf(name, "shard-%9lld.h5%n", &number, &end) != 1 || end == 0 || name[end] != '\0' ||
        number < 0)
        return -1;
    char canonical[32];
    (void)snprintf(canonical, sizeof canonical, "shard-%05lld.h5", number);
    return strcmp(canonical, name) == 0 ? number : -1;
}

ls_status index_shard_path(char **out, const char *folder, uint64_t number)
{
    return core_format(out, "%s/shard-%05llu.h5", folder, (unsigned long long)number);
}

static void move_reference(uint64_t *at, uint64_t base)
{
    *at += base;
}

static ls_status add_shard(struct building *building, const char *folder, int64_t number)
{
    ls_status st = LS_OK;
    struct shard shard = {0};
    char *path = NULL;
    uint64_t at;
    uint64_t size;
    LS_TRY(index_shard_path(&path, folder, (uint64_t)number));
    LS_TRY(shard_open(&shard, path, 0));
    LS_TRY(table_grow((void **)&building->shards, &building->shard_room, building->shard_count,
                      sizeof *building->shards));
    shard.record.number = (uint64_t)number;
    shard.record.first_video = building->video_count;
    uint64_t standing = 0;
    for (uint64_t i = 0; i < shard.record.skipped; i++) {
        const char *name = (const char *)shard.blob + shard.skipped[i].name_at;
        standing += skips_stands(&building->skips, name, (uint64_t)number, i);
    }
    shard.record.skipped = standing;
    building->shards[building->shard_count++] = shard.record;
    uint64_t base = building->blob.size;
    LS_TRY(record_blob_add(&building->blob, shard.blob, (size_t)shard.blob_bytes, &at, &size));
    for (uint64_t v = 0; v < shard.record.videos; v++) {
        struct video_record *video = &shard.videos[v];
        move_reference(&video->name_at, base);
        move_reference(&video->container_at, base);
        move_reference(&video->codec_at, base);
        move_reference(&video->format_at, base);
        move_reference(&video->extradata_at, base);
        move_reference(&video->side_data_at, base);
        video->shard = (uint32_t)number;
        LS_TRY(table_grow((void **)&building->video_rows, &building->video_room,
                          building->video_count, VIDEO_ROW_BYTES));
        table_encode(&record_video_layout,
                     building->video_rows + building->video_count * VIDEO_ROW_BYTES, video, 1);
        building->video_count++;
    }
done:
    free(path);
    shard_close(&shard);
    return st;
}

static ls_status write_file(const struct building *building, const char *path)
{
    ls_status st = LS_OK;
    hid_t file = -1;
    uint8_t *rows = NULL;
    LS_TRY(core_alloc(&rows, building->shard_count * SHARD_ROW_BYTES));
    table_encode(&record_shard_layout, rows, building->shards, building->shard_count);
    LS_TRY(h5_create_file(&file, path));
    LS_TRY(h5_write_format(file, path, INDEX_FORMAT, RECORD_FORMAT_VERSION));
    LS_TRY(h5_write_table(file, path, &record_shard_layout, rows, building->shard_count));
    LS_TRY(h5_write_table(file, path, &record_video_layout, building->video_rows,
                          building->video_count));
    LS_TRY(h5_write_bytes(file, path, "blob", building->blob.data, building->blob.size));
    LS_TRY(h5_close_file(&file, path));
done:
    if (file >= 0)
        (void)H5Fclose(file);
    free(rows);
    return st;
}

static int compare_numbers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

ls_status index_list_shards(int64_t **out, size_t *out_count, const char *folder)
{
    ls_status st = LS_OK;
    char **names = NULL;
    size_t count = 0;
    size_t found = 0;
    int64_t *numbers = NULL;
    LS_TRY(files_list(&names, &count, folder));
    LS_TRY(core_alloc(&numbers, count));
    for (size_t i = 0; i < count; i++) {
        int64_t number = index_shard_number(names[i]);
        if (number >= 0)
            numbers[found++] = number;
    }
    qsort(numbers, found, sizeof *numbers, compare_numbers);
    *out = numbers;
    *out_count = found;
    numbers = NULL;
done:
    free(numbers);
    files_list_free(&names, count);
    return st;
}

ls_status index_write(const char *folder)
{
    ls_status st = LS_OK;
    struct building building = {0};
    struct footer footer;
    char *path = NULL;
    char *beside = NULL;
    int64_t *numbers = NULL;
    size_t count = 0;
    LS_TRY(core_format(&path, "%s/%s", folder, INDEX_NAME));
    LS_TRY(core_format(&beside, "%s.tmp-%ld", path, (long)getpid()));
    LS_TRY(skips_read(&building.skips, folder));
    LS_TRY(index_list_shards(&numbers, &count, folder));
    for (size_t i = 0; i < count; i++)
        LS_TRY(add_shard(&building, folder, numbers[i]));
    LS_TRY(write_file(&building, beside));
    LS_TRY(footer_append(&footer, beside));
    LS_TRY(files_sync(beside));
    LS_TRY(files_rename(beside, path));
done:
    if (st != LS_OK && beside != NULL)
        (void)unlink(beside);
    free(numbers);
    free(path);
    free(beside);
    free(building.video_rows);
    free(building.shards);
    record_blob_close(&building.blob);
    skips_close(&building.skips);
    return st;
}
