/* The inner loops for AVX2: vectors of 8 floats. */
#include "model/cpu/kernels.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#pragma GCC target("avx2,fma")
#define LANES 8
#define PANEL_VECTORS 2
#define KERNELS cpu_kernels_avx2

#include "model/cpu/kernels_all.inc"
