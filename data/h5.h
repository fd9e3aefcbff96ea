/* The few HDF5 calls that shards and the index need, with HDF5's errors translated.
 *
 * HDF5 is one thread at a time: only packing, opening a dataset and inspecting call these, never a
 * loader thread. */
#ifndef LOCKSTEP_DATA_H5_H
#define LOCKSTEP_DATA_H5_H

#include <hdf5.h>
#include <stdint.h>

#include "core/status.h"
#include "data/table.h"

/* Call HDF5; on a negative result record `PATH: cannot WHAT: HDF5's reason` with `code` and jump to
 * `done` with `st` set. */
#define H5_TRY(code, call, path, what)                                                             \
    do {                                                                                           \
        if ((call) < 0) {                                                                          \
            st = h5_failure((code), __FILE__, __LINE__, (path), (what));                           \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

ls_status h5_failure(ls_status code, const char *file, int line, const char *path,
                     const char *what);

/* Create a file for writing (replaces), or open one for reading without file locks: readers on
 * network file systems must not take any.  Owned by the caller: h5_close_file.  Local.  Errors:
 * LS_IO, LS_DATA. */
ls_status h5_create_file(hid_t *out, const char *path) LS_MUST_CHECK;
ls_status h5_open_file(hid_t *out, const char *path) LS_MUST_CHECK;

/* Flush and close, reporting a failure; the file is closed either way.  Local.  Errors: LS_IO. */
ls_status h5_close_file(hid_t *file, const char *path) LS_MUST_CHECK;

/* Create a one-dimensional contiguous dataset of `count` elements, allocated at once and not
 * filled.  `type` is borrowed.  The file offset of a dataset without elements is 0.  Local.
 * Errors: LS_IO. */
ls_status h5_create_dataset(hid_t *out, hid_t file, const char *path, const char *name, hid_t type,
                            uint64_t count) LS_MUST_CHECK;

/* A table or a run of uint8 in one call.  Local.  Errors: LS_IO. */
ls_status h5_write_table(hid_t file, const char *path, const struct table_layout *layout,
                         const uint8_t *rows, uint64_t count) LS_MUST_CHECK;
ls_status h5_write_bytes(hid_t file, const char *path, const char *name, const void *data,
                         uint64_t count) LS_MUST_CHECK;

/* Where a stored one-dimensional dataset lies in the file. */
struct h5_extent {
    uint64_t offset; /* in the file */
    uint64_t count;  /* elements */
};

/* Find a table (its compound type must be exactly `layout`) or a run of uint8: contiguous,
 * unfiltered,
 * inside the file of `file_bytes`.  Local.  Errors: LS_DATA. */
ls_status h5_find_table(struct h5_extent *out, hid_t file, const char *path,
                        const struct table_layout *layout, uint64_t file_bytes) LS_MUST_CHECK;
ls_status h5_find_bytes(struct h5_extent *out, hid_t file, const char *path, const char *name,
                        uint64_t file_bytes) LS_MUST_CHECK;

/* Attributes of the root group: format name and version.  h5_check_format names the program
 * versions' difference.  Local.  Errors: LS_IO, LS_DATA. */
ls_status h5_write_format(hid_t file, const char *path, const char *format,
                          int version) LS_MUST_CHECK;
ls_status h5_check_format(hid_t file, const char *path, const char *format,
                          int version) LS_MUST_CHECK;

#endif
