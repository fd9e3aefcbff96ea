/* What the files of model/cuda/ share: the device's insides, the error translators, launch and
 * load/store helpers.  Included by .cu files only. */
#ifndef LOCKSTEP_MODEL_CUDA_INTERNAL_H
#define LOCKSTEP_MODEL_CUDA_INTERNAL_H

#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "model/cuda/operators.h"

struct product_plan;
struct fused;

struct op_device {
    int index;
    unsigned char id[16]; /* UUID */
    bool deterministic;
    cudaStream_t streams[OP_QUEUE_COUNT];
    cudaStream_t stream; /* the selected one of them */
    cublasLtHandle_t lt;
    cublasHandle_t blas;
    struct product_plan **plans; /* by the hash of a shape */
    struct op_plan_counts counts;
    struct fused *fused;  /* NULL: attention is plain in bf16 too */
    cudaEvent_t ticks[2]; /* of op_cuda_clock: the last one and the next */
    int tick_count;
    double ticked_s;
    void *blas_workspace_dev;
    float *scratch_dev; /* partial sums, cast biases, score blocks: valid within one operator */
    size_t scratch_bytes;
    char facts[384];
};

enum { BLAS_WORKSPACE_BYTES = 32 << 20, WARP = 32 };

/* The runtime remembers an error until somebody asks: one that the caller can live with must not be
 * found again by the next launch_check. */
#define CUDA_TRY(call)                                                                             \
    do {                                                                                           \
        cudaError_t cuda_error = (call);                                                           \
        if (cuda_error != cudaSuccess) {                                                           \
            (void)cudaGetLastError();                                                              \
            st = LS_FAIL(LS_DEVICE, "CUDA: %s: %s", #call, cudaGetErrorString(cuda_error));        \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

#define BLAS_TRY(call)                                                                             \
    do {                                                                                           \
        cublasStatus_t blas_error = (call);                                                        \
        if (blas_error != CUBLAS_STATUS_SUCCESS) {                                                 \
            st = LS_FAIL(LS_DEVICE, "cuBLAS: %s: status %d", #call, (int)blas_error);              \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

/* The emulated build defines these before any file is read (tests/emulator/device.h). */
#ifndef LS_LAUNCH
#define LS_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                  \
    kernel<<<(grid), (block), (shared_bytes), (stream)>>>(__VA_ARGS__)
#define LS_DYNAMIC_SHARED(type, name) extern __shared__ type name[]
#endif

/* The launch's own error; errors of the kernel itself surface at the next wait. */
static inline ls_status launch_check(const char *what)
{
    cudaError_t error = cudaGetLastError();
    if (error != cudaSuccess)
        return LS_FAIL(LS_DEVICE, "CUDA: launch of %s: %s", what, cudaGetErrorString(error));
    return LS_OK;
}

static inline unsigned blocks_of(int64_t work, int64_t per_block)
{
    return (unsigned)((work + per_block - 1) / per_block);
}

/* The streams behind the queues (queue.cu). */
ls_status queues_open(struct op_device *device) LS_MUST_CHECK;
void queues_close(struct op_device *device);

/* Scratch of the operator that runs now; what the one before left there is lost. */
ls_status cuda_scratch(struct op_device *device, float **out_dev, size_t bytes);

static inline __device__ float load(const float *from)
{
    return *from;
}
static inline __device__ float load(const __nv_bfloat16 *from)
{
    return __bfloat162float(*from);
}
static inline __device__ void store(float *to, float value)
{
    *to = value;
}
static inline __device__ void store(__nv_bfloat16 *to, float value)
{
    *to = __float2bfloat16(value);
}

/* N elements that one thread loads or stores at once, in accesses of up to 16 bytes: their address
 * must be a multiple of the pack's alignment. */
template <typename T, int N> struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) pack {
    T v[N];
};
template <int N, typename T> static inline __device__ struct pack<T, N> load_pack(const T *from) {
    return *reinterpret_cast<const struct pack<T, N> *>(from);
} template <int N, typename T>
static inline __device__ void store_pack(T *to, const struct pack<T, N> &value)
{
    *reinterpret_cast<struct pack<T, N> *>(to) = value;
}

/* For accesses of 16 bytes. */
static inline bool is_aligned(const void *memory_dev)
{
    return (uintptr_t)memory_dev % 16 == 0;
}

/* Sum over the 32 lanes, in all lanes; a fixed tree, so bit-equal in repeats. */
static inline __device__ float warp_sum(float value)
{
    for (int offset = WARP / 2; offset > 0; offset /= 2)
        value += __shfl_xor_sync(0xffffffffU, value, offset);
    return value;
}
static inline __device__ double warp_sum(double value)
{
    for (int offset = WARP / 2; offset > 0; offset /= 2)
        value += __shfl_xor_sync(0xffffffffU, value, offset);
    return value;
}
static inline __device__ float warp_max(float value)
{
    for (int offset = WARP / 2; offset > 0; offset /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xffffffffU, value, offset));
    return value;
}

/* Instantiate `...` with TYPE as the C type of a dtype. */
#define LS_BY_DTYPE(dtype, TYPE, ...)                                                              \
    do {                                                                                           \
        if ((dtype) == OP_F32) {                                                                   \
            typedef float TYPE;                                                                    \
            __VA_ARGS__;                                                                           \
        } else {                                                                                   \
            typedef __nv_bfloat16 TYPE;                                                            \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
    } while (0)

#endif
