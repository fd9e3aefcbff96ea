/* HDF5 behind a narrow door.  Everything that is written is contiguous, allocated early and without
 * times of creation, so that file offsets are known and two packs of the same files give the same
 * bytes; everything that is read is refused unless it has exactly that form (a link, a filter or
 * external storage could otherwise lead a reader to other files of the machine). */
#include "data/h5.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REASON_BYTES = 400 };

static herr_t take_innermost(unsigned position, const H5E_error2_t *error, void *context)
{
    char *reason = context;
    if (position == 0 && error->desc != NULL)
        (void)snprintf(reason, REASON_BYTES, "%s", error->desc);
    return 0;
}

ls_status h5_failure(ls_status code, const char *file, int line, const char *path, const char *what)
{
    char reason[REASON_BYTES] = "HDF5 gives no reason";
    (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, reason);
    return status_fail(code, file, line, "%s: cannot %s: %s", path, what, reason);
}

/* HDF5 prints its error stack by itself unless told not to. */
static void be_quiet(void)
{
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

ls_status h5_create_file(hid_t *out, const char *path)
{
    ls_status st = LS_OK;
    be_quiet();
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5_TRY(LS_IO, access, path, "prepare HDF5");
    H5_TRY(LS_IO, H5Pset_file_locking(access, false, true), path, "turn file locks off");
    H5_TRY(LS_IO, *out = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access), path, "create");
done:
    if (access >= 0)
        (void)H5Pclose(access);
    return st;
}

ls_status h5_open_file(hid_t *out, const char *path)
{
    ls_status st = LS_OK;
    be_quiet();
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5_TRY(LS_DATA, access, path, "prepare HDF5");
    H5_TRY(LS_DATA, H5Pset_file_locking(access, false, true), path, "turn file locks off");
    H5_TRY(LS_DATA, *out = H5Fopen(path, H5F_ACC_RDONLY, access), path, "open as HDF5");
done:
    if (access >= 0)
        (void)H5Pclose(access);
    return st;
}

ls_status h5_close_file(hid_t *file, const char *path)
{
    ls_status st = LS_OK;
    hid_t closing = *file;
    *file = -1;
    if (closing < 0)
        return LS_OK;
    if (H5Fflush(closing, H5F_SCOPE_GLOBAL) < 0)
        st = h5_failure(LS_IO, __FILE__, __LINE__, path, "write");
    if (H5Fclose(closing) < 0 && st == LS_OK)
        st = h5_failure(LS_IO, __FILE__, __LINE__, path, "close");
    return st;
}

static hid_t column_type(enum table_type type)
{
    switch (type) {
    case TABLE_U32:
        return H5T_STD_U32LE;
    case TABLE_I32:
        return H5T_STD_I32LE;
    case TABLE_U64:
        return H5T_STD_U64LE;
    case TABLE_I64:
        return H5T_STD_I64LE;
    case TABLE_F64:
        break;
    }
    return H5T_IEEE_F64LE;
}

static ls_status open_row_type(hid_t *out, const struct table_layout *layout, const char *path)
{
    ls_status st = LS_OK;
    size_t offset = 0;
    hid_t type = H5Tcreate(H5T_COMPOUND, layout->row_bytes);
    H5_TRY(LS_IO, type, path, "make a row type");
    for (int c = 0; c < layout->column_count; c++) {
        const struct table_column *column = &layout->columns[c];
        H5_TRY(LS_IO, H5Tinsert(type, column->name, offset, column_type(column->type)), path,
               "make a row type");
        offset += table_column_bytes(column->type);
    }
    *out = type;
    type = -1;
done:
    if (type >= 0)
        (void)H5Tclose(type);
    return st;
}

