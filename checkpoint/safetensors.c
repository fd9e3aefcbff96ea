/* The safetensors format: making headers, opening files, values from and to float32. */
#include "checkpoint/safetensors.h"

#include <cJSON.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files.h"

_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "values lie in the file as they do in memory");

enum { LENGTH_BYTES = 8, ALIGNMENT = 8 };

/* Element types that the format knows.  Those that hold no weights are still needed to check that
 * the tensors' bytes fit together. */
static const struct type_name {
    const char *name;
    enum safetensors_type type;
    unsigned bytes;
} types[] = {
    {"F32", SAFETENSORS_F32, 4},       {"BF16", SAFETENSORS_BF16, 2},
    {"F16", SAFETENSORS_F16, 2},       {"F64", SAFETENSORS_OTHER, 8},
    {"I64", SAFETENSORS_OTHER, 8},     {"U64", SAFETENSORS_OTHER, 8},
    {"I32", SAFETENSORS_OTHER, 4},     {"U32", SAFETENSORS_OTHER, 4},
    {"I16", SAFETENSORS_OTHER, 2},     {"U16", SAFETENSORS_OTHER, 2},
    {"I8", SAFETENSORS_OTHER, 1},      {"U8", SAFETENSORS_OTHER, 1},
    {"F8_E4M3", SAFETENSORS_OTHER, 1}, {"F8_E5M2", SAFETENSORS_OTHER, 1},
    {"BOOL", SAFETENSORS_OTHER, 1},
};
enum { TYPES = sizeof types / sizeof types[0] };

static const struct type_name *find_type(const char *name)
{
    for (int i = 0; i < TYPES; i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

int safetensors_bytes(enum safetensors_type type)
{
    return type == SAFETENSORS_F32 ? 4 : 2;
}

/* The JSON object of one tensor. */
static bool add_entry(cJSON *root, const struct safetensors_entry *entry)
{
    cJSON *object = cJSON_AddObjectToObject(root, entry->name);
    bool good =
        object != NULL && cJSON_AddStringToObject(object, "dtype", types[entry->type].name) != NULL;
    cJSON *shape = good ? cJSON_AddArrayToObject(object, "shape") : NULL;
    for (int d = 0; d < entry->dimensions; d++)
        good =
            good && cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)entry->shape[d])) != 0;
    cJSON *offsets = good ? cJSON_AddArrayToObject(object, "data_offsets") : NULL;
    return good && cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)entry->begin)) != 0 &&
           cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)entry->end)) != 0;
}

ls_status safetensors_header(char **out, size_t *out_bytes, struct safetensors_entry *entries,
                             int count)
{
    ls_status st = LS_OK;
    char *text = NULL;
    char *header = NULL;
    uint64_t at = 0;
    cJSON *root = cJSON_CreateObject();
    cJSON *about = cJSON_AddObjectToObject(root, "__metadata__");
    /* transformers refuses a file that does not say whose tensors these are. */
    bool good = cJSON_AddStringToObject(about, "format", "pt") != NULL;
    for (int i = 0; i < count; i++) {
        struct safetensors_entry *entry = &entries[i];
        entry->begin = at;
        at += (uint64_t)entry->count * (uint64_t)safetensors_bytes(entry->type);
        entry->end = at;
        good = good && add_entry(root, entry);
    }
    text = good ? cJSON_PrintUnformatted(root) : NULL;
    if (text == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for a header of %d tensors", count);
        goto done;
    }
    size_t length = strlen(text);
    uint64_t padded = (length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    LS_TRY(core_alloc(&header, LENGTH_BYTES + padded + 1));
    memcpy(header, &padded, LENGTH_BYTES);
    memcpy(header + LENGTH_BYTES, text, length + 1);
    memset(header + LENGTH_BYTES + length, ' ', padded - length);
    *out_bytes = LENGTH_BYTES + padded;
    *out = header;
    header = NULL;
done:
    cJSON_Delete(root);
    free(text);
    free(header);
    return st;
}

/* Whether the bytes are UTF-8: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
static bool is_utf8(const unsigned char *text, size_t bytes)
{
    size_t i = 0;
    while (i < bytes) {
        unsigned lead = text[i++];
        if (lead < 0x80)
            continue;
        int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
        unsigned code = lead & (0x3FU >> more);
        if (lead < 0xC2 || lead > 0xF4 || bytes - i < (size_t)more)
            return false;
        for (int k = 0; k < more; k++) {
            if ((text[i] & 0xC0) != 0x80)
                return false;
            code = code << 6 | (text[i++] & 0x3FU);
        }
        bool overlong = (more == 2 && code < 0x800) || (more == 3 && code < 0x10000);
        if (overlong || (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF)
            return false;
    }
    return true;
}

static ls_status wrong(const struct safetensors *file, const char *tensor, const char *what)
{
    return LS_FAIL(LS_DATA, "%s: not a usable safetensors file: tensor %.100s: %s", file->path,
                   tensor, what);
}

static bool to_number(int64_t *out, const cJSON *item)
{
    const double limit = 9007199254740992.0; /* 2^53: whole numbers are exact up to here */
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0.0 && item->valuedouble <= limit) ||
        (double)(int64_t)item->valuedouble != item->valuedouble)
        return false;
    *out = (int64_t)item->valuedouble;
    return true;
}

