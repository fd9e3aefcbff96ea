/* A new fused plan is held against the plain attention before it is used.
 *
 * Random q, k, v and gradient (logits with a standard deviation near 1.3, so that a wrong scale or
 * mask shows), outputs poisoned with NaN; every row of every output must agree.  A wrong plan is
 * off by the size of the numbers; two right ones differ by bf16's rounding, in the gradients
 * through a difference of two sums. */
#include "model/cuda/attention.h"
#include "model/cuda/fused.h"

#include <math.h>
#include <stdio.h>

#include "core/log.h"

namespace
{

/* Bounds on ||fused - plain|| / (||plain|| + 0.01 sqrt(width)) of a row of a head. */
constexpr float OUTPUT_BOUND = 0.04F;
constexpr float GRADIENT_BOUND = 0.15F;
constexpr float LSE_BOUND = 0.02F; /* absolute */
constexpr float NOT_FINITE = 1e30F;

const char NO_MEMORY[] = "no memory to compare it with the plain one";

enum { SMALL_SEQUENCES = 3, SMALL_LENGTH = 128, ALIGNMENT = 256, TENSORS_MAX = 12 };

struct bench { /* device memory of one comparison; zeroed */
    char *memory_dev;
    size_t used;
};

struct outputs {
    void *o_dev, *dq_dev, *dk_dev, *dv_dev;
    float *lse_dev;
};

} // namespace

/* x[i] = scale * a number in [-1, 1] from a hash of i and seed.  One thread an element. */
static __global__ void noise_kernel(__nv_bfloat16 *x, int64_t count, uint32_t seed, float scale)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count)
        return;
    uint32_t h = (uint32_t)i * 2654435761U + seed;
    h ^= h >> 16;
    h *= 0x85ebca6bU;
    h ^= h >> 13;
    h *= 0xc2b2ae35U;
    h ^= h >> 16;
    x[i] = __float2bfloat16(scale * ((float)(h >> 8) * 0x1p-23F - 1.0F));
}

static __device__ void keep_worst(float *worst, float error)
{
    if (!(error <= NOT_FINITE))
        error = NOT_FINITE;
    atomicMax((int *)worst, (int)__float_as_uint(error)); /* of numbers >= 0 the bits sort alike */
}

/* One warp a row of a head: *worst = the largest relative difference. */
static __global__ void compare_kernel(float *worst, const __nv_bfloat16 *got,
                                      const __nv_bfloat16 *want, int64_t rows, int width,
                                      int64_t head_stride, int64_t row_stride)
{
    int64_t row = (int64_t)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    if (row >= rows)
        return;
    int64_t base = blockIdx.y * head_stride + row * row_stride;
    float off = 0.0F;
    float norm = 0.0F;
    for (int c = threadIdx.x % WARP; c < width; c += WARP) {
        float w = load(want + base + c);
        float d = load(got + base + c) - w;
        off += d * d;
        norm += w * w;
    }
    off = warp_sum(off);
    norm = warp_sum(norm);
    if (threadIdx.x % WARP == 0)
        keep_worst(worst, sqrtf(off) / (sqrtf(norm) + 0.01F * sqrtf((float)width)));
}

/* Rows that the plain attention left alone (NaN) belong to no sequence. */
static __global__ void compare_lse_kernel(float *worst, const float *got, const float *want,
                                          int64_t count)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count && !isnan(want[i]))
        keep_worst(worst, fabsf(got[i] - want[i]));
}

static void *take(struct bench *b, size_t bytes)
{
    char *out_dev = b->memory_dev != NULL ? b->memory_dev + b->used : NULL;
    b->used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return out_dev;
}

static ls_status noise(struct op_device *device, void *x_dev, int64_t count, uint32_t seed,
                       float scale)
{
    LS_LAUNCH(noise_kernel, blocks_of(count, 256), 256, 0, device->stream, (__nv_bfloat16 *)x_dev,
              count, seed, scale);
    return launch_check("noise");
}

