/* The loops over pixels of a row: widening, chroma upsampling, colour matrix, bilinear blending.
 *
 * Each exists once in C and is compiled for the base instruction set and, on x86-64, for AVX2; what
 * the processor has is chosen at run time.  Both give the same bits: integers, or float32 without
 * contraction, in a fixed order. */
#ifndef LOCKSTEP_DATA_ROWS_H
#define LOCKSTEP_DATA_ROWS_H

#include <stdint.h>

/* Fixed point of the samples below.  "Wide" chroma rows have 7 fraction bits for 8-bit samples
 * (0 .. 32767), luma rows 6; horizontal weights sum to 2^14, vertical ones to 2^12, matrix
 * coefficients have 13 bits. */
enum {
    ROWS_CHROMA_BITS = 7,
    ROWS_LUMA_BITS = 6,
    ROWS_ACROSS_BITS = 14,
    ROWS_DOWN_BITS = 12,
    ROWS_MATRIX_BITS = 13
};

/* RGB from YCbCr: R = y * (Y - offset) + v_r * V and so on, in ROWS_MATRIX_BITS. */
struct rows_matrix {
    int16_t offset; /* of luma, ROWS_LUMA_BITS */
    int16_t y, v_r, u_g, v_g, u_b;
};

/* Four chroma rows and their vertical weights. */
struct rows_chroma {
    const int16_t *u[4];
    const int16_t *v[4];
    int16_t weight[4];
};

struct rows_kernels {
    /* out[i] = in[i] << shift, or in[i] >> -shift; 8-bit and 16-bit samples. */
    void (*widen8)(int16_t *out, const uint8_t *in, int count, int shift);
    void (*widen16)(int16_t *out, const uint16_t *in, int count, int shift);
    /* Twice as many columns: out[2i] and out[2i + 1] lie a quarter sample left and right of sample
     * i, which is in[i + 2]; weights as in upsample_weights(0.75) and (0.25). */
    void (*upsample2)(int16_t *out, const int16_t *in, int pairs, const int16_t *left,
                      const int16_t *right);
    /* out[i] = R | G << 8 | B << 16. */
    void (*matrix)(uint32_t *out, const int16_t *luma, const struct rows_chroma *chroma,
                   const struct rows_matrix *matrix, int count);
    /* out[3 i + c] = in[left[i]].c * (1 - weight[i]) + in[right[i]].c * weight[i]; writes one float
     * more than 3 * count. */
    void (*blend_across)(float *out, const uint32_t *in, const int32_t *left, const int32_t *right,
                         const float *weight, int count);
    /* out[i] = round(above[i] * (1 - weight) + below[i] * weight). */
    void (*blend_down)(uint8_t *out, const float *above, const float *below, float weight,
                       int count);
};

/* The set for this processor.  Local, any thread. */
const struct rows_kernels *rows_kernels(void);

/* The same for the base instruction set, for tests. */
const struct rows_kernels *rows_kernels_base(void);

#endif
