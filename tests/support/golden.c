/* The golden files are small and trusted; every call is checked all the same, so that a wrong path
 * or name ends in one line that says which. */
#include "tests/support/golden.h"

#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct golden {
    hid_t file;
    char *path;
};

bool golden_path(char *out, size_t out_bytes, const char *name)
{
    const char *shared = getenv("SHARED");
    (void)snprintf(out, out_bytes, "tests/golden/%s", name);
    if (access(out, R_OK) == 0)
        return true;
    (void)snprintf(out, out_bytes, "%s/golden/%s", shared != NULL ? shared : "../shared", name);
    return access(out, R_OK) == 0;
}

ls_status golden_open(struct golden **out, const char *path)
{
    *out = NULL;
    if (H5Eset_auto2(H5E_DEFAULT, NULL, NULL) < 0)
        return LS_FAIL(LS_FAILED, "HDF5: cannot silence its error stack");
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0)
        return LS_FAIL(LS_IO, "%s: cannot open as HDF5", path);
    struct golden *golden = calloc(1, sizeof *golden);
    char *copy = strdup(path);
    if (golden == NULL || copy == NULL) {
        (void)H5Fclose(file);
        free(golden);
        free(copy);
        return LS_FAIL(LS_NOMEM, "out of memory for %s", path);
    }
    golden->file = file;
    golden->path = copy;
    *out = golden;
    return LS_OK;
}

void golden_close(struct golden **golden)
{
    if (*golden == NULL)
        return;
    (void)H5Fclose((*golden)->file);
    free((*golden)->path);
    free(*golden);
    *golden = NULL;
}

/* H5Lexists wants every step of the path to be there. */
bool golden_has(const struct golden *golden, const char *name)
{
    char part[256];
    const size_t length = strlen(name);
    if (length >= sizeof part)
        return false;
    for (size_t end = 1; end <= length; end++) {
        if (name[end] != '/' && name[end] != '\0')
            continue;
        memcpy(part, name, end);
        part[end] = '\0';
        if (H5Lexists(golden->file, part, H5P_DEFAULT) <= 0)
            return false;
    }
    return true;
}

static ls_status read_shape(struct golden_shape *out, const struct golden *golden, hid_t dataset,
                            const char *name)
{
    hsize_t sizes[GOLDEN_DIMENSIONS_MAX] = {0};
    const hid_t space = H5Dget_space(dataset);
    if (space < 0)
        return LS_FAIL(LS_DATA, "%s: %s has no shape", golden->path, name);
    const int dimensions = H5Sget_simple_extent_ndims(space);
    const bool good = dimensions >= 0 && dimensions <= GOLDEN_DIMENSIONS_MAX &&
                      H5Sget_simple_extent_dims(space, sizes, NULL) == dimensions;
    (void)H5Sclose(space);
    if (!good)
        return LS_FAIL(LS_DATA, "%s: %s has %d dimensions", golden->path, name, dimensions);
    *out = (struct golden_shape){.dimensions = dimensions, .count = 1};
    for (int i = 0; i < dimensions; i++) {
        out->size[i] = (int64_t)sizes[i];
        out->count *= out->size[i];
    }
    return LS_OK;
}

static ls_status read_dataset(void **out, struct golden_shape *shape, const struct golden *golden,
                              const char *name, hid_t type, size_t element_bytes)
{
    ls_status st = LS_OK;
    struct golden_shape found;
    void *data = NULL;
    *out = NULL;
    const hid_t dataset = H5Dopen2(golden->file, name, H5P_DEFAULT);
    if (dataset < 0)
        return LS_FAIL(LS_DATA, "%s: no dataset %s", golden->path, name);
    LS_TRY(read_shape(&found, golden, dataset, name));
    data = malloc((size_t)found.count * element_bytes + 1);
    if (data == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for %s", name);
        goto done;
    }
    if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0) {
        st = LS_FAIL(LS_DATA, "%s: cannot read %s", golden->path, name);
        goto done;
    }
    if (shape != NULL)
        *shape = found;
    *out = data;
    data = NULL;