/* head_rows: from one head to the next; 0: heads lie side by side. */
static ls_status compare(struct op_device *device, float *worst_dev, const void *got_dev,
                         const void *want_dev, int64_t rows, const struct attention_shape *shape,
                         int64_t head_rows)
{
    int64_t width = shape->width;
    const bool by_head = head_rows > 0;
    LS_LAUNCH(compare_kernel, dim3(blocks_of(rows, 4), (unsigned)shape->heads), 4 * WARP, 0,
              device->stream, worst_dev, (const __nv_bfloat16 *)got_dev,
              (const __nv_bfloat16 *)want_dev, rows, shape->width,
              by_head ? head_rows * width : width, by_head ? width : width * shape->all_heads);
    return launch_check("compare");
}

/* The arguments of a check, in the bench: shapes and sequences of `like`. */
static struct attention_args arguments(struct bench *b, const struct attention_args *like,
                                       const struct attention_shape *shape)
{
    struct attention_args args = {};
    size_t columns = (size_t)like->heads * (size_t)like->head_width;
    size_t outputs = columns * (size_t)like->queries->rows * sizeof(__nv_bfloat16);
    size_t queries = columns * (size_t)like->queries->head_rows * sizeof(__nv_bfloat16);
    size_t keys = columns * (size_t)like->keys->head_rows * sizeof(__nv_bfloat16);
    args.heads = like->heads;
    args.head_width = like->head_width;
    args.queries = like->queries;
    args.keys = like->keys;
    args.o = {NULL, like->queries->rows, (int64_t)columns, OP_BF16};
    args.q_dev = take(b, queries);
    args.k_dev = take(b, keys);
    args.v_dev = take(b, keys);
    if (shape->backward) {
        args.o.data_dev = take(b, outputs);
        args.d_o = args.o;
        args.d_o.data_dev = take(b, outputs);
        args.lse_dev = (float *)take(b, (size_t)(like->queries->head_rows * like->heads) * 4);
    }
    return args;
}

static struct outputs outputs_of(struct bench *b, const struct attention_args *args,
                                 const struct attention_shape *shape)
{
    struct outputs out = {};
    size_t columns = (size_t)args->o.columns;
    size_t queries = columns * (size_t)args->queries->head_rows * sizeof(__nv_bfloat16);
    size_t keys = columns * (size_t)args->keys->head_rows * sizeof(__nv_bfloat16);
    if (!shape->backward) {
        out.o_dev = take(b, columns * (size_t)args->queries->rows * sizeof(__nv_bfloat16));
        if (shape->lse)
            out.lse_dev = (float *)take(b, (size_t)(args->queries->head_rows * args->heads) * 4);
        return out;
    }
    out.dq_dev = take(b, queries);
    out.dk_dev = take(b, keys);
    out.dv_dev = take(b, keys);
    return out;
}

static struct attention_args with(struct attention_args args, const struct outputs *out,
                                  bool backward)
{
    if (!backward) {
        args.o.data_dev = out->o_dev;
        args.lse_dev = out->lse_dev;
    }
    args.dq_dev = out->dq_dev;
    args.dk_dev = out->dk_dev;
    args.dv_dev = out->dv_dev;
    return args;
}

static ls_status run_both(struct op_device *device, const struct attention_args *plain,
                          const struct attention_args *fused, const struct fused_plan *plan,
                          const struct attention_shape *shape)
{
    ls_status st = LS_OK;
    LS_TRY(
        noise(device, (void *)plain->q_dev, plain->queries->head_rows * plain->o.columns, 1, 4.0F));
    LS_TRY(noise(device, (void *)plain->k_dev, plain->keys->head_rows * plain->o.columns, 2, 1.0F));
    LS_TRY(noise(device, (void *)plain->v_dev, plain->keys->head_rows * plain->o.columns, 3, 1.0F));
    if (shape->backward) {
        LS_TRY(
            noise(device, plain->d_o.data_dev, plain->queries->rows * plain->o.columns, 4, 1.0F));
        LS_TRY(attention_plain_fwd(device, plain));
        LS_TRY(attention_plain_bwd(device, plain));
    } else {
        LS_TRY(attention_plain_fwd(device, plain));
    }
    /* Nor may it count on what scratch holds. */
    CUDA_TRY(cudaMemsetAsync(device->scratch_dev, 0xff, device->scratch_bytes, device->stream));
    LS_TRY(attention_fused_run(device, fused, plan, shape));
done:
    return st;
}

