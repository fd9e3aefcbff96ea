/* FFmpeg 5 makes a display matrix of a JPEG's EXIF orientation, gives that of WebP as
 * metadata and passes over those of PNG and TIFF, which are read here. */
#include "data/exif.h"

#include <string.h>

enum {
    PNG_SIGNATURE_BYTES = 8,
    CHUNK_BYTES = 12, /* length, type and checksum */
    TAG_BYTES = 12,
    TAG_ORIENTATION = 0x0112,
    TYPE_SHORT = 3
};

struct video_orientation exif_orientation(int number)
{
    static const struct video_orientation orientations[] = {
        [2] = {0, true},  [3] = {2, false}, [4] = {2, true},  [5] = {1, true},
        [6] = {1, false}, [7] = {3, true},  [8] = {3, false},
    };
    if (number < 2 || number > 8)
        return (struct video_orientation){0};
    return orientations[number];
}

/* `bytes` (2 or 4) of a TIFF as a number; 0 beyond its end. */
static uint32_t tiff_number(const uint8_t *tiff, size_t size, size_t at, size_t bytes)
{
    uint32_t value = 0;
    if (at > size || bytes > size - at)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | tiff[at + (tiff[0] == 'M' ? i : bytes - 1 - i)];
    return value;
}

/* The orientation in the first directory of a TIFF. */
static int tiff_orientation(const uint8_t *tiff, size_t size)
{
    if (size < 8 || (memcmp(tiff, "II*\0", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0))
        return 0;
    const size_t directory = tiff_number(tiff, size, 4, 4);
    const uint32_t count = tiff_number(tiff, size, directory, 2);
    for (uint32_t i = 0; i < count; i++) {
        const size_t entry = directory + 2 + (size_t)TAG_BYTES * i;
        if (tiff_number(tiff, size, entry, 2) == TAG_ORIENTATION &&
            tiff_number(tiff, size, entry + 2, 2) == TYPE_SHORT)
            return (int)tiff_number(tiff, size, entry + 8, 2);
    }
    return 0;
}

int exif_number(const uint8_t *data, size_t size)
{
    static const uint8_t signature[PNG_SIGNATURE_BYTES] = {0x89, 'P',  'N', 'G',
                                                           '\r', '\n', 26,  '\n'};
    if (size < sizeof signature)
        return 0;
    if (memcmp(data, signature, sizeof signature) != 0)
        return tiff_orientation(data, size);
    for (size_t at = PNG_SIGNATURE_BYTES; size - at >= CHUNK_BYTES;) {
        const uint8_t *chunk = data + at;
        const uint32_t length = (uint32_t)chunk[0] << 24 | (uint32_t)chunk[1] << 16 |
                                (uint32_t)chunk[2] << 8 | chunk[3];
        if (length > size - at - CHUNK_BYTES)
            return 0;
        if (memcmp(chunk + 4, "eXIf", 4) == 0)
            return tiff_orientation(chunk + 8, length);
        at += (size_t)length + CHUNK_BYTES;
    }
    return 0;
}
