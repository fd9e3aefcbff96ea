/* Opening, reading and verifying checkpoints.
 *
 * The manifest says where each range and its block hashes lie in the shard files, so reading is
 * pread and hashing: no HDF5, hence any thread, and nothing in a damaged file can lead a library
 * astray. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint/layout.h"
#include "checkpoint/manifest.h"
#include "checkpoint/verify.h"
#include "core/files.h"

enum { BLOCK_BYTES = CHECKPOINT_BLOCK * 4, RUN_BLOCKS = 64 };

static ls_status check_sizes(const struct checkpoint *c)
{
    ls_status st = LS_OK;
    char *path = NULL;
    uint64_t bytes = 0;
    for (int s = 0; s < c->info.shard_count; s++) {
        free(path);
        path = NULL;
        LS_TRY(layout_shard(&path, c->path, s, c->info.shard_count));
        LS_TRY(files_size(&bytes, path));
        if (bytes != c->shards[s].bytes) {
            st = LS_FAIL(LS_CHECKPOINT, "%s: %" PRIu64 " bytes, the manifest says %" PRIu64, path,
                         bytes, c->shards[s].bytes);
            goto done;
        }
    }
done:
    free(path);
    return st;
}

ls_status checkpoint_open(struct checkpoint **out, const char *path)
{
    ls_status st = LS_OK;
    struct checkpoint *c = NULL;
    char *real = realpath(path, NULL);
    if (real == NULL)
        return LS_FAIL(LS_CHECKPOINT, "%s: cannot open: %s", path, strerror(errno));
    LS_TRY(manifest_read(&c, real));
    LS_TRY(check_sizes(c));
    *out = c;
    c = NULL;
done:
    checkpoint_close(&c);
    free(real);
    return layout_failure(st);
}

const struct checkpoint_shard_facts *checkpoint_shards(const struct checkpoint *checkpoint)
{
    return checkpoint->shards;
}

/* One shard file being read. */
struct source {
    const char *path;
    int file;
    uint64_t array;                         /* hash of the array's name */
    const struct checkpoint_extent *extent; /* of the array */
    float *block;                           /* CHECKPOINT_BLOCK floats, for blocks read in part */
};

static ls_status check_block(const struct source *source, int64_t block, const float *data,
                             int64_t count, struct hash128 stored)
{
    if (hash_equal(layout_block_hash(source->array, block, data, count), stored))
        return LS_OK;
    return LS_FAIL(LS_CHECKPOINT, "%s: damaged: block %" PRId64 " does not match its hash",
                   source->path, block);
}

/* Elements [first, end) of the array, blocks [b0, b1) of the grid: whole blocks go straight to
 * `out`, which holds element `first`; a block that is wanted in part goes through source->block. */
static ls_status read_blocks(const struct source *source, float *out, int64_t first, int64_t end,
                             int64_t b0, int64_t b1)
{
    ls_status st = LS_OK;
    struct hash128 table[RUN_BLOCKS];
    const struct checkpoint_extent *e = source->extent;
    int64_t own = e->offset / CHECKPOINT_BLOCK; /* the shard's first block */
    int64_t begin = b0 * CHECKPOINT_BLOCK;
    int64_t stop = b1 * CHECKPOINT_BLOCK;
    if (stop > e->offset + e->count)
        stop = e->offset + e->count;
    bool whole = begin >= first && stop <= end;
    float *into = whole ? out + (begin - first) : source->block;
    LS_TRY(files_read_at(source->file, table, (size_t)(b1 - b0) * sizeof table[0],
                         e->table_at + (uint64_t)(b0 - own) * sizeof table[0], source->path));
    LS_TRY(files_read_at(source->file, into, (size_t)(stop - begin) * sizeof *into,
                         e->data_at + (uint64_t)(begin - e->offset) * sizeof *into, source->path));
    for (int64_t b = b0; b < b1; b++) {
        int64_t at = b * CHECKPOINT_BLOCK;
        int64_t left = stop - at;
        LS_TRY(check_block(source, b, into + (at - begin),
                           left < CHECKPOINT_BLOCK ? left : CHECKPOINT_BLOCK, table[b - b0]));
    }
    if (!whole) {
        int64_t from = begin > first ? begin : first;
        int64_t to = stop < end ? stop : end;
        memcpy(out + (from - first), into + (from - begin), (size_t)(to - from) * sizeof *out);
    }
done:
    return st;
}