/* worst[0]: outputs or gradients; worst[1]: lse. */
static ls_status compare_all(struct op_device *device, float *worst_dev,
                             const struct outputs *plain, const struct outputs *fused,
                             const struct attention_args *args, const struct attention_shape *shape)
{
    ls_status st = LS_OK;
    int64_t queries = args->queries->rows;
    int64_t keys = args->keys->rows;
    if (shape->backward) {
        LS_TRY(compare(device, worst_dev, fused->dq_dev, plain->dq_dev, queries, shape,
                       args->queries->head_rows));
        LS_TRY(compare(device, worst_dev, fused->dk_dev, plain->dk_dev, keys, shape,
                       args->keys->head_rows));
        LS_TRY(compare(device, worst_dev, fused->dv_dev, plain->dv_dev, keys, shape,
                       args->keys->head_rows));
        return LS_OK;
    }
    LS_TRY(compare(device, worst_dev, fused->o_dev, plain->o_dev, queries, shape, 0));
    if (shape->lse) {
        const int64_t count = args->queries->head_rows * shape->heads;
        LS_LAUNCH(compare_lse_kernel, blocks_of(count, 256), 256, 0, device->stream, worst_dev + 1,
                  (const float *)fused->lse_dev, (const float *)plain->lse_dev, count);
        LS_TRY(launch_check("compare lse"));
    }
done:
    return st;
}

/* The sequences that the plan covers: the first of the call's. */
static struct op_sequences first_of(const struct op_sequences *all, int count)
{
    struct op_sequences out = *all;
    out.count = count;
    out.true_rows = 0;
    for (int s = 0; s < count; s++)
        out.true_rows += all->length[s];
    return out;
}

/* Errors of one comparison; false in *ran where the card has no memory for it. */
static ls_status measure(struct op_device *device, float worst[2], bool *ran,
                         const struct attention_args *like, const struct fused_plan *plan,
                         const struct attention_shape *shape)
{
    ls_status st = LS_OK;
    struct bench b = {};
    struct op_sequences queries = first_of(like->queries, shape->sequences);
    struct op_sequences keys = first_of(like->keys, shape->sequences);
    struct attention_args cut = *like;
    *ran = false;
    cut.queries = &queries;
    cut.keys = &keys;
    for (int pass = 0; pass < 2; pass++) { /* sizes, then places */
        b.used = 0;
        struct attention_args args = arguments(&b, &cut, shape);
        struct outputs plain = outputs_of(&b, &args, shape);
        struct outputs fused = outputs_of(&b, &args, shape);
        float *worst_dev = (float *)take(&b, 2 * sizeof(float));
        if (pass == 0) {
            if (cudaMalloc((void **)&b.memory_dev, b.used) != cudaSuccess) {
                (void)cudaGetLastError();
                return LS_OK;
            }
            CUDA_TRY(cudaMemsetAsync(b.memory_dev, 0xff, b.used, device->stream));
            continue;
        }
        struct attention_args plain_args = with(args, &plain, shape->backward);
        struct attention_args fused_args = with(args, &fused, shape->backward);
        CUDA_TRY(cudaMemsetAsync(worst_dev, 0, 2 * sizeof(float), device->stream));
        LS_TRY(run_both(device, &plain_args, &fused_args, plan, shape));
        LS_TRY(compare_all(device, worst_dev, &plain, &fused, &args, shape));
        CUDA_TRY(cudaMemcpyAsync(worst, worst_dev, 2 * sizeof(float), cudaMemcpyDeviceToHost,
                                 device->stream));
        CUDA_TRY(cudaStreamSynchronize(device->stream));
        *ran = true;
    }
done:
    (void)cudaFree(b.memory_dev);
    return st;
}

