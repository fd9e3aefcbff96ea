/* The stand-in, and mutations that suit it. */
#include "tests/fuzz/fake_locate.h"

#include <string.h>

#include "data/h5_locate.h"
#include "tests/fuzz/fuzz.h"

static const uint8_t *given;
static int given_count;

void fake_locate_set(const uint8_t *data, int count)
{
    given = data;
    given_count = count;
}

static struct h5_extent extent_at(const uint8_t *data, int number)
{
    struct h5_extent out;
    memcpy(&out.offset, data + (ptrdiff_t)number * FAKE_EXTENT_BYTES, 8);
    memcpy(&out.count, data + (ptrdiff_t)number * FAKE_EXTENT_BYTES + 8, 8);
    return out;
}

/* Promises what the real one does: all tables inside the content. */
ls_status h5_locate(struct h5_extent *out, const struct h5_wanted *wanted, int count,
                    const char *path, const char *format, uint64_t content_bytes)
{
    (void)format;
    for (int i = 0; i < count && i < given_count; i++) {
        const uint64_t bytes = wanted[i].layout != NULL ? wanted[i].layout->row_bytes : 1;
        out[i] = extent_at(given, i);
        if (out[i].count > content_bytes / bytes ||
            out[i].offset > content_bytes - out[i].count * bytes)
            return LS_FAIL(LS_DATA, "%s: a table lies outside the file", path);
    }
    return LS_OK;
}

size_t fake_locate_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed, int tables)
{
    enum { STRETCH = 64 };
    const size_t head = (size_t)tables * FAKE_EXTENT_BYTES;
    if (size <= head + STRETCH || seed % 16 == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    seed /= 16;
    size_t place = seed % (head - FAKE_EXTENT_BYTES);
    size_t count = FAKE_EXTENT_BYTES;
    if (seed % 8 != 0) {
        const struct h5_extent table = extent_at(data, (int)(seed / 8) % tables);
        count = STRETCH;
        place = head + (size_t)((table.offset + seed / 64) % (size - head - STRETCH));
    }
    uint8_t stretch[STRETCH];
    memcpy(stretch, data + place, count);
    memcpy(data + place, stretch, LLVMFuzzerMutate(stretch, count, count));
    return size;
}