/* The part of [first, end) that one shard holds. */
static ls_status read_from_shard(const struct source *source, float *out, int64_t first,
                                 int64_t end)
{
    ls_status st = LS_OK;
    int64_t stop = source->extent->offset + source->extent->count;
    int64_t b1 = layout_blocks(end);
    int64_t b = first / CHECKPOINT_BLOCK;
    while (b < b1) {
        int64_t begin = b * CHECKPOINT_BLOCK;
        int64_t next = begin + CHECKPOINT_BLOCK < stop ? begin + CHECKPOINT_BLOCK : stop;
        int64_t run = 1;
        /* Whole blocks are read many at a time. */
        while (begin >= first && next <= end && run < RUN_BLOCKS && b + run < b1) {
            int64_t after = next + CHECKPOINT_BLOCK < stop ? next + CHECKPOINT_BLOCK : stop;
            if (after > end)
                break;
            next = after;
            run++;
        }
        LS_TRY(read_blocks(source, out, first, end, b, b + run));
        b += run;
    }
done:
    return st;
}

static int find_array(const struct checkpoint *c, const char *name)
{
    for (int a = 0; a < c->info.array_count; a++)
        if (strcmp(c->info.arrays[a].name, name) == 0)
            return a;
    return -1;
}

/* What [*first, *end) of the array lies in the stretch. */
static bool cut(int64_t *first, int64_t *end, const struct checkpoint_array *wanted,
                const struct checkpoint_extent *stretch)
{
    int64_t stop = stretch->offset + stretch->count;
    *first = wanted->offset > stretch->offset ? wanted->offset : stretch->offset;
    *end = wanted->offset + wanted->count < stop ? wanted->offset + wanted->count : stop;
    return *first < *end;
}

static ls_status open_source(struct source *source, char **path, const struct checkpoint *c,
                             int shard)
{
    ls_status st = LS_OK;
    LS_TRY(layout_shard(path, c->path, shard, c->info.shard_count));
    source->path = *path;
    source->file = open(*path, O_RDONLY | O_CLOEXEC);
    if (source->file < 0)
        st = LS_FAIL(LS_CHECKPOINT, "%s: cannot open: %s", *path, strerror(errno));
done:
    return st;
}

static ls_status read_part(const struct checkpoint *c, int array, int shard, float *block,
                           const struct checkpoint_array *wanted)
{
    ls_status st = LS_OK;
    char *path = NULL;
    struct checkpoint_extent stretch;
    int64_t first = 0;
    int64_t end = 0;
    struct source source = {
        .file = -1, .block = block, .array = layout_array_hash(wanted->name), .extent = &stretch};
    const struct checkpoint_extent *extent = &c->shards[shard].extents[array];
    for (int64_t i = 0; layout_stretch(&stretch, extent, c->info.slice, c->info.shard_count, i);
         i++) {
        if (!cut(&first, &end, wanted, &stretch))
            continue;
        if (path == NULL)
            LS_TRY(open_source(&source, &path, c, shard));
        LS_TRY(read_from_shard(&source, wanted->data + (first - wanted->offset), first, end));
    }
done:
    if (source.file >= 0)
        (void)close(source.file);
    free(path);
    return st;
}

ls_status checkpoint_read(const struct checkpoint *checkpoint, const struct checkpoint_array *array)
{
    ls_status st = LS_OK;
    float *block = NULL;
    int index = find_array(checkpoint, array->name);
    if (index < 0)
        return LS_FAIL(LS_CHECKPOINT, "%s: holds no array '%s'", checkpoint->path, array->name);
    int64_t total = checkpoint->info.arrays[index].total;
    if (array->total != total)
        return LS_FAIL(LS_CHECKPOINT,
                       "%s: '%s' has %" PRId64 " elements, this model needs %" PRId64,
                       checkpoint->path, array->name, total, array->total);
    if (array->offset < 0 || array->count < 0 || array->offset > total - array->count)
        return LS_FAIL(LS_USAGE, "no range of '%s': %" PRId64 " + %" PRId64, array->name,
                       array->offset, array->count);
    LS_TRY(core_alloc(&block, CHECKPOINT_BLOCK));
    for (int s = 0; s < checkpoint->info.shard_count; s++)
        LS_TRY(read_part(checkpoint, index, s, block, array));
done:
    free(block);
    return layout_failure(st);
}
