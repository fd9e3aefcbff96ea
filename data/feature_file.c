/* Rows are written where they belong as they come, so memory holds a few videos only. */
#include "data/feature_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files.h"
#include "data/h5.h"

enum { DIMENSIONS_MAX = 3, FORMAT_VERSION = 1 };

struct feature_file {
    char *path, *partial;
    hid_t file, features;
    bool committed;
    struct feature_file_shape shape;
};

/* A contiguous dataset of any shape. */
static ls_status create(hid_t *out, const struct feature_file *file, const char *name, hid_t type,
                        int dimensions, const hsize_t *size)
{
    ls_status st = LS_OK;
    hid_t space = H5Screate_simple(dimensions, size, NULL);
    H5_TRY(LS_IO, space, file->partial, "describe a dataset");
    H5_TRY(LS_IO,
           *out = H5Dcreate2(file->file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
           file->partial, "create a dataset");
done:
    if (space >= 0)
        (void)H5Sclose(space);
    return st;
}

static ls_status write_text_attribute(const struct feature_file *file, const char *name,
                                      const char *text)
{
    ls_status st = LS_OK;
    hid_t attribute = -1;
    hid_t type = H5Tcopy(H5T_C_S1);
    hid_t space = H5Screate(H5S_SCALAR);
    H5_TRY(LS_IO, H5Tset_size(type, strlen(text) + 1), file->partial, "make a text type");
    H5_TRY(LS_IO, attribute = H5Acreate2(file->file, name, type, space, H5P_DEFAULT, H5P_DEFAULT),
           file->partial, "create an attribute");
    H5_TRY(LS_IO, H5Awrite(attribute, type, text), file->partial, "write an attribute");
done:
    if (attribute >= 0)
        (void)H5Aclose(attribute);
    (void)H5Sclose(space);
    (void)H5Tclose(type);
    return st;
}

static ls_status write_step(const struct feature_file *file)
{
    ls_status st = LS_OK;
    hid_t attribute = -1;
    hid_t space = H5Screate(H5S_SCALAR);
    H5_TRY(LS_IO,
           attribute =
               H5Acreate2(file->file, "step", H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT),
           file->partial, "create an attribute");
    H5_TRY(LS_IO, H5Awrite(attribute, H5T_NATIVE_INT64, &file->shape.step), file->partial,
           "write an attribute");
done:
    if (attribute >= 0)
        (void)H5Aclose(attribute);
    (void)H5Sclose(space);
    return st;
}

ls_status feature_file_open(struct feature_file **out, const char *path,
                            const struct feature_file_shape *shape)
{
    ls_status st = LS_OK;
    struct feature_file *file = NULL;
    const hsize_t rows = (hsize_t)shape->videos;
    const hsize_t size[DIMENSIONS_MAX] = {
        rows, (hsize_t)(shape->tokens > 0 ? shape->tokens : shape->dim), (hsize_t)shape->dim};
    LS_TRY(core_alloc(&file, 1));
    file->file = file->features = -1;
    file->shape = *shape;
    LS_TRY(core_format(&file->path, "%s", path));
    LS_TRY(core_format(&file->partial, "%s.tmp-%ld", path, (long)getpid()));
    LS_TRY(h5_create_file(&file->file, file->partial));
    LS_TRY(h5_write_format(file->file, file->partial, "lockstep-features", FORMAT_VERSION));
    LS_TRY(write_text_attribute(file, "checkpoint", shape->checkpoint));
    LS_TRY(write_text_attribute(file, "network", shape->network));
    LS_TRY(write_step(file));
    LS_TRY(
        create(&file->features, file, "features", H5T_IEEE_F32LE, shape->tokens > 0 ? 3 : 2, size));
    *out = file;
    file = NULL;
done:
    feature_file_close(&file);
    return st;
}

ls_status feature_file_write(struct feature_file *file, int64_t first, int64_t count,
                             const float *values)
{
    ls_status st = LS_OK;
    const struct feature_file_shape *s = &file->shape;
    const int dimensions = s->tokens > 0 ? 3 : 2;
    const hsize_t start[DIMENSIONS_MAX] = {(hsize_t)first, 0, 0};
    const hsize_t size[DIMENSIONS_MAX] = {
        (hsize_t)count, (hsize_t)(s->tokens > 0 ? s->tokens : s->dim), (hsize_t)s->dim};
    hid_t memory = H5Screate_simple(dimensions, size, NULL);
    hid_t space = H5Dget_space(file->features);
    H5_TRY(LS_IO, H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, size, NULL),
           file->partial, "choose rows");
    H5_TRY(LS_IO, H5Dwrite(file->features, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, values),
           file->partial, "write features");
done:
    (void)H5Sclose(space);
    (void)H5Sclose(memory);
    return st;
}

