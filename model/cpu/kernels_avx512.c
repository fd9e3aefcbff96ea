/* The inner loops for AVX-512: vectors of 16 floats. */
#include "model/cpu/kernels.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#define LANES 16
#define PANEL_VECTORS 4
#define KERNELS cpu_kernels_avx512

#include "model/cpu/kernels_all.inc"
