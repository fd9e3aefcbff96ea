/* Loops over pixels.  The bodies are always_inline functions, wrapped once for each instruction
 * set: function pointers and not ifuncs, because an ifunc is resolved before ThreadSanitizer has
 * started and crashes there (measured, gcc 12). */
#include "data/rows.h"

#include <stddef.h>
#include <string.h>

#define BODY static inline __attribute__((always_inline)) void

BODY widen8_body(int16_t *restrict out, const uint8_t *restrict in, int count, int shift)
{
    for (int i = 0; i < count; i++)
        out[i] = (int16_t)(in[i] << shift);
}

BODY widen16_body(int16_t *restrict out, const uint16_t *restrict in, int count, int shift)
{
    if (shift >= 0)
        for (int i = 0; i < count; i++)
            out[i] = (int16_t)(in[i] << shift);
    else
        for (int i = 0; i < count; i++)
            out[i] = (int16_t)(in[i] >> -shift);
}

BODY upsample2_body(int16_t *restrict out, const int16_t *restrict in, int pairs,
                    const int16_t *restrict left, const int16_t *restrict right)
{
    const int16_t a = left[0], b = left[1], c = left[2], d = left[3];
    const int16_t e = right[0], f = right[1], g = right[2], h = right[3];
    for (ptrdiff_t i = 0; i < pairs; i++) {
        int even = (in[i] * a + in[i + 1] * b + in[i + 2] * c + in[i + 3] * d) >> ROWS_ACROSS_BITS;
        int odd =
            (in[i + 1] * e + in[i + 2] * f + in[i + 3] * g + in[i + 4] * h) >> ROWS_ACROSS_BITS;
        out[2 * i] = (int16_t)(even < INT16_MAX ? even : INT16_MAX);
        out[2 * i + 1] = (int16_t)(odd < INT16_MAX ? odd : INT16_MAX);
    }
}

/* 0 .. 255 from a number with `bits` fraction bits, rounded. */
static inline __attribute__((always_inline)) uint32_t to_byte(int value)
{
    const int bits = ROWS_LUMA_BITS + ROWS_MATRIX_BITS;
    int rounded = (value + (1 << (bits - 1))) >> bits;
    rounded = rounded > 0 ? rounded : 0;
    return (uint32_t)(rounded < 255 ? rounded : 255);
}

BODY matrix_body(uint32_t *restrict out, const int16_t *restrict luma,
                 const struct rows_chroma *chroma, const struct rows_matrix *matrix, int count)
{
    const int shift = ROWS_CHROMA_BITS + ROWS_DOWN_BITS - ROWS_LUMA_BITS;
    const int bias = 1 << (shift - 1);
    const int16_t centre = 128 << ROWS_LUMA_BITS;
    const struct rows_matrix m = *matrix;
    const int16_t *restrict u0 = chroma->u[0], *restrict u1 = chroma->u[1];
    const int16_t *restrict u2 = chroma->u[2], *restrict u3 = chroma->u[3];
    const int16_t *restrict v0 = chroma->v[0], *restrict v1 = chroma->v[1];
    const int16_t *restrict v2 = chroma->v[2], *restrict v3 = chroma->v[3];
    const int16_t w0 = chroma->weight[0], w1 = chroma->weight[1];
    const int16_t w2 = chroma->weight[2], w3 = chroma->weight[3];
    for (int i = 0; i < count; i++) {
        int u_sum = u0[i] * w0 + u1[i] * w1 + u2[i] * w2 + u3[i] * w3 + bias;
        int v_sum = v0[i] * w0 + v1[i] * w1 + v2[i] * w2 + v3[i] * w3 + bias;
        int16_t u = (int16_t)((u_sum >> shift) - centre);
        int16_t v = (int16_t)((v_sum >> shift) - centre);
        int y = (int16_t)(luma[i] - m.offset) * m.y;
        uint32_t red = to_byte(y + v * m.v_r);
        uint32_t green = to_byte(y + u * m.u_g + v * m.v_g);
        uint32_t blue = to_byte(y + u * m.u_b);
        out[i] = red | green << 8 | blue << 16;
    }
}