/* The same kind of plan for three short sequences; refused where there is none. */
static ls_status measure_small(struct op_device *device, float worst[2], bool *ran,
                               const struct attention_args *like, const struct attention_shape *of)
{
    ls_status st = LS_OK;
    struct attention_sample sample = {};
    struct fused_plan *plan = NULL;
    bool made = false;
    struct attention_shape shape = *of;
    struct attention_args args = *like;
    shape.sequences = SMALL_SEQUENCES;
    shape.query_rows = shape.key_rows = SMALL_SEQUENCES * SMALL_LENGTH;
    shape.queries = shape.keys = SMALL_LENGTH;
    if (shape.query_step > 0)
        shape.query_step = shape.key_step = SMALL_LENGTH;
    args.queries = &sample.queries;
    args.keys = &sample.keys;
    *ran = false;
    LS_TRY(attention_sample_open(&sample, device, &shape));
    if (sample.lists_dev == NULL)
        goto done;
    LS_TRY(fused_plan_find(device->fused, &plan, &made, &shape, device->scratch_bytes / 2));
    if (plan != NULL)
        LS_TRY(measure(device, worst, ran, &args, plan, &shape));
done:
    attention_sample_close(&sample, device);
    return st;
}

/* The call's own sequences where there is memory for them, else three short ones. */
static ls_status measure_any(struct op_device *device, float worst[2], bool *ran, bool *small,
                             const struct attention_args *args, const struct fused_plan *plan,
                             const struct attention_shape *shape)
{
    ls_status st = LS_OK;
    worst[0] = worst[1] = NOT_FINITE;
    LS_TRY(measure(device, worst, ran, args, plan, shape));
    *small = !*ran;
    if (!*ran)
        LS_TRY(measure_small(device, worst, ran, args, shape));
done:
    return st;
}

static bool agrees(const float worst[2], const struct attention_shape *shape)
{
    return worst[0] <= (shape->backward ? GRADIENT_BOUND : OUTPUT_BOUND) && worst[1] <= LSE_BOUND;
}

/* Where sums that are cleared first make the difference, they are from now on. */
static ls_status try_clearing(struct op_device *device, float worst[2], bool *ran, bool *small,
                              const struct attention_args *args, const struct fused_plan *plan,
                              const struct attention_shape *shape)
{
    ls_status st = LS_OK;
    if (!*ran || agrees(worst, shape) || !shape->backward || shape->deterministic ||
        fused_clears(device->fused))
        return LS_OK;
    fused_set_clears(device->fused, true);
    LS_TRY(measure_any(device, worst, ran, small, args, plan, shape));
    if (*ran && agrees(worst, shape))
        log_warn("attention pass=backward clears_sums=yes reason=\"cuDNN does not\"");
    else
        fused_set_clears(device->fused, false);
done:
    return st;
}

ls_status attention_fused_check(struct op_device *device, const struct attention_args *args,
                                struct fused_plan **plan, const struct attention_shape *shape)
{
    ls_status st = LS_OK;
    float worst[2];
    const float bound = shape->backward ? GRADIENT_BOUND : OUTPUT_BOUND;
    char reason[128];
    bool ran = false, small = false;
    LS_TRY(measure_any(device, worst, &ran, &small, args, *plan, shape));
    LS_TRY(try_clearing(device, worst, &ran, &small, args, *plan, shape));
    if (!ran) {
        fused_plan_refuse(device->fused, *plan, NO_MEMORY);
        *plan = NULL;
    } else if (!agrees(worst, shape)) {
        (void)snprintf(reason, sizeof reason,
                       "it differs from the plain one by %.3g of a row, bound %.2g; lse by %.3g",
                       (double)worst[0], (double)bound, (double)worst[1]);
        fused_plan_refuse(device->fused, *plan, reason);
        *plan = NULL;
    } else {
        log_debug("attention_plan_checked pass=%s shape=%s difference=%.2g bound=%.2g lse=%.2g",
                  shape->backward ? "backward" : "forward", small ? "small" : "own",
                  (double)worst[0], (double)bound, (double)worst[1]);
    }
done:
    return st;
}

ls_status attention_fused_check_shape(struct op_device *device, const struct attention_args *like,
                                      struct fused_plan **plan, const struct attention_shape *shape)
{
    ls_status st = LS_OK;
    struct attention_sample sample = {};
    struct attention_args args = *like;
    args.queries = &sample.queries;
    args.keys = &sample.keys;
    LS_TRY(attention_sample_open(&sample, device, shape));
    if (sample.lists_dev != NULL) {
        LS_TRY(attention_fused_check(device, &args, plan, shape));
    } else {
        fused_plan_refuse(device->fused, *plan, NO_MEMORY);
        *plan = NULL;
    }
done:
    attention_sample_close(&sample, device);
    return st;
}
