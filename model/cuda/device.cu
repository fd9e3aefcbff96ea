/* The card: opening it, its memory, its compute stream, copies to and from the host. */
#include "model/cuda/attention.h"
#include "model/cuda/cuda.h"
#include "model/cuda/fused.h"
#include "model/cuda/internal.h"
#include "model/cuda/product.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"

int op_cuda_count(void)
{
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess) {
        (void)cudaGetLastError();
        return 0;
    }
    return count;
}

/* The fused attention, or the reason why there is none. */
static void open_fused(struct op_device *device)
{
    const char *wanted = getenv("LOCKSTEP_ATTENTION");
    if (wanted != NULL && strcmp(wanted, "plain") == 0)
        log_info("attention bf16=plain f32=plain reason=LOCKSTEP_ATTENTION");
    else if (fused_open(&device->fused, device->stream) == LS_OK)
        log_info("attention bf16=cudnn f32=plain cudnn=%zu", fused_version(device->fused));
    else
        log_warn("attention bf16=plain f32=plain reason=\"%s\"", status_message());
    status_clear();
}

static ls_status describe(struct op_device *device)
{
    ls_status st = LS_OK;
    struct cudaDeviceProp properties;
    int version = 0;
    CUDA_TRY(cudaGetDeviceProperties(&properties, device->index));
    CUDA_TRY(cudaRuntimeGetVersion(&version));
    memcpy(device->id, properties.uuid.bytes, sizeof device->id);
    (void)snprintf(device->facts, sizeof device->facts,
                   "card=\"%s\" sm=%d%d cuda=%d.%d cudnn=%zu deterministic=%s", properties.name,
                   properties.major, properties.minor, version / 1000, version % 1000 / 10,
                   device->fused != NULL ? fused_version(device->fused) : 0,
                   device->deterministic ? "yes" : "no");
done:
    return st;
}

