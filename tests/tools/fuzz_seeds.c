/* fuzz_seeds: writes what the fuzz targets start from.
 *
 *   fuzz_seeds FOLDER     FOLDER/list, index, shard, hdf5, tables, decode: one file a seed
 *
 * All is made here: small videos of every kind that tests/support/packed.h knows, packed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/footer.h"
#include "data/h5_locate.h"
#include "data/index.h"
#include "data/pack_video.h"
#include "data/shard.h"
#include "tests/support/packed.h"

static void stay_silent(void *context)
{
    (void)context;
}

static ls_status copy(const char *to_folder, const char *to_name, const char *from, size_t less)
{
    ls_status st = LS_OK;
    char *bytes = NULL;
    char *path = NULL;
    size_t size = 0;
    LS_TRY(files_read(&bytes, &size, from, (size_t)1 << 28));
    LS_TRY(files_make_folder(to_folder));
    LS_TRY(core_format(&path, "%s/%s", to_folder, to_name));
    LS_TRY(files_replace(path, bytes, size > less ? size - less : 0));
done:
    free(path);
    free(bytes);
    return st;
}

/* A file's extents as tests/fuzz/fake_locate.h wants them, then the file without its footer. */
static ls_status copy_with_extents(const char *to_folder, const char *to_name, const char *from,
                                   const struct h5_wanted *wanted, int count, const char *format)
{
    ls_status st = LS_OK;
    struct h5_extent extents[H5_LOCATE_MAX];
    uint8_t *all = NULL;
    char *bytes = NULL;
    char *path = NULL;
    size_t size = 0;
    const size_t head = (size_t)count * 16;
    LS_TRY(files_read(&bytes, &size, from, (size_t)1 << 28));
    size -= FOOTER_BYTES;
    LS_TRY(h5_locate(extents, wanted, count, from, format, size));
    LS_TRY(core_alloc(&all, head + size));
    for (int i = 0; i < count; i++) {
        memcpy(all + (size_t)i * 16, &extents[i].offset, 8);
        memcpy(all + (size_t)i * 16 + 8, &extents[i].count, 8);
    }
    memcpy(all + head, bytes, size);
    LS_TRY(files_make_folder(to_folder));
    LS_TRY(core_format(&path, "%s/%s", to_folder, to_name));
    LS_TRY(files_replace(path, all, head + size));
done:
    free(path);
    free(bytes);
    free(all);
    return st;
}

static ls_status write_index(const char *folder, const char *from)
{
    static const struct h5_wanted wanted[] = {
        {&record_shard_layout, NULL}, {&record_video_layout, NULL}, {NULL, "blob"}};
    return copy_with_extents(folder, "all", from, wanted, 3, INDEX_FORMAT);
}

static ls_status write_shard(const char *folder, const char *name, const char *from)
{
    static const struct h5_wanted wanted[] = {{&record_video_layout, NULL},
                                              {&record_skipped_layout, NULL},
                                              {&record_packet_layout, NULL},
                                              {&record_frame_layout, NULL},
                                              {NULL, "bytes"},
                                              {NULL, "blob"}};
    return copy_with_extents(folder, name, from, wanted, 6, SHARD_FORMAT);
}

static ls_status write_lists(const char *folder)
{
    static const char *const lists[] = {
        "a.mp4 3\nb c.mp4 -1\n",
        "\"with \"\"quotes\"\".mp4\" 7 2.5\r\n\n/dev/null 1\n",
        "\xEF\xBB\xBFpath::12\npath::x\nno label.mp4\nx 1 0.25\n",
    };
    ls_status st = LS_OK;
    char *path = NULL;
    LS_TRY(files_make_folder(folder));
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        LS_TRY(core_format(&path, "%s/%zu", folder, i));
        LS_TRY(files_replace(path, lists[i], strlen(lists[i])));
        free(path);
        path = NULL;
    }
done:
    free(path);
    return st;
}

/* The part of one kind of video, as packing makes it. */
static ls_status write_part(const struct packed *packed, const char *name, const char *tables,
                            const char *decode)
{
    ls_status st = LS_OK;
    char video[256];
    char part[256];
    bool skipped = false;
    const struct prove_progress progress = {.alive = stay_silent};
    (void)snprintf(video, sizeof video, "%s/%s", packed->videos, name);
    (void)snprintf(part, sizeof part, "%s/seed.part", packed->folder);
    const struct pack_source source = {
        .name = name, .path = video, .label = -1, .weight = 1, .bytes = 1 << 20};
    LS_TRY(pack_video(&skipped, part, &source, &progress));
    LS_TRY(copy(tables, name, part, FOOTER_BYTES));
    LS_TRY(copy(decode, name, part, FOOTER_BYTES));
done:
    return st;
}

static ls_status write_all(const char *folder, struct packed *packed)
{
    enum { LIST, INDEX, SHARD, HDF5, TABLES, DECODE, FOLDERS };
    static const char *const names[FOLDERS] = {"list", "index",  "shard",
                                               "hdf5", "tables", "decode"};
    ls_status st = LS_OK;
    char *folders[FOLDERS] = {NULL};
    char path[256];
    struct pack_summary summary;
    for (int f = 0; f < FOLDERS; f++)
        LS_TRY(core_format(&folders[f], "%s/%s", folder, names[f]));
    LS_TRY(write_lists(folders[LIST]));
    LS_TRY(packed_make_all(packed));
    LS_TRY(packed_write(packed, "broken.mp4", "none", 4));
    LS_TRY(packed_pack(&summary, packed, 1, 1 << 14));
    (void)snprintf(path, sizeof path, "%s/index.h5", packed->dataset);
    LS_TRY(write_index(folders[INDEX], path));
    for (int s = 0; s < summary.shards; s++) {
        char name[32];
        (void)snprintf(name, sizeof name, "shard-%05d.h5", s);
        (void)snprintf(path, sizeof path, "%s/%s", packed->dataset, name);
        LS_TRY(write_shard(folders[SHARD], name, path));
        LS_TRY(copy(folders[HDF5], name, path, FOOTER_BYTES));
    }
    for (int kind = 0; kind < packed_kind_count; kind++) {
        (void)snprintf(path, sizeof path, "%s/%s", packed->videos, packed_kinds[kind].name);
        if (files_exists(path))
            LS_TRY(write_part(packed, packed_kinds[kind].name, folders[TABLES], folders[DECODE]));
    }
done:
    for (int f = 0; f < FOLDERS; f++)
        free(folders[f]);
    return st;
}

int main(int argc, char **argv)
{
    struct packed packed;
    if (argc != 2) {
        (void)fputs("usage: fuzz_seeds FOLDER\n", stderr);
        return 2;
    }
    ls_status st = packed_open(&packed);
    if (st == LS_OK) {
        st = write_all(argv[1], &packed);
        if (packed_close(&packed) != LS_OK && st == LS_OK)
            st = LS_IO;
    }
    if (st != LS_OK)
        (void)fprintf(stderr, "fuzz_seeds: %s\n", status_text());
    return status_exit_code(st);
}
