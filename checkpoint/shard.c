/* Writing one shard.
 *
 * HDF5 only draws up the file: it creates the datasets, contiguous and allocated early, in a sparse
 * file in memory (memory_file.h), and says where their bytes lie.  The real file is then written
 * front to back by ourselves, structure and data alike.  That gives plain errno values for a full
 * disk (HDF5 1.10.8 fails H5Fclose on a full disk and crashes in a later call, measured), one
 * sequential pass, and a whole-file checksum without reading anything back. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "checkpoint/layout.h"
#include "checkpoint/memory_file.h"
#include "core/fault.h"
#include "core/files.h"

_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "shards are written as they lie in memory");
_Static_assert(sizeof(struct hash128) == LAYOUT_HASH_BYTES, "hash tables have no gaps");

/* A chunk is hashed twice and copied into the page cache while it is still in the CPU's cache; the
 * disk is set to work every FLUSH_BYTES, so that it writes while we hash. */
enum { WRITE_BYTES = 1 << 20, FLUSH_BYTES = 64 << 20, ALIGNMENT = 4096, ALIGN_FROM = 65536 };
enum { BLOCK_BYTES = CHECKPOINT_BLOCK * sizeof(float) };

/* The file as HDF5 laid it out. */
struct drawing {
    int file; /* memfd */
    uint64_t bytes;
};

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

static herr_t keep_innermost(unsigned number, const H5E_error2_t *error, void *text)
{
    if (number == 0)
        (void)snprintf(text, 128, "%s", error->desc != NULL ? error->desc : "unknown");
    return 0;
}

/* The translator of HDF5's errors: its innermost reason, in one line. */
static ls_status h5_failure(const char *what)
{
    char reason[128] = "unknown";
    (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, reason);
    return LS_FAIL(LS_CHECKPOINT, "HDF5 cannot lay out %s of a shard: %s", what, reason);
}

