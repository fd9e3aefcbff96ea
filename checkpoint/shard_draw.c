/* HDF5 creates the datasets, contiguous and allocated early, in a sparse file in memory
 * (memory_file.h), and says where their bytes lie.  Nobody writes them there. */
#include "checkpoint/shard_draw.h"

#include <errno.h>
#include <hdf5.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "checkpoint/memory_file.h"

enum { ALIGNMENT = 4096, ALIGN_FROM = 65536 };

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

ls_status shard_draw(struct shard_drawing *out, const struct checkpoint_state *state, int shard,
                     int of, int64_t run_epoch, struct checkpoint_extent *extents)
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
