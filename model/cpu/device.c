/* The CPU as a device: memory, workspace, threads, and views of matrices as float32. */
#include "model/cpu/device.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"

enum { PAGE_BYTES = 4096, ELEMENTS_ALONE = 1 << 16, BYTES_ALONE = 1 << 20 };

static size_t round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

ls_status op_cpu_open(struct op_device **out, int threads)
{
    ls_status st = LS_OK;
    struct op_device *device = NULL;
    if (threads < 1)
        return LS_FAIL(LS_USAGE, "threads=%d: at least 1 is needed", threads);
    omp_set_dynamic(0);
    device = calloc(1, sizeof *device);
    if (device == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for the CPU device");
    device->threads = threads;
    LS_TRY(cpu_products_open(&device->products));
    struct cpu_isa isa = cpu_products_isa();
    device->kernels = isa.kernels;
    device->pairs = isa.pairs;
    device->fast_bf16 = isa.fast_bf16;
    (void)snprintf(device->facts, sizeof device->facts, "threads=%d isa=%s onednn=%s", threads,
                   isa.name, isa.version);
    *out = device;
    device = NULL;
done:
    op_cpu_close(&device);
    return st;
}

void op_cpu_close(struct op_device **device)
{
    if (*device == NULL)
        return;
    cpu_products_close(&(*device)->products);
    free((*device)->workspace);
    free(*device);
    *device = NULL;
}

const char *op_cpu_facts(const struct op_device *device)
{
    return device->facts;
}

bool op_cpu_has_fast_bf16(const struct op_device *device)
{
    return device->fast_bf16;
}

/* calloc leaves large memory to the system's zero pages: an arena that is laid out for the longest
 * masks takes up only what shorter ones touch.  The address that it gave lies before ours. */
ls_status allocate_cpu(struct op_device *device, void **out_dev, size_t bytes)
{
    (void)device;
    const size_t extra = CPU_ALIGNMENT + sizeof(void *);
    char *raw = bytes <= SIZE_MAX - extra ? calloc(1, bytes + extra) : NULL;
    if (raw == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory: %zu bytes", bytes);
    const uintptr_t first = (uintptr_t)raw + sizeof(void *);
    char *memory = raw + sizeof(void *) + (CPU_ALIGNMENT - first % CPU_ALIGNMENT) % CPU_ALIGNMENT;
    memcpy(memory - sizeof(void *), &raw, sizeof raw);
    core_advise_large_pages(memory, bytes);
    *out_dev = memory;
    return LS_OK;
}

void release_cpu(struct op_device *device, void *memory_dev)
{
    void *raw = NULL;
    (void)device;
    if (memory_dev == NULL)
        return;
    memcpy(&raw, (char *)memory_dev - sizeof raw, sizeof raw);
    free(raw);
}

ls_status copy_cpu(struct op_device *device, void *to, const void *from, size_t bytes)
{
    (void)device;
    if (bytes > 0)
        memmove(to, from, bytes);
    return LS_OK;
}

ls_status zero_cpu(struct op_device *device, void *memory_dev, size_t bytes)
{
    int threads = device->threads;
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (bytes > BYTES_ALONE)
    for (int part = 0; part < threads; part++) {
        struct cpu_range range = cpu_share((int64_t)bytes, PAGE_BYTES, part, threads);
        if (range.begin < range.end)
            memset((char *)memory_dev + range.begin, 0, (size_t)(range.end - range.begin));
    }
    return LS_OK;
}

ls_status synchronize_cpu(struct op_device *device)
{
    (void)device;
    return LS_OK;
}

/* Of one thread. */
static size_t slice_bytes(const struct op_limits *limits)
{
    size_t need[] = {
        cpu_rows_bytes(limits->columns),
        cpu_attention_fwd_bytes(limits->head_width, limits->max_length),
        cpu_attention_bwd_bytes(limits->head_width, limits->max_length),
        cpu_attention_pairs_bytes(limits->head_width, limits->max_length),
    };
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof need / sizeof *need; i++)
        bytes = need[i] > bytes ? need[i] : bytes;
    return round_up(bytes, PAGE_BYTES);
}

size_t scratch_bytes_cpu(const struct op_device *device, const struct op_limits *limits)
{
    return slice_bytes(limits) * (size_t)device->threads;
}

ls_status reserve_cpu(struct op_device *device, const struct op_limits *limits)
{
    size_t bytes = slice_bytes(limits);
    if (bytes <= device->slice_bytes)
        return LS_OK;
    char *grown = aligned_alloc(PAGE_BYTES, bytes * (size_t)device->threads);
    if (grown == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory: workspace of %zu bytes",
                       bytes * (size_t)device->threads);
    free(device->workspace);
    device->workspace = grown;
    device->slice_bytes = bytes;
    return LS_OK;
}

void *cpu_slice(const struct op_device *device, int part)
{
    return device->workspace + (size_t)part * device->slice_bytes;
}

ls_status cpu_workspace_check(const struct op_device *device, size_t bytes,
                              const char *operator_name)
{
    if (bytes <= device->slice_bytes)
        return LS_OK;
    return LS_FAIL(LS_USAGE, "%s: needs %zu bytes of workspace a thread, %zu are reserved",
                   operator_name, bytes, device->slice_bytes);
}

bool cpu_worth_threads(int64_t elements)
{
    return elements > ELEMENTS_ALONE;
}

struct cpu_range cpu_share(int64_t count, int64_t unit, int part, int parts)
{
    int64_t units = (count + unit - 1) / unit;
    struct cpu_range range = {units * part / parts * unit, units * (part + 1) / parts * unit};
    range.begin = range.begin < count ? range.begin : count;
    range.end = range.end < count ? range.end : count;
    return range;
}

size_t cpu_dtype_bytes(enum op_dtype dtype)
{
    return dtype == OP_BF16 ? 2 : 4;
}

struct op_matrix cpu_matrix(const void *data, int64_t rows, int64_t columns, enum op_dtype dtype)
{
    union {
        const void *in;
        void *out;
    } pointer = {.in = data}; /* a matrix that is only read from */
    return (struct op_matrix){pointer.out, rows, columns, dtype};
}

const float *cpu_read(const struct op_device *device, struct op_matrix matrix, int64_t offset,
                      int64_t count, float *buffer)
{
    if (matrix.dtype == OP_F32)
        return (const float *)matrix.data_dev + offset;
    device->kernels->to_f32(buffer, (const uint16_t *)matrix.data_dev + offset, count);
    return buffer;
}

float *cpu_target(struct op_matrix matrix, int64_t offset, float *buffer)
{
    return matrix.dtype == OP_F32 ? (float *)matrix.data_dev + offset : buffer;
}

void cpu_written(const struct op_device *device, struct op_matrix matrix, int64_t offset,
                 int64_t count, const float *buffer)
{
    if (matrix.dtype == OP_BF16)
        device->kernels->to_bf16((uint16_t *)matrix.data_dev + offset, buffer, count);
}