static ls_status read_shape(const struct safetensors *file, struct safetensors_entry *entry,
                            const cJSON *shape)
{
    int dimensions = cJSON_IsArray(shape) ? cJSON_GetArraySize(shape) : -1;
    const cJSON *item = NULL;
    if (dimensions < 0 || dimensions > SAFETENSORS_DIMENSIONS_MAX)
        return wrong(file, entry->name, "its shape is no list of at most 8 sizes");
    entry->count = 1;
    cJSON_ArrayForEach(item, shape)
    {
        int64_t *size = &entry->shape[entry->dimensions++];
        if (!to_number(size, item) || __builtin_mul_overflow(entry->count, *size, &entry->count))
            return wrong(file, entry->name, "its shape is impossible");
    }
    return LS_OK;
}

static ls_status read_entry(const struct safetensors *file, struct safetensors_entry *entry,
                            const cJSON *object)
{
    ls_status st = LS_OK;
    int64_t begin = 0;
    int64_t end = 0;
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(object, "dtype");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(object, "shape");
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(object, "data_offsets");
    if (!cJSON_IsObject(object) || cJSON_GetArraySize(object) != 3 || !cJSON_IsString(dtype))
        return wrong(file, entry->name, "it has other keys than dtype, shape and data_offsets");
    const struct type_name *type = find_type(dtype->valuestring);
    if (type == NULL)
        return wrong(file, entry->name, "its dtype is unknown");
    entry->type = type->type;
    LS_TRY(read_shape(file, entry, shape));
    uint64_t room = file->bytes - file->data_at;
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !to_number(&begin, offsets->child) || !to_number(&end, offsets->child->next) ||
        begin > end || (uint64_t)end > room)
        return wrong(file, entry->name, "its data_offsets lie outside of the file");
    entry->begin = (uint64_t)begin;
    entry->end = (uint64_t)end;
    uint64_t bytes = 0;
    if (__builtin_mul_overflow((uint64_t)entry->count, (uint64_t)type->bytes, &bytes) ||
        bytes != entry->end - entry->begin)
        return wrong(file, entry->name, "its data_offsets do not fit its shape and dtype");
done:
    return st;
}

static ls_status check_metadata(const struct safetensors *file, const cJSON *object)
{
    const cJSON *item = NULL;
    bool good = cJSON_IsObject(object);
    cJSON_ArrayForEach(item, object) good = good && cJSON_IsString(item);
    return good ? LS_OK : wrong(file, "__metadata__", "it is no map of texts");
}

static ls_status read_entries(struct safetensors *file, const cJSON *root)
{
    ls_status st = LS_OK;
    const cJSON *item = NULL;
    char *next = file->texts;
    int metadata = 0;
    LS_TRY(core_alloc(&file->entries, cJSON_GetArraySize(root)));
    cJSON_ArrayForEach(item, root)
    {
        if (strcmp(item->string, "__metadata__") == 0) {
            LS_TRY(check_metadata(file, item));
            if (metadata++ > 0)
                LS_TRY(wrong(file, item->string, "it is there twice"));
            continue;
        }
        struct safetensors_entry *entry = &file->entries[file->count++];
        size_t bytes = strlen(item->string) + 1;
        memcpy(next, item->string, bytes);
        entry->name = next;
        next += bytes;
        LS_TRY(read_entry(file, entry, item));
    }
done:
    return st;
}

