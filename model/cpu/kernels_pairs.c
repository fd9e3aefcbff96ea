/* Inner loops of attention on pairs of bf16, for CPUs with AVX-512 BF16 (cpu_pair_kernels). */
#include "model/cpu/kernels.h"

#include <immintrin.h>
#include <string.h>

#pragma GCC target("avx512bf16,avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#define LANES 16
#define PANEL_VECTORS 4

#include "model/cpu/vector.inc"

V_INLINE __m512bh pair_splat(const float *from)
{
    uint32_t pair;
    memcpy(&pair, from, sizeof pair);
    return (__m512bh)_mm512_set1_epi32((int)pair);
}

V_INLINE __m512bh pair_load(const float *from)
{
    return (__m512bh)_mm512_loadu_si512(from);
}

#define TILE_NAME product
#define TILE_VECTOR __m512bh
#define TILE_LOAD(from) pair_load(from)
#define TILE_SPLAT(from) pair_splat(from)
#define TILE_FMA(left, right, sum) (vf) _mm512_dpbf16_ps((__m512)(sum), left, right)
#include "model/cpu/kernels_product.inc"

static void interleave(uint32_t *pairs, const uint16_t *rows, int64_t stride, int64_t count,
                       int64_t width, int64_t padded)
{
    for (int64_t row = 0; row < count; row += 2, pairs += padded) {
        const uint16_t *first = rows + row * stride;
        int64_t c = 0;
        if (row + 1 < count)
            for (; c + LANES <= width; c += LANES) {
                __m512i low = _mm512_cvtepu16_epi32(
                    _mm256_loadu_si256((const __m256i *)(const void *)(first + c)));
                __m512i high = _mm512_cvtepu16_epi32(
                    _mm256_loadu_si256((const __m256i *)(const void *)(first + stride + c)));
                _mm512_storeu_si512(pairs + c, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
            }
        for (; c < width; c++)
            pairs[c] = first[c] | (row + 1 < count ? (uint32_t)first[stride + c] << 16 : 0u);
        for (; c < padded; c++)
            pairs[c] = 0;
    }
}

/* The first n lanes of v, the rest zero. */
V_INLINE vf first_lanes(vf v, int64_t n)
{
    return n >= LANES ? v : (vf)_mm512_maskz_mov_ps((__mmask16)((1u << n) - 1), (__m512)v);
}

V_INLINE void store_bf16(uint16_t *to, vf v)
{
    _mm256_storeu_si256((__m256i *)(void *)to, (__m256i)_mm512_cvtneps_pbh((__m512)v));
}

V_INLINE __m512i pair_of(vf first, vf second)
{
    __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)first));
    __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)second));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

static void softmax_bwd(const struct pair_gradient *gradient)
{
    const struct pair_gradient g = *gradient;
    for (int64_t i = 0; i < g.padded; i += LANES) {
        vf p[2], ds[2];
        for (int64_t r = 0; r < 2; r++) {
            p[r] = v_exp2(v_fma(v_load(g.s[r] + i), v_splat(g.factor), v_splat(-g.lse[r])));
            p[r] = first_lanes(p[r], g.n > i ? g.n - i : 0);
            ds[r] = p[r] * (v_load(g.dp[r] + i) - g.delta[r]);
            store_bf16(g.ds_rows[r] + i, ds[r]);
        }
        _mm512_storeu_si512(g.p_pairs + i, pair_of(p[0], p[1]));
        _mm512_storeu_si512(g.ds_pairs + i, pair_of(ds[0], ds[1]));
    }
}

const struct cpu_pair_kernels cpu_pair_kernels_avx512 = {
    .product = product,
    .interleave = interleave,
    .softmax_bwd = softmax_bwd,
};
