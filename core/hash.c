/* XXH3-128 behind our own type, so that xxhash.h is included in one place. */
#include "core/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* XXH3 wants its state aligned to 64 bytes: its own allocator sees to that. */
struct hash_stream {
    XXH3_state_t *state;
};

static struct hash128 from_xxh(XXH128_hash_t hash)
{
    return (struct hash128){.low = hash.low64, .high = hash.high64};
}

struct hash128 hash_buffer(const void *data, size_t bytes)
{
    return from_xxh(XXH3_128bits(data, bytes));
}

struct hash128 hash_buffer_at(const void *data, size_t bytes, uint64_t a, uint64_t b)
{
    struct hash128 content = hash_buffer(data, bytes);
    uint64_t bound[4] = {a, b, content.low, content.high};
    return hash_buffer(bound, sizeof bound);
}

struct hash128 hash_add(struct hash128 a, struct hash128 b)
{
    struct hash128 sum = {.low = a.low + b.low, .high = a.high + b.high};
    if (sum.low < a.low)
        sum.high++;
    return sum;
}

int hash_equal(struct hash128 a, struct hash128 b)
{
    return a.low == b.low && a.high == b.high;
}

void hash_text(char *out, struct hash128 hash)
{
    (void)snprintf(out, HASH_TEXT_BYTES, "%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
}

ls_status hash_parse(struct hash128 *out, const char *text)
{
    if (strlen(text) != HASH_TEXT_BYTES - 1 ||
        strspn(text, "0123456789abcdef") != HASH_TEXT_BYTES - 1)
        return LS_FAIL(LS_DATA, "'%.40s' is not a hash of 32 hexadecimal digits", text);
    if (sscanf(text, "%16" SCNx64 "%16" SCNx64, &out->high, &out->low) != 2)
        return LS_FAIL(LS_DATA, "'%.40s' is not a hash", text);
    return LS_OK;
}

ls_status hash_stream_open(struct hash_stream **out)
{
    struct hash_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for a hash state");
    stream->state = XXH3_createState();
    if (stream->state == NULL) {
        free(stream);
        return LS_FAIL(LS_NOMEM, "out of memory for a hash state");
    }
    (void)XXH3_128bits_reset(stream->state);
    *out = stream;
    return LS_OK;
}

void hash_stream_add(struct hash_stream *stream, const void *data, size_t bytes)
{
    (void)XXH3_128bits_update(stream->state, data, bytes);
}

struct hash128 hash_stream_value(const struct hash_stream *stream)
{
    return from_xxh(XXH3_128bits_digest(stream->state));
}

void hash_stream_close(struct hash_stream **stream)
{
    if (*stream == NULL)
        return;
    (void)XXH3_freeState((*stream)->state);
    free(*stream);
    *stream = NULL;
}
