/* The inner loops for SSE4.1: vectors of 4 floats. */
#include "model/cpu/kernels.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#pragma GCC target("sse4.1")
#define LANES 4
#define PANEL_VECTORS 2
#define KERNELS cpu_kernels_sse41

#include "model/cpu/kernels_all.inc"
