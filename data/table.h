/* Tables of the dataset's files: rows of fixed width with named little-endian columns.
 *
 * One layout drives everything: the HDF5 compound type of the table, the coding of rows and, in
 * docs/formats.md, what a foreign reader sees.  A row holds its columns in order without gaps, so
 * that threads can pread rows at `offset + number * row bytes` without HDF5. */
#ifndef LOCKSTEP_DATA_TABLE_H
#define LOCKSTEP_DATA_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

enum table_type { TABLE_U32, TABLE_I32, TABLE_U64, TABLE_I64, TABLE_F64 };

struct table_column {
    const char *name;
    enum table_type type;
    size_t offset; /* of the member in the C record */
};

struct table_layout {
    const char *name; /* of the table in a file, without slash */
    const struct table_column *columns;
    int column_count;
    size_t row_bytes;    /* sum of the columns */
    size_t record_bytes; /* sizeof the C record */
};

/* Width of a column in bytes: 4 or 8.  Local. */
size_t table_column_bytes(enum table_type type);

/* Code `count` records into rows, or rows into records.  Members that no column names are zero
 * after decoding.  Local, cannot fail. */
void table_encode(const struct table_layout *layout, uint8_t *rows, const void *records,
                  size_t count);
void table_decode(const struct table_layout *layout, void *records, const uint8_t *rows,
                  size_t count);

/* Memory for one more element of an array: doubles `*array` of elements of `bytes` when `count` has
 * reached `*room`.  Local.  Errors: LS_NOMEM. */
ls_status table_grow(void **array, size_t *room, size_t count, size_t bytes) LS_MUST_CHECK;

#endif