ls_status h5_create_dataset(hid_t *out, hid_t file, const char *path, const char *name, hid_t type,
                            uint64_t count)
{
    ls_status st = LS_OK;
    hsize_t size = count;
    hid_t space = H5Screate_simple(1, &size, NULL);
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5_TRY(LS_IO, space, path, "make a data space");
    H5_TRY(LS_IO, creation, path, "prepare a dataset");
    H5_TRY(LS_IO, H5Pset_layout(creation, H5D_CONTIGUOUS), path, "set the layout");
    H5_TRY(LS_IO, H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY), path, "set the layout");
    H5_TRY(LS_IO, H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER), path, "set the layout");
    H5_TRY(LS_IO, H5Pset_obj_track_times(creation, false), path, "set the layout");
    H5_TRY(LS_IO, *out = H5Dcreate2(file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT),
           path, "create a dataset");
done:
    if (creation >= 0)
        (void)H5Pclose(creation);
    if (space >= 0)
        (void)H5Sclose(space);
    return st;
}

static ls_status write_all(hid_t file, const char *path, const char *name, hid_t type,
                           const void *data, uint64_t count)
{
    ls_status st = LS_OK;
    hid_t dataset = -1;
    LS_TRY(h5_create_dataset(&dataset, file, path, name, type, count));
    if (count > 0)
        H5_TRY(LS_IO, H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data), path, "write");
done:
    if (dataset >= 0)
        (void)H5Dclose(dataset);
    return st;
}

ls_status h5_write_table(hid_t file, const char *path, const struct table_layout *layout,
                         const uint8_t *rows, uint64_t count)
{
    ls_status st = LS_OK;
    hid_t type = -1;
    LS_TRY(open_row_type(&type, layout, path));
    LS_TRY(write_all(file, path, layout->name, type, rows, count));
done:
    if (type >= 0)
        (void)H5Tclose(type);
    return st;
}

ls_status h5_write_bytes(hid_t file, const char *path, const char *name, const void *data,
                         uint64_t count)
{
    return write_all(file, path, name, H5T_STD_U8LE, data, count);
}

/* Only a hard link to a contiguous dataset in this very file is followed. */
static ls_status open_stored(hid_t *out, hid_t file, const char *path, const char *name)
{
    ls_status st = LS_OK;
    H5L_info_t link;
    hid_t creation = -1;
    hid_t dataset = -1;
    H5_TRY(LS_DATA, H5Lget_info(file, name, &link, H5P_DEFAULT), path, "find a table");
    if (link.type != H5L_TYPE_HARD) {
        st = LS_FAIL(LS_DATA, "%s: /%s is a link: refused", path, name);
        goto done;
    }
    H5_TRY(LS_DATA, dataset = H5Dopen2(file, name, H5P_DEFAULT), path, "open a table");
    H5_TRY(LS_DATA, creation = H5Dget_create_plist(dataset), path, "look at a table");
    if (H5Pget_layout(creation) != H5D_CONTIGUOUS || H5Pget_external_count(creation) != 0 ||
        H5Pget_nfilters(creation) != 0) {
        st = LS_FAIL(LS_DATA, "%s: /%s is not stored contiguously in this file: refused", path,
                     name);
        goto done;
    }
    *out = dataset;
    dataset = -1;
done:
    if (creation >= 0)
        (void)H5Pclose(creation);
    if (dataset >= 0)
        (void)H5Dclose(dataset);
    return st;
}

static ls_status find_extent(struct h5_extent *out, hid_t file, const char *path, const char *name,
                             hid_t type, size_t element_bytes, uint64_t file_bytes)
{
    ls_status st = LS_OK;
    hid_t dataset = -1;
    hid_t space = -1;
    hid_t stored = -1;
    LS_TRY(open_stored(&dataset, file, path, name));
    H5_TRY(LS_DATA, space = H5Dget_space(dataset), path, "look at a table");
    H5_TRY(LS_DATA, stored = H5Dget_type(dataset), path, "look at a table");
    hsize_t count = 0;
    if (H5Sget_simple_extent_ndims(space) != 1 || H5Tequal(stored, type) <= 0 ||
        H5Sget_simple_extent_dims(space, &count, NULL) != 1) {
        st = LS_FAIL(LS_DATA, "%s: /%s does not have the form of format version 1", path, name);
        goto done;
    }
    haddr_t offset = count > 0 ? H5Dget_offset(dataset) : 0;
    if (count > file_bytes / element_bytes || offset > file_bytes - count * element_bytes) {
        st = LS_FAIL(LS_DATA, "%s: /%s lies outside the file", path, name);
        goto done;
    }
    *out = (struct h5_extent){.offset = offset, .count = count};
done:
    if (stored >= 0)
        (void)H5Tclose(stored);
    if (space >= 0)
        (void)H5Sclose(space);
    if (dataset >= 0)
        (void)H5Dclose(dataset);
    return st;
}