static ls_status write_column(const struct feature_file *file, const char *name, hid_t stored,
                              hid_t memory, const void *values)
{
    ls_status st = LS_OK;
    const hsize_t rows = (hsize_t)file->shape.videos;
    hid_t column = -1;
    LS_TRY(create(&column, file, name, stored, 1, &rows));
    H5_TRY(LS_IO, H5Dwrite(column, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), file->partial,
           "write a column");
done:
    if (column >= 0)
        (void)H5Dclose(column);
    return st;
}

/* Names as texts of one length, filled with zeros. */
static ls_status write_names(const struct feature_file *file, const struct dataset *dataset)
{
    ls_status st = LS_OK;
    size_t longest = 1;
    char *names = NULL;
    hid_t type = H5Tcopy(H5T_C_S1);
    for (int64_t v = 0; v < file->shape.videos; v++) {
        const size_t length = strlen(dataset_video(dataset, v).name);
        longest = length > longest ? length : longest;
    }
    LS_TRY(core_alloc(&names, (size_t)file->shape.videos * longest + 1));
    for (int64_t v = 0; v < file->shape.videos; v++) {
        const char *name = dataset_video(dataset, v).name;
        /* The row is zero already, and its last byte need not be. */
        for (size_t at = 0; name[at] != '\0'; at++)
            names[(size_t)v * longest + at] = name[at];
    }
    H5_TRY(LS_IO, H5Tset_size(type, longest), file->partial, "make a text type");
    H5_TRY(LS_IO, H5Tset_strpad(type, H5T_STR_NULLPAD), file->partial, "make a text type");
    H5_TRY(LS_IO, H5Tset_cset(type, H5T_CSET_UTF8), file->partial, "make a text type");
    LS_TRY(write_column(file, "names", type, type, names));
done:
    (void)H5Tclose(type);
    free(names);
    return st;
}

ls_status feature_file_commit(struct feature_file *file, const struct dataset *dataset,
                              const bool *readable)
{
    ls_status st = LS_OK;
    int64_t *labels = NULL;
    LS_TRY(core_alloc(&labels, file->shape.videos));
    for (int64_t v = 0; v < file->shape.videos; v++)
        labels[v] = dataset_video(dataset, v).label;
    LS_TRY(write_column(file, "labels", H5T_STD_I64LE, H5T_NATIVE_INT64, labels));
    LS_TRY(write_column(file, "readable", H5T_STD_U8LE, H5T_NATIVE_UINT8, readable));
    LS_TRY(write_names(file, dataset));
    LS_TRY(write_text_attribute(file, "dataset", dataset_path(dataset)));
    (void)H5Dclose(file->features);
    file->features = -1;
    LS_TRY(h5_close_file(&file->file, file->partial));
    LS_TRY(files_sync(file->partial));
    LS_TRY(files_rename(file->partial, file->path));
    file->committed = true;
done:
    free(labels);
    return st;
}

void feature_file_close(struct feature_file **file)
{
    struct feature_file *f = *file;
    if (f == NULL)
        return;
    if (f->features >= 0)
        (void)H5Dclose(f->features);
    if (f->file >= 0)
        (void)H5Fclose(f->file);
    if (f->partial != NULL && !f->committed)
        (void)unlink(f->partial);
    free(f->path);
    free(f->partial);
    free(f);
    *file = NULL;
}
