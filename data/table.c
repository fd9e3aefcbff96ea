/* Coding of table rows.  Columns are copied by width and swapped on big-endian machines; nothing
 * here knows what a table means. */
#include "data/table.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

size_t table_column_bytes(enum table_type type)
{
    return type == TABLE_U32 || type == TABLE_I32 ? 4 : 8;
}

void table_encode(const struct table_layout *layout, uint8_t *rows, const void *records,
                  size_t count)
{
    const uint8_t *record = records;
    for (size_t i = 0; i < count; i++, record += layout->record_bytes) {
        for (int c = 0; c < layout->column_count; c++) {
            const struct table_column *column = &layout->columns[c];
            if (table_column_bytes(column->type) == 4) {
                uint32_t word;
                memcpy(&word, record + column->offset, sizeof word);
                word = htole32(word);
                memcpy(rows, &word, sizeof word);
                rows += sizeof word;
            } else {
                uint64_t word;
                memcpy(&word, record + column->offset, sizeof word);
                word = htole64(word);
                memcpy(rows, &word, sizeof word);
                rows += sizeof word;
            }
        }
    }
}

void table_decode(const struct table_layout *layout, void *records, const uint8_t *rows,
                  size_t count)
{
    uint8_t *record = records;
    memset(records, 0, count * layout->record_bytes);
    for (size_t i = 0; i < count; i++, record += layout->record_bytes) {
        for (int c = 0; c < layout->column_count; c++) {
            const struct table_column *column = &layout->columns[c];
            if (table_column_bytes(column->type) == 4) {
                uint32_t word;
                memcpy(&word, rows, sizeof word);
                word = le32toh(word);
                memcpy(record + column->offset, &word, sizeof word);
                rows += sizeof word;
            } else {
                uint64_t word;
                memcpy(&word, rows, sizeof word);
                word = le64toh(word);
                memcpy(record + column->offset, &word, sizeof word);
                rows += sizeof word;
            }
        }
    }
}

ls_status table_grow(void **array, size_t *room, size_t count, size_t bytes)
{
    if (count < *room)
        return LS_OK;
    size_t larger = *room > 0 ? 2 * *room : 64;
    void *grown = larger > SIZE_MAX / bytes ? NULL : realloc(*array, larger * bytes);
    if (grown == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory: %zu x %zu bytes", larger, bytes);
    *array = grown;
    *room = larger;
    return LS_OK;
}
