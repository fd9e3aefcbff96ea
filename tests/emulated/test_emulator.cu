/* The emulator must be able to fail: each fault that it is there to catch is made here on purpose.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include "model/cuda/internal.h"
#include "tests/emulator/device.h"
#include "tests/emulator/fibers.h"
#include "tests/emulator/runtime.h"

enum { THREADS = 64 };

static __global__ void rotate_kernel(float *y, const float *x, bool barrier)
{
    static __shared__ float share[THREADS];
    share[threadIdx.x] = x[threadIdx.x];
    if (barrier)
        __syncthreads();
    y[threadIdx.x] = share[(threadIdx.x + 1) % THREADS];
    __syncthreads();
    share[threadIdx.x] = -1.0F; /* the next launch must not profit from this one */
}

static __global__ void fill_kernel(float *y, float value, int64_t count)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        y[i] = value;
}

static __global__ void add_kernel(float *y, const float *x)
{
    y[threadIdx.x] += x[threadIdx.x];
}

/* Only block 0 writes what both read. */
static __global__ void share_of_block_0_kernel(float *y)
{
    static __shared__ float share[THREADS];
    if (blockIdx.x == 0)
        share[threadIdx.x] = 1.0F;
    __syncthreads();
    y[blockIdx.x * THREADS + threadIdx.x] = share[threadIdx.x];
}

/* Block 1 reads what block 0 of the same launch writes. */
static __global__ void chain_kernel(float *y)
{
    if (blockIdx.x == 0)
        y[0] = 1.0F;
    else
        y[1] = y[0];
}

static __global__ void shared_overrun_kernel(float *y, int at)
{
    static __shared__ float share[THREADS];
    share[threadIdx.x] = 1.0F;
    __syncthreads();
    /* A pointer that the compiler cannot follow: its own check of bounds would come first. */
    const float *volatile from = share + threadIdx.x;
    y[threadIdx.x] = from[at];
}

static __global__ void half_barrier_kernel(float *y)
{
    if (threadIdx.x < 16)
        y[threadIdx.x] = __shfl_xor_sync(0xffffffffU, y[threadIdx.x], 1);
}

static __global__ void warp_sum_kernel(float *y)
{
    float value = y[threadIdx.x];
    for (int offset = 16; offset > 0; offset /= 2)
        value += __shfl_down_sync(0xffffffffU, value, (unsigned)offset);
    if (threadIdx.x % 32 == 0)
        y[threadIdx.x] = value;
}

static float *device_floats(size_t count)
{
    float *memory = nullptr;
    assert_int_equal(cudaMalloc(reinterpret_cast<void **>(&memory), count * sizeof(float)),
                     cudaSuccess);
    return memory;
}

/* Whether `rotate` gives the right answer in one order of threads. */
static bool rotates(emulator_order order, unsigned seed, bool barrier)
{
    float *x = device_floats(THREADS);
    float *y = device_floats(THREADS);
    bool right = true;
    for (int i = 0; i < THREADS; i++)
        x[i] = static_cast<float>(i);
    emulator_set_order(order, seed);
    LS_LAUNCH(rotate_kernel, 1, THREADS, 0, nullptr, y, x, barrier);
    (void)cudaDeviceSynchronize();
    for (int i = 0; i < THREADS; i++)
        right = right && y[i] == static_cast<float>((i + 1) % THREADS);
    emulator_set_order(emulator_order::forward, 0);
    (void)cudaFree(x);
    (void)cudaFree(y);
    return right;
}

static void a_barrier_makes_every_order_agree(void **)
{
    assert_true(rotates(emulator_order::forward, 0, true));
    assert_true(rotates(emulator_order::reverse, 0, true));
    for (unsigned seed = 1; seed <= 8; seed++)
        assert_true(rotates(emulator_order::shuffled, seed, true));
}

static void a_missing_barrier_shows_in_every_order(void **)
{
    assert_false(rotates(emulator_order::forward, 0, false));
    assert_false(rotates(emulator_order::reverse, 0, false));
    assert_false(rotates(emulator_order::shuffled, 1, false));
}

