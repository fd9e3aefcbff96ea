/* Writing one shard, as HDF5 has drawn it up (shard_draw.h): front to back, structure and data
 * alike. That gives plain errno values for a full disk (HDF5 1.10.8 fails H5Fclose on a full disk
 * and crashes in a later call, measured), one sequential pass, and a whole-file checksum without
 * reading anything back. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint/layout.h"
#include "checkpoint/shard_draw.h"
#include "core/fault.h"
#include "core/files.h"

_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "shards are written as they lie in memory");
_Static_assert(sizeof(struct hash128) == LAYOUT_HASH_BYTES, "hash tables have no gaps");

/* A chunk is hashed twice and copied into the page cache while it is still in the CPU's cache; the
 * disk is set to work every FLUSH_BYTES, so that it writes while we hash. */
enum { WRITE_BYTES = 1 << 20, FLUSH_BYTES = 64 << 20 };
enum { BLOCK_BYTES = CHECKPOINT_BLOCK * sizeof(float) };

/* A stretch of the file whose bytes come from memory; the rest comes from the drawing. */
struct piece {
    uint64_t at, bytes;
    const void *data;
    struct hash128 *table; /* filled with the hashes of its blocks on the way; NULL: not an array */
    uint64_t name;         /* of the array, hashed */
    const struct checkpoint_extent *extent;
    int64_t slice; /* of a divided array; else 0 */
    int of;
};

struct writer {
    const char *path;
    int file;
    struct hash_stream *hash;
    uint64_t at, flushed;
    char *buffer; /* WRITE_BYTES */
};

static int compare_pieces(const void *a, const void *b)
{
    uint64_t left = ((const struct piece *)a)->at;
    uint64_t right = ((const struct piece *)b)->at;
    return (left > right) - (left < right);
}

/* Set the disk to work on what was written.  Only advice: fsync is what counts. */
static void flush_early(struct writer *writer)
{
    if (writer->at - writer->flushed < FLUSH_BYTES)
        return;
    (void)sync_file_range(writer->file, (off_t)writer->flushed,
                          (off_t)(writer->at - writer->flushed), SYNC_FILE_RANGE_WRITE);
    writer->flushed = writer->at;
}

static ls_status put(struct writer *writer, const void *data, size_t bytes)
{
    hash_stream_add(writer->hash, data, bytes);
    ls_status st = files_write_all(writer->file, data, bytes, writer->path);
    writer->at += bytes;
    flush_early(writer);
    return st;
}

/* Number in the whole array of the piece's block `block`. */
static int64_t number_of(const struct piece *piece, int64_t block)
{
    struct checkpoint_extent stretch;
    int64_t blocks = piece->slice / CHECKPOINT_BLOCK; /* of a slice */
    int64_t index = blocks > 0 ? block / blocks : 0;
    if (!layout_stretch(&stretch, piece->extent, piece->slice, piece->of, index))
        return -1;
    return stretch.offset / CHECKPOINT_BLOCK + block - index * blocks;
}

/* Hashes of the blocks in bytes [offset, offset + bytes) of an array's range. */
static void hash_blocks(const struct piece *piece, uint64_t offset, size_t bytes)
{
    int64_t block = (int64_t)(offset / BLOCK_BYTES);
    const char *data = (const char *)piece->data + offset;
    for (size_t chunk = 0; bytes > 0; bytes -= chunk, data += chunk, block++) {
        chunk = bytes < BLOCK_BYTES ? bytes : BLOCK_BYTES;
        piece->table[block] =
            layout_block_hash(piece->name, number_of(piece, block),
                              (const float *)(const void *)data, (int64_t)(chunk / sizeof(float)));
    }
}

static ls_status put_piece(struct writer *writer, const struct piece *piece)
{
    ls_status st = LS_OK;
    for (uint64_t done_bytes = 0; done_bytes < piece->bytes;) {
        uint64_t left = piece->bytes - done_bytes;
        size_t chunk = left < WRITE_BYTES ? (size_t)left : WRITE_BYTES;
        if (piece->table != NULL)
            hash_blocks(piece, done_bytes, chunk);
        LS_TRY(put(writer, (const char *)piece->data + done_bytes, chunk));
        done_bytes += chunk;
    }
done:
    return st;
}

static ls_status put_drawn(struct writer *writer, const struct shard_drawing *drawing, uint64_t end)
{
    ls_status st = LS_OK;
    while (writer->at < end) {
        uint64_t left = end - writer->at;
        size_t chunk = left < WRITE_BYTES ? (size_t)left : WRITE_BYTES;
        LS_TRY(files_read_at(drawing->file, writer->buffer, chunk, writer->at, "a memory file"));
        LS_TRY(put(writer, writer->buffer, chunk));
    }
done:
    return st;
}

/* The file front to back: pieces from memory, what is between them from the drawing. */
static ls_status write_file(struct hash128 *out, const char *path,
                            const struct shard_drawing *drawing, struct piece *pieces, int count)
{
    ls_status st = LS_OK;
    struct writer writer = {.path = path, .file = -1};
    qsort(pieces, (size_t)count, sizeof *pieces, compare_pieces);
    LS_TRY(core_alloc(&writer.buffer, WRITE_BYTES));
    LS_TRY(hash_stream_open(&writer.hash));
    if (fault_point("create") == 0)
        writer.file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (writer.file < 0) {
        st = LS_FAIL(LS_CHECKPOINT, "%s: cannot create: %s", path, strerror(errno));
        goto done;
    }
    for (int i = 0; i < count; i++) {
        LS_TRY(put_drawn(&writer, drawing, pieces[i].at));
        LS_TRY(put_piece(&writer, &pieces[i]));
    }
    LS_TRY(put_drawn(&writer, drawing, drawing->bytes));
    if (fault_point("fsync") != 0 || fsync(writer.file) != 0) {
        st = LS_FAIL(LS_CHECKPOINT, "%s: cannot fsync: %s", path, strerror(errno));
        goto done;
    }
    int closed = close(writer.file);
    writer.file = -1;
    if (closed != 0) {
        st = LS_FAIL(LS_CHECKPOINT, "%s: cannot close: %s", path, strerror(errno));
        goto done;
    }
    *out = hash_stream_value(writer.hash);
done:
    if (writer.file >= 0)
        (void)close(writer.file);
    if (st != LS_OK)
        (void)unlink(path);
    hash_stream_close(&writer.hash);
    free(writer.buffer);
    return st;
}

