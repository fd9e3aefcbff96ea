/* Footer: magic, content size, XXH3-128 of the content, then a checksum of the footer itself. */
#include "data/footer.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files.h"

static const char magic[8] = {'l', 'o', 'c', 'k', 's', 't', 'e', 'p'};
enum { CHUNK_BYTES = 1 << 20 };

static void put(uint8_t *out, uint64_t value)
{
    value = htole64(value);
    memcpy(out, &value, sizeof value);
}

static uint64_t get(const uint8_t *in)
{
    uint64_t value;
    memcpy(&value, in, sizeof value);
    return le64toh(value);
}

void footer_encode(uint8_t *out, const struct footer *footer)
{
    memcpy(out, magic, sizeof magic);
    put(out + 8, footer->content_bytes);
    put(out + 16, footer->hash.low);
    put(out + 24, footer->hash.high);
    put(out + 32, hash_buffer(out, 32).low);
}

ls_status footer_hash_content(struct hash128 *out, int file, uint64_t bytes, const char *path)
{
    ls_status st = LS_OK;
    struct hash_stream *stream = NULL;
    uint8_t *chunk = NULL;
    LS_TRY(hash_stream_open(&stream));
    LS_TRY(core_alloc(&chunk, CHUNK_BYTES));
    for (uint64_t at = 0; at < bytes; at += CHUNK_BYTES) {
        size_t count = bytes - at < CHUNK_BYTES ? (size_t)(bytes - at) : CHUNK_BYTES;
        LS_TRY(files_read_at(file, chunk, count, at, path));
        hash_stream_add(stream, chunk, count);
    }
    *out = hash_stream_value(stream);
done:
    free(chunk);
    hash_stream_close(&stream);
    return st;
}

ls_status footer_append(struct footer *out, const char *path)
{
    ls_status st = LS_OK;
    uint8_t text[FOOTER_BYTES];
    int file = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
    if (file < 0) {
        st = LS_FAIL(LS_IO, "%s: cannot open: %s", path, strerror(errno));
        goto done;
    }
    LS_TRY(files_size(&out->content_bytes, path));
    LS_TRY(footer_hash_content(&out->hash, file, out->content_bytes, path));
    footer_encode(text, out);
    LS_TRY(files_write_all(file, text, sizeof text, path));
done:
    if (file >= 0 && close(file) != 0 && st == LS_OK)
        st = LS_FAIL(LS_IO, "%s: cannot close: %s", path, strerror(errno));
    return st;
}

ls_status footer_read(struct footer *out, int file, uint64_t file_bytes, const char *path)
{
    ls_status st = LS_OK;
    uint8_t text[FOOTER_BYTES];
    if (file_bytes < FOOTER_BYTES) {
        st = LS_FAIL(LS_DATA, "%s: truncated: only %llu bytes", path,
                     (unsigned long long)file_bytes);
        goto done;
    }
    LS_TRY(files_read_at(file, text, sizeof text, file_bytes - FOOTER_BYTES, path));
    if (memcmp(text, magic, sizeof magic) != 0 || get(text + 32) != hash_buffer(text, 32).low ||
        get(text + 8) != file_bytes - FOOTER_BYTES) {
        st = LS_FAIL(LS_DATA, "%s: truncated or damaged: its last %d bytes are no valid footer",
                     path, FOOTER_BYTES);
        goto done;
    }
    out->content_bytes = get(text + 8);
    out->hash = (struct hash128){.low = get(text + 16), .high = get(text + 24)};
done:
    return st;
}