typedef uint8_t byte_lanes __attribute__((vector_size(16)));
typedef int16_t short_lanes __attribute__((vector_size(16)));
typedef int32_t int_lanes __attribute__((vector_size(16)));
typedef float float_lanes __attribute__((vector_size(16)));

/* The four bytes of a pixel as floats: widened by 0 in two steps, each of which is one instruction
 * of SSE2. */
static inline __attribute__((always_inline)) float_lanes spread_pixel(uint32_t pixel)
{
    const int_lanes first = {(int32_t)pixel, 0, 0, 0};
    const byte_lanes no_bytes = {0};
    const short_lanes no_shorts = {0};
    const short_lanes shorts = (short_lanes)__builtin_shufflevector(
        (byte_lanes)first, no_bytes, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const int_lanes ints =
        (int_lanes)__builtin_shufflevector(shorts, no_shorts, 0, 8, 1, 9, 2, 10, 3, 11);
    return __builtin_convertvector(ints, float_lanes);
}

BODY blend_across_body(float *restrict out, const uint32_t *restrict in,
                       const int32_t *restrict left, const int32_t *restrict right,
                       const float *restrict weight, int count)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        const float w = weight[i];
        const float_lanes blend =
            spread_pixel(in[left[i]]) * (1.0F - w) + spread_pixel(in[right[i]]) * w;
        /* The fourth lane is 0 and is overwritten by the next pixel's first. */
        memcpy(out + 3 * i, &blend, sizeof blend);
    }
}

BODY blend_down_body(uint8_t *restrict out, const float *restrict above,
                     const float *restrict below, float weight, int count)
{
    const float rest = 1.0F - weight;
    for (int i = 0; i < count; i++)
        out[i] = (uint8_t)(int)(above[i] * rest + below[i] * weight + 0.5F);
}

#define TARGET_base
#define TARGET_avx2 __attribute__((target("avx2")))

/* The wrappers and table of one instruction set. */
#define ROWS_SET(set)                                                                              \
    TARGET_##set static void widen8_##set(int16_t *out, const uint8_t *in, int count, int shift)   \
    {                                                                                              \
        widen8_body(out, in, count, shift);                                                        \
    }                                                                                              \
    TARGET_##set static void widen16_##set(int16_t *out, const uint16_t *in, int count, int shift) \
    {                                                                                              \
        widen16_body(out, in, count, shift);                                                       \
    }                                                                                              \
    TARGET_##set static void upsample2_##set(int16_t *out, const int16_t *in, int pairs,           \
                                             const int16_t *left, const int16_t *right)            \
    {                                                                                              \
        upsample2_body(out, in, pairs, left, right);                                               \
    }                                                                                              \
    TARGET_##set static void matrix_##set(uint32_t *out, const int16_t *luma,                      \
                                          const struct rows_chroma *chroma,                        \
                                          const struct rows_matrix *matrix, int count)             \
    {                                                                                              \
        matrix_body(out, luma, chroma, matrix, count);                                             \
    }                                                                                              \
    TARGET_##set static void blend_across_##set(float *out, const uint32_t *in,                    \
                                                const int32_t *left, const int32_t *right,         \
                                                const float *weight, int count)                    \
    {                                                                                              \
        blend_across_body(out, in, left, right, weight, count);                                    \
    }                                                                                              \
    TARGET_##set static void blend_down_##set(uint8_t *out, const float *above,                    \
                                              const float *below, float weight, int count)         \
    {                                                                                              \
        blend_down_body(out, above, below, weight, count);                                         \
    }                                                                                              \
    static const struct rows_kernels set_##set = {                                                 \
        .widen8 = widen8_##set,                                                                    \
        .widen16 = widen16_##set,                                                                  \
        .upsample2 = upsample2_##set,                                                              \
        .matrix = matrix_##set,                                                                    \
        .blend_across = blend_across_##set,                                                        \
        .blend_down = blend_down_##set,                                                            \
    };

ROWS_SET(base)

const struct rows_kernels *rows_kernels_base(void)
{
    return &set_base;
}

#if defined(__x86_64__)
ROWS_SET(avx2)

const struct rows_kernels *rows_kernels(void)
{
    return __builtin_cpu_supports("avx2") ? &set_avx2 : &set_base;
}
#else
const struct rows_kernels *rows_kernels(void)
{
    return &set_base;
}
#endif