ls_status op_cuda_open(struct op_device **out, int index, bool deterministic)
{
    ls_status st = LS_OK;
    struct op_device *device = NULL;
    if (index < 0 || index >= op_cuda_count())
        return LS_FAIL(LS_DEVICE,
                       "CUDA card %d asked for, %d cards are visible: check nvidia-smi and "
                       "CUDA_VISIBLE_DEVICES",
                       index, op_cuda_count());
    device = (struct op_device *)calloc(1, sizeof *device);
    if (device == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for a device");
    device->index = index;
    device->deterministic = deterministic;
    CUDA_TRY(cudaSetDevice(index));
    LS_TRY(queues_open(device));
    LS_TRY(product_plans_open(device));
    BLAS_TRY(cublasLtCreate(&device->lt));
    BLAS_TRY(cublasCreate(&device->blas));
    CUDA_TRY(cudaMalloc(&device->blas_workspace_dev, BLAS_WORKSPACE_BYTES));
    BLAS_TRY(cublasSetStream(device->blas, device->stream));
    /* Sums of bf16 products stay float32 between the parts of a split sum, too. */
    BLAS_TRY(cublasSetMathMode(device->blas, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION));
    BLAS_TRY(cublasSetWorkspace(device->blas, device->blas_workspace_dev, BLAS_WORKSPACE_BYTES));
    open_fused(device);
    LS_TRY(describe(device));
    *out = device;
    device = NULL;
done:
    op_cuda_close(&device);
    return st;
}

void op_cuda_close(struct op_device **pointer)
{
    struct op_device *device = *pointer;
    if (device == NULL)
        return;
    (void)cudaDeviceSynchronize();
    product_plans_free(device);
    fused_close(&device->fused);
    if (device->blas != NULL)
        (void)cublasDestroy(device->blas);
    if (device->lt != NULL)
        (void)cublasLtDestroy(device->lt);
    for (int i = 0; i < 2; i++)
        if (device->ticks[i] != NULL)
            (void)cudaEventDestroy(device->ticks[i]);
    (void)cudaFree(device->blas_workspace_dev);
    (void)cudaFree(device->scratch_dev);
    queues_close(device);
    free(device);
    *pointer = NULL;
}

const char *op_cuda_facts(const struct op_device *device)
{
    return device->facts;
}

void op_cuda_id(const struct op_device *device, unsigned char *out)
{
    memcpy(out, device->id, sizeof device->id);
}

void *op_cuda_stream(const struct op_device *device)
{
    return device->stream;
}

/* The time from tick to tick is added up, since an event's distance is a float of milliseconds. */
ls_status op_cuda_clock(struct op_device *device, double *out)
{
    ls_status st = LS_OK;
    float ms = 0.0F;
    cudaEvent_t *tick = &device->ticks[device->tick_count % 2];
    if (*tick == NULL)
        CUDA_TRY(cudaEventCreate(tick));
    CUDA_TRY(cudaEventRecord(*tick, device->stream));
    CUDA_TRY(cudaEventSynchronize(*tick));
    if (device->tick_count > 0)
        CUDA_TRY(cudaEventElapsedTime(&ms, device->ticks[(device->tick_count + 1) % 2], *tick));
    device->tick_count++;
    device->ticked_s += 1e-3 * (double)ms;
    *out = device->ticked_s;
done:
    return st;
}

ls_status op_cuda_memory(struct op_device *device, size_t *free_bytes, size_t *total_bytes)
{
    ls_status st = LS_OK;
    CUDA_TRY(cudaSetDevice(device->index));
    CUDA_TRY(cudaMemGetInfo(free_bytes, total_bytes));
done:
    return st;
}

struct op_plan_counts plan_counts_cuda(const struct op_device *device)
{
    struct op_plan_counts counts = device->counts;
    if (device->fused != NULL)
        counts.attention_refused = fused_refused(device->fused);
    return counts;
}

ls_status allocate_cuda(struct op_device *device, void **out_dev, size_t bytes)
{
    ls_status st = LS_OK;
    void *memory_dev = NULL;
    if (cudaMalloc(&memory_dev, bytes > 0 ? bytes : 1) != cudaSuccess) {
        size_t free_bytes = 0;
        size_t total = 0;
        (void)cudaGetLastError();
        (void)cudaMemGetInfo(&free_bytes, &total);
        return LS_FAIL(LS_DEVICE, "CUDA card %d: %zu MiB asked for, %zu of %zu MiB are free",
                       device->index, bytes >> 20, free_bytes >> 20, total >> 20);
    }
    CUDA_TRY(cudaMemsetAsync(memory_dev, 0, bytes, device->stream));
    CUDA_TRY(cudaStreamSynchronize(device->stream)); /* the zeros are there for every queue */
    *out_dev = memory_dev;
    memory_dev = NULL;
done:
    (void)cudaFree(memory_dev);
    return st;
}

void release_cuda(struct op_device *device, void *memory_dev)
{
    (void)device;
    (void)cudaFree(memory_dev);
}

ls_status host_allocate_cuda(struct op_device *device, void **out, size_t bytes)
{
    ls_status st = LS_OK;
    (void)device;
    CUDA_TRY(cudaMallocHost(out, bytes > 0 ? bytes : 1));
done:
    return st;
}

void host_release_cuda(struct op_device *device, void *memory)
{
    (void)device;
    if (memory != NULL)
        (void)cudaFreeHost(memory);
}

ls_status upload_cuda(struct op_device *device, void *to_dev, const void *from, size_t bytes)
{
    ls_status st = LS_OK;
    if (bytes > 0)
        CUDA_TRY(cudaMemcpyAsync(to_dev, from, bytes, cudaMemcpyHostToDevice, device->stream));
done:
    return st;
}

ls_status download_cuda(struct op_device *device, void *to, const void *from_dev, size_t bytes)
{
    ls_status st = LS_OK;
    if (bytes > 0)
        CUDA_TRY(cudaMemcpyAsync(to, from_dev, bytes, cudaMemcpyDeviceToHost, device->stream));
done:
    return st;
}

ls_status copy_cuda(struct op_device *device, void *to_dev, const void *from_dev, size_t bytes)
{
    ls_status st = LS_OK;
    if (bytes > 0)
        CUDA_TRY(
            cudaMemcpyAsync(to_dev, from_dev, bytes, cudaMemcpyDeviceToDevice, device->stream));
done:
    return st;
}

ls_status zero_cuda(struct op_device *device, void *memory_dev, size_t bytes)
{
    ls_status st = LS_OK;
    if (bytes > 0)
        CUDA_TRY(cudaMemsetAsync(memory_dev, 0, bytes, device->stream));
done:
    return st;
}

ls_status synchronize_cuda(struct op_device *device)
{
    ls_status st = LS_OK;
    CUDA_TRY(cudaStreamSynchronize(device->streams[OP_QUEUE_COMPUTE]));
done:
    return st;
}

ls_status cuda_scratch(struct op_device *device, float **out_dev, size_t bytes)
{
    if (bytes > device->scratch_bytes)
        return LS_FAIL(LS_USAGE, "an operator needs %zu bytes of scratch, %zu were reserved", bytes,
                       device->scratch_bytes);
    *out_dev = device->scratch_dev;
    return LS_OK;
}

/* Scratch is the largest of: what plain and fused attention need, partial column sums, statistics.
 */
size_t scratch_bytes_cuda(const struct op_device *device, const struct op_limits *limits)
{
    size_t rows = (size_t)limits->rows;
    size_t plain = attention_plain_bytes(limits);
    size_t fused = attention_fused_bytes(device, limits);
    size_t attention = plain > fused ? plain : fused;
    size_t sums =
        3 * (size_t)SUM_BLOCKS * (size_t)limits->columns * sizeof(double) + rows * sizeof(double);
    return (attention > sums ? attention : sums) + 4096;
}

ls_status reserve_cuda(struct op_device *device, const struct op_limits *limits)
{
    ls_status st = LS_OK;
    size_t bytes = scratch_bytes_cuda(device, limits);
    if (bytes <= device->scratch_bytes)
        return LS_OK;
    CUDA_TRY(cudaStreamSynchronize(device->stream));
    CUDA_TRY(cudaFree(device->scratch_dev));
    device->scratch_dev = NULL;
    device->scratch_bytes = 0;
    CUDA_TRY(cudaMalloc((void **)&device->scratch_dev, bytes));
    device->scratch_bytes = bytes;
done:
    return st;
}