ls_status h5_find_table(struct h5_extent *out, hid_t file, const char *path,
                        const struct table_layout *layout, uint64_t file_bytes)
{
    ls_status st = LS_OK;
    hid_t type = -1;
    LS_TRY(open_row_type(&type, layout, path));
    LS_TRY(find_extent(out, file, path, layout->name, type, layout->row_bytes, file_bytes));
done:
    if (type >= 0)
        (void)H5Tclose(type);
    return st;
}

ls_status h5_find_bytes(struct h5_extent *out, hid_t file, const char *path, const char *name,
                        uint64_t file_bytes)
{
    return find_extent(out, file, path, name, H5T_STD_U8LE, 1, file_bytes);
}

static ls_status write_attribute(hid_t file, const char *path, const char *name, hid_t type,
                                 const void *value)
{
    ls_status st = LS_OK;
    hid_t attribute = -1;
    hid_t space = H5Screate(H5S_SCALAR);
    H5_TRY(LS_IO, space, path, "make a data space");
    H5_TRY(LS_IO, attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT), path,
           "write an attribute");
    H5_TRY(LS_IO, H5Awrite(attribute, type, value), path, "write an attribute");
done:
    if (attribute >= 0)
        (void)H5Aclose(attribute);
    if (space >= 0)
        (void)H5Sclose(space);
    return st;
}

ls_status h5_write_format(hid_t file, const char *path, const char *format, int version)
{
    ls_status st = LS_OK;
    int32_t number = version;
    hid_t text = H5Tcopy(H5T_C_S1);
    H5_TRY(LS_IO, text, path, "make a text type");
    H5_TRY(LS_IO, H5Tset_size(text, strlen(format)), path, "make a text type");
    LS_TRY(write_attribute(file, path, "format", text, format));
    LS_TRY(write_attribute(file, path, "format_version", H5T_STD_I32LE, &number));
done:
    if (text >= 0)
        (void)H5Tclose(text);
    return st;
}

ls_status h5_check_format(hid_t file, const char *path, const char *format, int version)
{
    ls_status st = LS_OK;
    char name[64] = "";
    int32_t number = -1;
    hid_t attribute = -1;
    hid_t type = -1;
    H5_TRY(LS_DATA, attribute = H5Aopen(file, "format", H5P_DEFAULT), path, "read its format");
    H5_TRY(LS_DATA, type = H5Aget_type(attribute), path, "read its format");
    if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0 ||
        H5Tget_size(type) >= sizeof name || H5Aread(attribute, type, name) < 0 ||
        strcmp(name, format) != 0) {
        st = LS_FAIL(LS_DATA, "%s: not a %s file", path, format);
        goto done;
    }
    (void)H5Aclose(attribute);
    H5_TRY(LS_DATA, attribute = H5Aopen(file, "format_version", H5P_DEFAULT), path,
           "read its format version");
    H5_TRY(LS_DATA, H5Aread(attribute, H5T_NATIVE_INT32, &number), path, "read its format version");
    if (number != version)
        st = LS_FAIL(LS_DATA, "%s: format version %d, this program reads version %d", path,
                     (int)number, version);
done:
    if (type >= 0)
        (void)H5Tclose(type);
    if (attribute >= 0)
        (void)H5Aclose(attribute);
    return st;
}
