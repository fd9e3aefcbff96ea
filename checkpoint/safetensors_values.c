/* Element types of safetensors files from and to float32. */
#include <stdlib.h>
#include <string.h>

#include "checkpoint/safetensors.h"
#include "core/files.h"

enum { READ_ELEMENTS = 1 << 16 };

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE half to float: every value has an exact one. */
static float from_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000U) << 16;
    uint32_t exponent = half >> 10 & 0x1FU;
    uint32_t fraction = half & 0x3FFU;
    if (exponent == 0x1F) /* infinity or not a number */
        return from_bits(sign | 0x7F800000U | fraction << 13);
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24 */
        float value = (float)fraction * 0x1p-24F;
        return sign != 0 ? -value : value;
    }
    return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

static uint16_t to_bfloat16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7FFFFFFFU) > 0x7F800000U) /* not a number stays one */
        return (uint16_t)(bits >> 16 | 0x40U);
    return (uint16_t)((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

ls_status safetensors_read(const struct safetensors *file, const struct safetensors_entry *entry,
                           int64_t first, int64_t count, float *out)
{
    ls_status st = LS_OK;
    uint16_t *halves = NULL;
    const uint64_t each = (uint64_t)safetensors_bytes(entry->type);
    uint64_t at = file->data_at + entry->begin + (uint64_t)first * each;
    if (entry->type == SAFETENSORS_F32)
        return files_read_at(file->file, out, (size_t)count * each, at, file->path);
    LS_TRY(core_alloc(&halves, READ_ELEMENTS));
    while (count > 0) {
        int64_t part = count < READ_ELEMENTS ? count : READ_ELEMENTS;
        LS_TRY(files_read_at(file->file, halves, (size_t)part * each, at, file->path));
        for (int64_t i = 0; i < part; i++)
            out[i] = entry->type == SAFETENSORS_BF16 ? from_bits((uint32_t)halves[i] << 16)
                                                     : from_half(halves[i]);
        out += part;
        at += (uint64_t)part * each;
        count -= part;
    }
done:
    free(halves);
    return st;
}

void safetensors_pack(void *out, enum safetensors_type type, const float *data, int64_t count)
{
    if (type == SAFETENSORS_F32) {
        memmove(out, data, (size_t)count * sizeof *data);
        return;
    }
    /* Byte copies: the two may be the same memory, and the result is never ahead of its source. */
    char *to = out;
    for (int64_t i = 0; i < count; i++) {
        uint16_t value = to_bfloat16(data[i]);
        memcpy(to + i * (int64_t)sizeof value, &value, sizeof value);
    }
}
