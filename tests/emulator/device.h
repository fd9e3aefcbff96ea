/* Device code on the CPU: what nvcc would predefine inside a kernel, for g++.
 *
 * Included by the compiler's -include before every .cu file of the emulated build.  The real CUDA
 * headers give the types and the runtime's signatures; this file gives threadIdx and its kin, the
 * barriers, the warp shuffles, atomics, and the launch macro.  Threads of a block are fibers that
 * change only at barriers (fibers.h). */
#ifndef LOCKSTEP_TESTS_EMULATOR_DEVICE_H
#define LOCKSTEP_TESTS_EMULATOR_DEVICE_H

#ifdef __cplusplus
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#define LOCKSTEP_EMULATED 1

/* All static shared arrays lie in one section, which every block finds full of rubbish. */
#undef __shared__
#define __shared__ __attribute__((section("emulator_shared")))

struct emulator_thread { /* the running thread's built-in variables */
    uint3 thread, block;
    dim3 block_size, grid_size;
};
extern emulator_thread emulator_now;
#define threadIdx (emulator_now.thread)
#define blockIdx (emulator_now.block)
#define blockDim (emulator_now.block_size)
#define gridDim (emulator_now.grid_size)
static constexpr int warpSize = 32;

/* Queue a kernel on a stream: copies the arguments, as a launch does. */
void emulator_launch(const char *name, dim3 grid, dim3 block, size_t shared_bytes,
                     cudaStream_t stream, std::function<void()> body);

/* Fused attention backward in pieces: one sequence of 128 tokens and 4 heads at a time. */
#define LS_FUSED_WORKSPACE_BYTES (128 << 10)

/* Arguments are evaluated and converted to the kernel's parameters now; the kernel runs later. */
template <typename T> struct emulator_same {
    using type = T;
};
template <typename... P>
static inline void emulator_launch_kernel(const char *name, dim3 grid, dim3 block,
                                          size_t shared_bytes, cudaStream_t stream,
                                          void (*kernel)(P...),
                                          typename emulator_same<P>::type... arguments)
{
    emulator_launch(name, grid, block, shared_bytes, stream, [=]() { kernel(arguments...); });
}
#define LS_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                  \
    emulator_launch_kernel(#kernel, (grid), (block), (shared_bytes), (stream), kernel, __VA_ARGS__)

void *emulator_dynamic_shared();
#define LS_DYNAMIC_SHARED(type, name) type *name = static_cast<type *>(emulator_dynamic_shared())

/* Barriers.  A warp operation waits for the lanes of `mask` and gives each the bits that lane
 * `source` brought. */
void emulator_block_barrier();
uint64_t emulator_warp_exchange(unsigned mask, uint64_t bits, int source);
unsigned emulator_warp_ballot(unsigned mask, bool predicate);
int emulator_lane();

static inline void __syncthreads()
{
    emulator_block_barrier();
}
static inline void __syncwarp(unsigned mask = 0xffffffffU)
{
    (void)emulator_warp_ballot(mask, true);
}
static inline void __threadfence()
{
}
static inline void __threadfence_block()
{
}

template <typename T> static inline T emulator_shuffle(unsigned mask, T value, int source)
{
    static_assert(sizeof(T) <= sizeof(uint64_t), "shuffles move at most 8 bytes");
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = emulator_warp_exchange(mask, bits, source);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
template <typename T>
static inline T __shfl_sync(unsigned mask, T value, int source, int width = 32)
{
    int lane = emulator_lane();
    return emulator_shuffle(mask, value, (lane & ~(width - 1)) | (source & (width - 1)));
}
template <typename T>
static inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32)
{
    int lane = emulator_lane();
    int source = lane ^ lane_mask;
    return emulator_shuffle(mask, value, (source / width) > (lane / width) ? lane : source);
}
template <typename T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32)
{
    int lane = emulator_lane();
    int source = lane + static_cast<int>(delta);
    return emulator_shuffle(mask, value, source / width != lane / width ? lane : source);
}
template <typename T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32)
{
    int lane = emulator_lane();
    int source = lane - static_cast<int>(delta);
    return emulator_shuffle(mask, value,
                            source < 0 || source / width != lane / width ? lane : source);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate)
{
    return emulator_warp_ballot(mask, predicate != 0);
}
static inline int __any_sync(unsigned mask, int predicate)
{
    return emulator_warp_ballot(mask, predicate != 0) != 0;
}
static inline int __all_sync(unsigned mask, int predicate)
{
    return emulator_warp_ballot(mask, predicate != 0) == mask;
}

/* Blocks run one after another and fibers change only at barriers: a plain read-modify-write is
 * atomic. */
template <typename T> static inline T atomicAdd(T *address, T value)
{
    T old = *address;
    *address = old + value;
    return old;
}
template <typename T> static inline T atomicMax(T *address, T value)
{
    T old = *address;
    *address = old > value ? old : value;
    return old;
}

template <typename T> static inline T __ldg(const T *address)
{
    return *address;
}
template <typename T> static inline T __ldcs(const T *address)
{
    return *address;
}
template <typename T> static inline void __stcs(T *address, T value)
{
    *address = value;
}
static inline float rsqrtf(float x)
{
    return 1.0F / std::sqrt(x);
}
static inline float __fdividef(float a, float b)
{
    return a / b;
}
static inline float __fmaf_rn(float a, float b, float c)
{
    return std::fma(a, b, c);
}
static inline float __fmul_rn(float a, float b)
{
    return a * b;
}
static inline float __fadd_rn(float a, float b)
{
    return a + b;
}
static inline unsigned __float_as_uint(float x)
{
    unsigned bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float __uint_as_float(unsigned bits)
{
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}
#endif
#endif