static int by_place(const void *a, const void *b)
{
    const struct safetensors_entry *x = a;
    const struct safetensors_entry *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int by_name(const void *a, const void *b)
{
    const struct safetensors_entry *x = a;
    const struct safetensors_entry *y = b;
    return strcmp(x->name, y->name);
}

/* All tensors together are the rest of the file, each byte once; and each name is there once. */
static ls_status check_together(struct safetensors *file)
{
    uint64_t next = 0;
    qsort(file->entries, (size_t)file->count, sizeof *file->entries, by_place);
    for (int i = 0; i < file->count; i++) {
        if (file->entries[i].begin != next)
            return wrong(file, file->entries[i].name,
                         file->entries[i].begin < next ? "its bytes overlap another's"
                                                       : "there is a gap before its bytes");
        next = file->entries[i].end;
    }
    if (next != file->bytes - file->data_at)
        return LS_FAIL(LS_DATA,
                       "%s: not a usable safetensors file: %" PRIu64 " bytes belong to no tensor",
                       file->path, file->bytes - file->data_at - next);
    qsort(file->entries, (size_t)file->count, sizeof *file->entries, by_name);
    for (int i = 1; i < file->count; i++)
        if (strcmp(file->entries[i - 1].name, file->entries[i].name) == 0)
            return wrong(file, file->entries[i].name, "it is there twice");
    return LS_OK;
}

static ls_status parse_header(struct safetensors *file, const char *text, size_t bytes)
{
    ls_status st = LS_OK;
    const char *end = NULL;
    cJSON *root = NULL;
    /* A name with a zero inside would be taken for its beginning. */
    bool plain = is_utf8((const unsigned char *)text, bytes) && memchr(text, '\0', bytes) == NULL &&
                 strstr(text, "\\u0000") == NULL;
    if (plain && bytes > 0 && text[0] == '{')
        root = cJSON_ParseWithLengthOpts(text, bytes, &end, 0);
    while (end != NULL && end < text + bytes && *end == ' ')
        end++;
    if (!cJSON_IsObject(root) || end != text + bytes) {
        st = LS_FAIL(LS_DATA, "%s: not a safetensors file: its header is no JSON object in UTF-8",
                     file->path);
        goto done;
    }
    LS_TRY(core_alloc(&file->texts, bytes + 1));
    LS_TRY(read_entries(file, root));
    LS_TRY(check_together(file));
done:
    cJSON_Delete(root);
    return st;
}

static ls_status read_header(struct safetensors *file)
{
    ls_status st = LS_OK;
    struct stat info;
    char *text = NULL;
    uint64_t length = 0;
    if (fstat(file->file, &info) != 0 || !S_ISREG(info.st_mode)) {
        st = LS_FAIL(LS_IO, "%s: not a regular file", file->path);
        goto done;
    }
    file->bytes = (uint64_t)info.st_size;
    if (file->bytes >= LENGTH_BYTES)
        LS_TRY(files_read_at(file->file, &length, LENGTH_BYTES, 0, file->path));
    if (file->bytes < LENGTH_BYTES || length > file->bytes - LENGTH_BYTES ||
        length > SAFETENSORS_HEADER_LIMIT) {
        st = LS_FAIL(LS_DATA,
                     "%s: not a safetensors file: a header of %" PRIu64 " bytes in a file of "
                     "%" PRIu64 " (at most %d are read)",
                     file->path, length, file->bytes, SAFETENSORS_HEADER_LIMIT);
        goto done;
    }
    file->data_at = LENGTH_BYTES + length;
    LS_TRY(core_alloc(&text, length + 1));
    LS_TRY(files_read_at(file->file, text, length, LENGTH_BYTES, file->path));
    LS_TRY(parse_header(file, text, length));
done:
    free(text);
    return st;
}

ls_status safetensors_open(struct safetensors **out, const char *path)
{
    ls_status st = LS_OK;
    struct safetensors *file = NULL;
    LS_TRY(core_alloc(&file, 1));
    file->file = -1;
    LS_TRY(core_format(&file->path, "%s", path));
    /* Not blocking: a named pipe must be refused, not waited for. */
    file->file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->file < 0) {
        st = LS_FAIL(LS_IO, "%s: cannot open: %s", path, strerror(errno));
        goto done;
    }
    LS_TRY(read_header(file));
    *out = file;
    file = NULL;
done:
    safetensors_close(&file);
    return st;
}

void safetensors_close(struct safetensors **file)
{
    struct safetensors *f = *file;
    if (f == NULL)
        return;
    if (f->file >= 0)
        (void)close(f->file);
    free(f->path);
    free(f->entries);
    free(f->texts);
    free(f);
    *file = NULL;
}

const struct safetensors_entry *safetensors_find(const struct safetensors *file, const char *name)
{
    const struct safetensors_entry wanted = {.name = name};
    if (file->count == 0)
        return NULL;
    return bsearch(&wanted, file->entries, (size_t)file->count, sizeof wanted, by_name);
}