#define H5_TRY(call, what)                                                                         \
    do {                                                                                           \
        if ((call) < 0) {                                                                          \
            st = h5_failure(what);                                                                 \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

static ls_status attribute_number(hid_t object, const char *name, int64_t value)
{
    ls_status st = LS_OK;
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(object, name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
    H5_TRY(attribute, "an attribute");
    H5_TRY(H5Awrite(attribute, H5T_NATIVE_INT64, &value), "an attribute");
done:
    if (attribute >= 0)
        (void)H5Aclose(attribute);
    if (space >= 0)
        (void)H5Sclose(space);
    return st;
}

static ls_status attribute_text(hid_t object, const char *name, const char *value)
{
    ls_status st = LS_OK;
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t type = H5Tcopy(H5T_C_S1);
    hid_t attribute = -1;
    H5_TRY(H5Tset_size(type, strlen(value)), "a text type");
    attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    H5_TRY(attribute, "an attribute");
    H5_TRY(H5Awrite(attribute, type, value), "an attribute");
done:
    if (attribute >= 0)
        (void)H5Aclose(attribute);
    if (type >= 0)
        (void)H5Tclose(type);
    if (space >= 0)
        (void)H5Sclose(space);
    return st;
}

/* A contiguous dataset that has its place in the file at once and is never filled. */
static ls_status dataset_place(uint64_t *out_at, hid_t file, const char *name, hid_t type,
                               const hsize_t *shape, int dimensions,
                               const struct checkpoint_array *array)
{
    ls_status st = LS_OK;
    hid_t dataset = -1;
    hid_t space = H5Screate_simple(dimensions, shape, NULL);
    hid_t plan = H5Pcreate(H5P_DATASET_CREATE);
    H5_TRY(space, "a shape");
    H5_TRY(plan, "a dataset");
    H5_TRY(H5Pset_layout(plan, H5D_CONTIGUOUS), "a dataset");
    H5_TRY(H5Pset_alloc_time(plan, H5D_ALLOC_TIME_EARLY), "a dataset");
    H5_TRY(H5Pset_fill_time(plan, H5D_FILL_TIME_NEVER), "a dataset");
    H5_TRY(H5Pset_obj_track_times(plan, false), "a dataset");
    dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, plan, H5P_DEFAULT);
    H5_TRY(dataset, name);
    LS_TRY(attribute_number(dataset, "offset", array->offset));
    LS_TRY(attribute_number(dataset, "total", array->total));
    haddr_t at = H5Dget_offset(dataset);
    if (shape[0] > 0 && at == HADDR_UNDEF) {
        st = h5_failure(name);
        goto done;
    }
    *out_at = shape[0] > 0 ? at : 0;
done:
    if (dataset >= 0)
        (void)H5Dclose(dataset);
    if (plan >= 0)
        (void)H5Pclose(plan);
    if (space >= 0)
        (void)H5Sclose(space);
    return st;
}

static ls_status draw_arrays(hid_t file, const struct checkpoint_state *state,
                             struct checkpoint_extent *extents)
{
    ls_status st = LS_OK;
    for (int a = 0; a < state->array_count; a++) {
        const struct checkpoint_array *array = &state->arrays[a];
        hsize_t count = (hsize_t)array->count;
        extents[a].offset = array->offset;
        extents[a].count = array->count;
        LS_TRY(dataset_place(&extents[a].data_at, file, array->name, H5T_IEEE_F32LE, &count, 1,
                             array));
    }
    for (int a = 0; a < state->array_count; a++) {
        const struct checkpoint_array *array = &state->arrays[a];
        hsize_t shape[2] = {(hsize_t)layout_blocks(array->count), 2};
        char name[CHECKPOINT_NAME_BYTES + 16];
        (void)snprintf(name, sizeof name, "%s.hashes", array->name);
        LS_TRY(dataset_place(&extents[a].table_at, file, name, H5T_STD_U64LE, shape, 2, array));
    }
done:
    return st;
}

static ls_status draw(struct drawing *out, const struct checkpoint_state *state, int shard, int of,
                      int64_t run_epoch, struct checkpoint_extent *extents)
{
    ls_status st = LS_OK;
    hid_t access = -1;
    hid_t file = -1;
    hid_t driver = -1;
    char name[MEMORY_FILE_NAME_BYTES];
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    int memory = memfd_create("lockstep-shard", MFD_CLOEXEC);
    if (memory < 0)
        return LS_FAIL(LS_CHECKPOINT, "no memory file for a shard: %s", strerror(errno));
    memory_file_name(name, memory);
    access = H5Pcreate(H5P_FILE_ACCESS);
    H5_TRY(access, "a file");
    driver = memory_file_driver();
    H5_TRY(driver, "a file");
    H5_TRY(H5Pset_driver(access, driver, NULL), "a file");
    H5_TRY(H5Pset_alignment(access, ALIGN_FROM, ALIGNMENT), "a file");
    file = H5Fcreate(name, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5_TRY(file, "a file");
    LS_TRY(attribute_text(file, "format", "lockstep checkpoint shard"));
    LS_TRY(attribute_number(file, "version",
                            state->slice > 0 ? LAYOUT_VERSION_DIVIDED : LAYOUT_VERSION));
    if (state->slice > 0)
        LS_TRY(attribute_number(file, "slice", state->slice));
    LS_TRY(attribute_number(file, "step", state->step));
    LS_TRY(attribute_number(file, "run_epoch", run_epoch));
    LS_TRY(attribute_number(file, "shard", shard));
    LS_TRY(attribute_number(file, "of", of));
    LS_TRY(attribute_number(file, "block", CHECKPOINT_BLOCK));
    LS_TRY(draw_arrays(file, state, extents));
    H5_TRY(H5Fclose(file), "a file");
    file = -1;
    off_t end = lseek(memory, 0, SEEK_END);
    if (end < 0) {
        st = LS_FAIL(LS_CHECKPOINT, "no size of a memory file: %s", strerror(errno));
        goto done;
    }
    out->file = memory;
    out->bytes = (uint64_t)end;
    memory = -1;
done:
    if (file >= 0)
        (void)H5Fclose(file);
    if (access >= 0)
        (void)H5Pclose(access);
    if (driver >= 0)
        (void)H5FDunregister(driver);
    if (memory >= 0)
        (void)close(memory);
    return st;
}

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

static ls_status put_drawn(struct writer *writer, const struct drawing *drawing, uint64_t end)
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
static ls_status write_file(struct hash128 *out, const char *path, const struct drawing *drawing,
                            struct piece *pieces, int count)
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
    struct drawing drawing = {.file = -1};
    struct hash128 *tables[CHECKPOINT_ARRAYS_MAX] = {NULL};
    struct piece pieces[2 * CHECKPOINT_ARRAYS_MAX];
    int count = 0;
    char *path = NULL;
    char *beside = NULL;
    LS_TRY(draw(&drawing, state, facts->shard, facts->of, run_epoch, facts->extents));
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