done:
    free(data);
    (void)H5Dclose(dataset);
    return st;
}

ls_status golden_floats(float **out, struct golden_shape *shape, const struct golden *golden,
                        const char *name)
{
    return read_dataset((void **)out, shape, golden, name, H5T_NATIVE_FLOAT, sizeof **out);
}

ls_status golden_doubles(double **out, struct golden_shape *shape, const struct golden *golden,
                         const char *name)
{
    return read_dataset((void **)out, shape, golden, name, H5T_NATIVE_DOUBLE, sizeof **out);
}

ls_status golden_ints(int32_t **out, struct golden_shape *shape, const struct golden *golden,
                      const char *name)
{
    return read_dataset((void **)out, shape, golden, name, H5T_NATIVE_INT32, sizeof **out);
}

ls_status golden_bytes(uint8_t **out, struct golden_shape *shape, const struct golden *golden,
                       const char *name)
{
    return read_dataset((void **)out, shape, golden, name, H5T_NATIVE_UINT8, sizeof **out);
}

ls_status golden_attribute(double *out, const struct golden *golden, const char *object,
                           const char *name)
{
    *out = 0.0;
    const hid_t attribute = H5Aopen_by_name(golden->file, object, name, H5P_DEFAULT, H5P_DEFAULT);
    if (attribute < 0)
        return LS_FAIL(LS_DATA, "%s: %s has no attribute %s", golden->path, object, name);
    const hid_t space = H5Aget_space(attribute);
    const bool scalar = space >= 0 && H5Sget_simple_extent_npoints(space) == 1;
    const bool good = scalar && H5Aread(attribute, H5T_NATIVE_DOUBLE, out) >= 0;
    if (space >= 0)
        (void)H5Sclose(space);
    (void)H5Aclose(attribute);
    return good ? LS_OK
                : LS_FAIL(LS_DATA, "%s: attribute %s of %s is not a number", golden->path, name,
                          object);
}

ls_status golden_attribute_int(int *out, const struct golden *golden, const char *object,
                               const char *name)
{
    ls_status st = LS_OK;
    double value = 0.0;
    *out = 0;
    LS_TRY(golden_attribute(&value, golden, object, name));
    *out = (int)value;
done:
    return st;
}

struct names {
    char **list;
    size_t count, capacity;
    bool failed;
};

static herr_t collect(hid_t group, const char *name, const H5O_info_t *info, void *context)
{
    struct names *names = context;
    (void)group;
    if (info->type != H5O_TYPE_DATASET)
        return 0;
    if (names->count == names->capacity) {
        const size_t capacity = names->capacity * 2 + 16;
        char **list = realloc(names->list, capacity * sizeof *list);
        if (list == NULL) {
            names->failed = true;
            return -1;
        }
        names->list = list;
        names->capacity = capacity;
    }
    names->list[names->count] = strdup(name);
    if (names->list[names->count] == NULL) {
        names->failed = true;
        return -1;
    }
    names->count++;
    return 0;
}

ls_status golden_names(char ***out, size_t *out_count, const struct golden *golden,
                       const char *group)
{
    struct names names = {0};
    *out = NULL;
    *out_count = 0;
    const herr_t visited = H5Ovisit_by_name1(golden->file, group, H5_INDEX_NAME, H5_ITER_INC,
                                             collect, &names, H5P_DEFAULT);
    if (visited < 0) {
        golden_names_free(names.list, names.count);
        return names.failed ? LS_FAIL(LS_NOMEM, "out of memory for the names in %s", group)
                            : LS_FAIL(LS_DATA, "%s: no group %s", golden->path, group);
    }
    *out = names.list;
    *out_count = names.count;
    return LS_OK;
}

void golden_names_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}