/* Run `fault` in a child; its stderr is returned, and it must die. */
static std::string death_of(void (*fault)())
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    (void)fflush(nullptr);
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        (void)close(ends[0]);
        (void)signal(SIGABRT, SIG_DFL); /* cmocka's handlers belong to the parent */
        (void)signal(SIGSEGV, SIG_DFL);
        fault();
        _exit(0);
    }
    (void)close(ends[1]);
    std::string text;
    char buffer[4096];
    for (ssize_t got = 0; (got = read(ends[0], buffer, sizeof buffer)) > 0;)
        text.append(buffer, static_cast<size_t>(got));
    (void)close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return text;
}

static void stores_one_too_many()
{
    float *y = nullptr;
    (void)cudaMalloc(reinterpret_cast<void **>(&y), 100 * sizeof(float));
    LS_LAUNCH(fill_kernel, 1, 128, 0, nullptr, y, 1.0F, (int64_t)101);
    (void)cudaDeviceSynchronize();
}

static void an_out_of_bounds_store_is_reported(void **)
{
    std::string text = death_of(stores_one_too_many);
    assert_non_null(strstr(text.c_str(), "heap-buffer-overflow"));
    assert_non_null(strstr(text.c_str(), "fill_kernel"));
}

static __global__ void wide_kernel(float *y)
{
    store_pack(y, pack<float, 4>{{1.0F, 2.0F, 3.0F, 4.0F}});
}

static void stores_16_bytes_at_a_multiple_of_4()
{
    float *y = nullptr;
    (void)cudaMalloc(reinterpret_cast<void **>(&y), 8 * sizeof(float));
    LS_LAUNCH(wide_kernel, 1, 1, 0, nullptr, y + 1);
    (void)cudaDeviceSynchronize();
}

static void a_misaligned_access_is_reported(void **)
{
    std::string text = death_of(stores_16_bytes_at_a_multiple_of_4);
    assert_non_null(strstr(text.c_str(), "misaligned address"));
    assert_non_null(strstr(text.c_str(), "16 byte alignment"));
}

static void reads_past_shared_memory()
{
    float *y = nullptr;
    (void)cudaMalloc(reinterpret_cast<void **>(&y), THREADS * sizeof(float));
    LS_LAUNCH(shared_overrun_kernel, 1, THREADS, 0, nullptr, y, 1);
    (void)cudaDeviceSynchronize();
}

static void a_read_past_shared_memory_is_reported(void **)
{
    std::string text = death_of(reads_past_shared_memory);
    assert_non_null(strstr(text.c_str(), "global-buffer-overflow"));
    assert_non_null(strstr(text.c_str(), "shared_overrun_kernel"));
}

static void shared_memory_of_another_block_is_not_a_number(void **)
{
    float *y = device_floats(2 * THREADS);
    LS_LAUNCH(share_of_block_0_kernel, 2, THREADS, 0, nullptr, y);
    (void)cudaDeviceSynchronize();
    for (int i = 0; i < THREADS; i++)
        assert_true(y[i] == 1.0F && std::isnan(y[THREADS + i]));
    (void)cudaFree(y);
}

static void blocks_that_count_on_their_order_show(void **)
{
    int seen = 0;
    for (unsigned seed = 0; seed < 8; seed++) {
        float *y = device_floats(2);
        emulator_set_order(seed == 0 ? emulator_order::reverse : emulator_order::shuffled, seed);
        LS_LAUNCH(chain_kernel, 2, 1, 0, nullptr, y);
        (void)cudaDeviceSynchronize();
        assert_true(y[0] == 1.0F);
        seen += std::isnan(y[1]) ? 1 : 0;
        (void)cudaFree(y);
    }
    emulator_set_order(emulator_order::forward, 0);
    assert_true(seen > 0);
}

static void half_a_warp_shuffles()
{
    float *y = nullptr;
    (void)cudaMalloc(reinterpret_cast<void **>(&y), 32 * sizeof(float));
    LS_LAUNCH(half_barrier_kernel, 1, 32, 0, nullptr, y);
    (void)cudaDeviceSynchronize();
}

static void a_warp_operation_that_lanes_miss_is_reported(void **)
{
    std::string text = death_of(half_a_warp_shuffles);
    assert_non_null(strstr(text.c_str(), "half_barrier_kernel"));
    assert_non_null(strstr(text.c_str(), "not all lanes"));
}

static void memory_nobody_wrote_is_not_a_number(void **)
{
    float *x = device_floats(THREADS);
    float *y = device_floats(THREADS);
    LS_LAUNCH(fill_kernel, 1, THREADS, 0, nullptr, y, 0.0F, (int64_t)THREADS);
    LS_LAUNCH(add_kernel, 1, THREADS, 0, nullptr, y, x);
    (void)cudaDeviceSynchronize();
    for (int i = 0; i < THREADS; i++)
        assert_true(std::isnan(y[i]));
    (void)cudaFree(x);
    (void)cudaFree(y);
}