static bool on_grid(const struct checkpoint_array *array, int64_t slice, int shard, int of)
{
    int64_t offset = 0;
    int64_t count = 0;
    if (slice == 0)
        return (array->offset % CHECKPOINT_BLOCK == 0 || array->count == 0) &&
               (array->count % CHECKPOINT_BLOCK == 0 ||
                array->offset + array->count == array->total);
    checkpoint_slices(&offset, &count, array->total, slice, shard, of);
    return slice % CHECKPOINT_BLOCK == 0 && array->offset == offset && array->count == count;
}

static ls_status check_arrays(const struct checkpoint_state *state, int shard, int of)
{
    if (state->array_count < 1 || state->array_count > CHECKPOINT_ARRAYS_MAX)
        return LS_FAIL(LS_USAGE, "a checkpoint has 1 to %d arrays, not %d", CHECKPOINT_ARRAYS_MAX,
                       state->array_count);
    for (int a = 0; a < state->array_count; a++) {
        const struct checkpoint_array *array = &state->arrays[a];
        if (array->offset < 0 || array->count < 0 || array->offset > array->total - array->count ||
            !on_grid(array, state->slice, shard, of) ||
            strlen(array->name) >= CHECKPOINT_NAME_BYTES || strchr(array->name, '/') != NULL)
            return LS_FAIL(LS_USAGE, "array '%s' is no range on the checkpoint's grid",
                           array->name);
    }
    return LS_OK;
}

static ls_status write_shard(struct checkpoint_shard_facts *facts, const char *partial,
                             const struct checkpoint_state *state, int64_t run_epoch)
{
    ls_status st = LS_OK;
    struct shard_drawing drawing = {.file = -1};
    struct hash128 *tables[CHECKPOINT_ARRAYS_MAX] = {NULL};
    struct piece pieces[2 * CHECKPOINT_ARRAYS_MAX];
    int count = 0;
    char *path = NULL;
    char *beside = NULL;
    LS_TRY(shard_draw(&drawing, state, facts->shard, facts->of, run_epoch, facts->extents));
    for (int a = 0; a < state->array_count; a++) {
        const struct checkpoint_array *array = &state->arrays[a];
        const struct checkpoint_extent *extent = &facts->extents[a];
        if (array->count == 0)
            continue;
        LS_TRY(core_alloc(&tables[a], layout_blocks(array->count)));
        pieces[count++] = (struct piece){.at = extent->data_at,
                                         .bytes = (uint64_t)array->count * sizeof *array->data,
                                         .data = array->data,
                                         .table = tables[a],
                                         .name = layout_array_hash(array->name),
                                         .extent = extent,
                                         .slice = state->slice,
                                         .of = facts->of};
        if (extent->table_at <
            extent->data_at) { /* HDF5 put the table first: no hashing on the way */
            hash_blocks(&pieces[count - 1], 0, pieces[count - 1].bytes);
            pieces[count - 1].table = NULL;
        }
        pieces[count++] =
            (struct piece){.at = extent->table_at,
                           .bytes = (uint64_t)layout_blocks(array->count) * LAYOUT_HASH_BYTES,
                           .data = tables[a]};
    }
    facts->bytes = drawing.bytes;
    LS_TRY(layout_shard(&path, partial, facts->shard, facts->of));
    LS_TRY(core_format(&beside, "%s.tmp", path));
    LS_TRY(write_file(&facts->checksum, beside, &drawing, pieces, count));
    for (int a = 0; a < state->array_count; a++)
        for (int64_t b = 0; tables[a] != NULL && b < layout_blocks(state->arrays[a].count); b++)
            facts->digest = hash_add(facts->digest, tables[a][b]);
    LS_TRY(files_rename(beside, path));
done:
    for (int a = 0; a < CHECKPOINT_ARRAYS_MAX; a++)
        free(tables[a]);
    if (drawing.file >= 0)
        (void)close(drawing.file);
    free(beside);
    free(path);
    return st;
}

ls_status checkpoint_shard_write(struct checkpoint_shard_facts *out, const char *folder,
                                 const struct checkpoint_state *state, int shard, int of,
                                 int64_t run_epoch)
{
    ls_status st = LS_OK;
    char *partial = NULL;
    struct checkpoint_shard_facts facts;
    memset(&facts, 0, sizeof facts); /* sent between ranks as bytes: no stray padding */
    facts.shard = shard;
    facts.of = of;
    LS_TRY(check_arrays(state, shard, of));
    LS_TRY(layout_folder(&partial, folder,
                         (struct layout_name){LAYOUT_PARTIAL, state->step, run_epoch}));
    LS_TRY(files_make_folder(partial));
    LS_TRY(files_sync(folder));
    LS_TRY(write_shard(&facts, partial, state, run_epoch));
    memcpy(out, &facts, sizeof facts);
done:
    free(partial);
    return layout_failure(st);
}