static void a_forgotten_wait_reads_what_was_there_before(void **)
{
    float *x = device_floats(THREADS);
    float host[THREADS];
    cudaStream_t first = nullptr;
    cudaStream_t second = nullptr;
    cudaEvent_t event = nullptr;
    (void)cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
    (void)cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
    (void)cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    for (bool waits : {false, true}) {
        for (int i = 0; i < THREADS; i++)
            x[i] = -1.0F;
        LS_LAUNCH(fill_kernel, 1, THREADS, 0, first, x, 7.0F, (int64_t)THREADS);
        (void)cudaEventRecord(event, first);
        if (waits)
            (void)cudaStreamWaitEvent(second, event, 0);
        (void)cudaMemcpyAsync(host, x, sizeof host, cudaMemcpyDeviceToHost, second);
        (void)cudaStreamSynchronize(second);
        assert_true(host[5] == (waits ? 7.0F : -1.0F));
        (void)cudaStreamSynchronize(first);
    }
    (void)cudaEventDestroy(event);
    (void)cudaStreamDestroy(first);
    (void)cudaStreamDestroy(second);
    (void)cudaFree(x);
}

static void a_host_buffer_changed_too_early_shows(void **)
{
    float *x = device_floats(1);
    float host = 1.0F;
    cudaStream_t stream = nullptr;
    (void)cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    (void)cudaMemcpyAsync(x, &host, sizeof host, cudaMemcpyHostToDevice, stream);
    host = 2.0F; /* without waiting */
    (void)cudaStreamSynchronize(stream);
    assert_true(x[0] == 2.0F);
    (void)cudaStreamDestroy(stream);
    (void)cudaFree(x);
}

static void a_page_is_pinned_once(void **)
{
    void *memory = std::aligned_alloc(4096, 2 * 4096);
    char *bytes = static_cast<char *>(memory);
    assert_int_equal(cudaHostRegister(bytes, 100, cudaHostRegisterDefault), cudaSuccess);
    assert_int_equal(cudaHostRegister(bytes + 200, 100, cudaHostRegisterDefault),
                     cudaErrorHostMemoryAlreadyRegistered);
    assert_int_equal(cudaGetLastError(), cudaErrorHostMemoryAlreadyRegistered);
    assert_int_equal(cudaHostRegister(bytes + 4096, 100, cudaHostRegisterDefault), cudaSuccess);
    (void)cudaHostUnregister(bytes);
    (void)cudaHostUnregister(bytes + 4096);
    std::free(memory);
}

static void warps_sum_in_every_order(void **)
{
    for (unsigned seed = 0; seed < 6; seed++) {
        float *y = device_floats(THREADS);
        for (int i = 0; i < THREADS; i++)
            y[i] = static_cast<float>(i);
        emulator_set_order(seed == 0 ? emulator_order::reverse : emulator_order::shuffled, seed);
        LS_LAUNCH(warp_sum_kernel, 1, THREADS, 0, nullptr, y);
        (void)cudaDeviceSynchronize();
        assert_true(y[0] == 496.0F && y[32] == 1520.0F);
        (void)cudaFree(y);
    }
    emulator_set_order(emulator_order::forward, 0);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_barrier_makes_every_order_agree),
        cmocka_unit_test(a_missing_barrier_shows_in_every_order),
        cmocka_unit_test(an_out_of_bounds_store_is_reported),
        cmocka_unit_test(a_misaligned_access_is_reported),
        cmocka_unit_test(a_read_past_shared_memory_is_reported),
        cmocka_unit_test(shared_memory_of_another_block_is_not_a_number),
        cmocka_unit_test(blocks_that_count_on_their_order_show),
        cmocka_unit_test(a_warp_operation_that_lanes_miss_is_reported),
        cmocka_unit_test(memory_nobody_wrote_is_not_a_number),
        cmocka_unit_test(a_forgotten_wait_reads_what_was_there_before),
        cmocka_unit_test(a_host_buffer_changed_too_early_shows),
        cmocka_unit_test(a_page_is_pinned_once),
        cmocka_unit_test(warps_sum_in_every_order),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
