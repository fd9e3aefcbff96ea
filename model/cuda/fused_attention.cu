/* Attention by cuDNN's fused plans: what shape a call has, what its tensors lie at, and the rows
 * that belong to no sequence.
 *
 * Sequences that lie a fixed number of rows apart are a strided tensor; others are ragged, with
 * offsets that a kernel makes from the sequences' device arrays.  Lengths always come from device
 * memory.  Backward with a fixed order of sums keeps dS of what runs at a time in the workspace:
 * it goes through the sequences, or the heads of one, in pieces that fit WORKSPACE_BYTES. */
#include "model/cuda/attention.h"
#include "model/cuda/fused.h"

/* The emulated build sets less, so that small shapes go in pieces too (tests/emulator/device.h). */
#ifndef LS_FUSED_WORKSPACE_BYTES
#define LS_FUSED_WORKSPACE_BYTES (1 << 30)
#endif

enum : int64_t {
    WORKSPACE_BYTES = LS_FUSED_WORKSPACE_BYTES,
    SLACK_BYTES = 1 << 20, /* of a plan beside dS: tensor maps of ragged sequences, semaphores */
    SLACK_PER_SEQUENCE = 4096,
    LENGTH_MULTIPLE = 128 /* dS is kept in tiles */
};
enum { PAIR = 2, SEQUENCE_ARRAYS = 4, VECTOR_BYTES = 16 };

static int64_t rounded(int64_t n, int64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

static int64_t scores_bytes(int64_t queries, int64_t keys)
{
    return rounded(queries, LENGTH_MULTIPLE) * rounded(keys, LENGTH_MULTIPLE) *
           (int64_t)sizeof(__nv_bfloat16);
}

static int64_t slack_bytes(int64_t sequences)
{
    return SLACK_BYTES + SLACK_PER_SEQUENCE * sequences;
}

/* Offsets of four tensors and lengths of two, as arrays of one piece after another: each piece's
 * part begins where cuDNN was told that tensors do, at a multiple of VECTOR_BYTES. */
struct vectors {
    int64_t pieces, offsets, lengths; /* elements from one piece to the next */
};

static struct vectors vectors_of(int64_t all_sequences, int64_t sequences)
{
    const struct vectors out = {
        all_sequences / sequences,
        rounded(sequences + 1, VECTOR_BYTES / (int64_t)sizeof(int64_t)),
        rounded(sequences, VECTOR_BYTES / (int64_t)sizeof(int32_t)),
    };
    return out;
}

/* Enough for pieces of any number of sequences: most is needed for those of one. */
static int64_t vector_bytes(int64_t sequences)
{
    const struct vectors all = vectors_of(sequences, sequences);
    const struct vectors one = vectors_of(sequences, 1);
    const int64_t offsets =
        all.offsets > one.pieces * one.offsets ? all.offsets : one.pieces * one.offsets;
    return rounded((offsets + 2) * SEQUENCE_ARRAYS * (int64_t)sizeof(int64_t) +
                       one.pieces * one.lengths * PAIR * (int64_t)sizeof(int32_t),
                   256);
}

size_t attention_fused_bytes(const struct op_device *device, const struct op_limits *limits)
{
    if (device->fused == NULL)
        return 0;
    int64_t rows = limits->rows * limits->heads;
    int64_t scores =
        scores_bytes(limits->max_length, limits->max_length) * limits->heads * limits->sequences;
    int64_t bytes =
        vector_bytes(limits->sequences) + rounded(rows * 4, 256) + slack_bytes(limits->sequences);
    if (device->deterministic)
        bytes += scores < WORKSPACE_BYTES ? scores : WORKSPACE_BYTES;
    else
        bytes += rounded(rows * limits->head_width * 4, 256);
    return (size_t)bytes;
}

static int bound_of(const struct op_sequences *s)
{
    return s->step > 0 && s->step < s->max_length ? (int)s->step : s->max_length;
}

/* How many sequences, or how many heads of one, backward takes at a time: all alike, so that one
 * plan serves. */
static void cut(struct attention_shape *shape)
{
    int64_t head = scores_bytes(shape->queries, shape->keys);
    int64_t sequence = head * shape->heads;
    const int count = shape->sequences;
    if (sequence > WORKSPACE_BYTES) {
        shape->sequences = 1;
        while (shape->heads > 1 &&
               (shape->all_heads % shape->heads != 0 || shape->heads * head > WORKSPACE_BYTES))
            shape->heads--;
        return;
    }
    while (count % shape->sequences != 0 || shape->sequences * sequence > WORKSPACE_BYTES)
        shape->sequences--;
}

/* Nothing but bounds and steps that are the same in many micro-batches: plans are few. */
static struct attention_shape shape_of(const struct op_device *device,
                                       const struct attention_args *args, bool backward)
{
    struct attention_shape shape = {};
    const struct op_sequences *q = args->queries;
    const struct op_sequences *k = args->keys;
    if (q->step > 0 && k->step > 0) {
        shape.query_step = q->step;
        shape.key_step = k->step;
    }
    shape.queries = bound_of(q);
    shape.keys = bound_of(k);
    shape.sequences = q->count;
    shape.heads = shape.all_heads = args->heads;
    shape.width = args->head_width;
    shape.query_rows = q->head_rows;
    shape.key_rows = k->head_rows;
    shape.backward = backward;
    shape.lse = backward || args->lse_dev != NULL;
    shape.deterministic = backward && device->deterministic;
    if (shape.deterministic)
        cut(&shape);
    return shape;
}

/* Lengths and element offsets of pieces of `count` sequences; what follows the offsets of a piece
 * is its end.  One block; bytes moved: nothing to speak of. */
static __global__ void sequences_kernel(int64_t *offsets, const int32_t *query_start,
                                        const int32_t *query_length, const int32_t *key_start,
                                        const int32_t *key_length, int count, struct vectors places,
                                        int width, int heads)
{
    const int64_t all = places.pieces * places.offsets;
    const int64_t all_lengths = places.pieces * places.lengths;
    int32_t *lengths = (int32_t *)(offsets + SEQUENCE_ARRAYS * all);
    for (int64_t i = threadIdx.x; i < all; i += blockDim.x) {
        const int64_t piece = i / places.offsets;
        const int64_t place = i % places.offsets;
        const bool inside = place < count;
        const int64_t s = piece * count + (inside ? place : count - 1);
        const int64_t query = query_start[s] + (inside ? 0 : query_length[s]);
        const int64_t key = key_start[s] + (inside ? 0 : key_length[s]);
        offsets[i] = query * width;
        offsets[all + i] = key * width;
        offsets[2 * all + i] = query * width * heads;
        offsets[3 * all + i] = query;
        if (inside) {
            lengths[piece * places.lengths + place] = query_length[s];
            lengths[all_lengths + piece * places.lengths + place] = key_length[s];
        }
    }
}

/* Zero the rows that belong to no sequence.  Block (g, h): the gap before sequence g (after the
 * last: g == count) in part h of [parts][part_rows][width]; a thread writes 4 bytes at a time. */
static __global__ void gaps_kernel(uint32_t *memory, const int32_t *start, const int32_t *length,
                                   int count, int64_t rows, int64_t part_rows, int64_t row_words)
{
    int gap = (int)blockIdx.x;
    int64_t from = gap > 0 ? start[gap - 1] + length[gap - 1] : 0;
    int64_t to = gap < count ? start[gap] : rows;
    uint32_t *part = memory + blockIdx.y * part_rows * row_words;
    for (int64_t i = from * row_words + threadIdx.x; i < to * row_words; i += blockDim.x)
        part[i] = 0;
}

static ls_status zero_gaps(struct op_device *device, void *memory_dev, int parts, int64_t columns,
                           const struct op_sequences *s)
{
    LS_LAUNCH(gaps_kernel, dim3((unsigned)s->count + 1, (unsigned)parts), 256, 0, device->stream,
              (uint32_t *)memory_dev, s->start_dev, s->length_dev, s->count, s->rows, s->head_rows,
              columns / 2);
    return launch_check("gaps");
}

struct piece { /* what one execution computes */
    int sequence, head;
};

/* Of dq in float32, where atomics add it up; scratch. */
static int64_t sum_bytes(const struct attention_shape *shape)
{
    const bool sums = shape->backward && !shape->deterministic;
    return sums ? rounded(4 * shape->width * shape->query_rows * shape->all_heads, 256) : 0;
}

/* Views of the call's buffers, and of scratch, that begin at a piece. */
static struct attention_buffers buffers_of(const struct attention_args *args,
                                           const struct attention_shape *shape, char *scratch_dev,
                                           struct piece at)
{
    const int count = args->queries->count;
    const int64_t width = shape->width;
    const int64_t query = at.sequence * shape->query_step + at.head * shape->query_rows;
    const int64_t key = at.sequence * shape->key_step + at.head * shape->key_rows;
    const int64_t output =
        at.sequence * shape->query_step * shape->all_heads * width + at.head * width;
    const int64_t lse_bytes = rounded(4 * shape->query_rows * shape->all_heads, 256);
    const struct vectors places = vectors_of(count, shape->sequences);
    const int64_t piece = at.sequence / shape->sequences;
    const int64_t all = places.pieces * places.offsets;
    const int64_t *offset_dev = (const int64_t *)scratch_dev;
    const int32_t *length_dev =
        (const int32_t *)(offset_dev + SEQUENCE_ARRAYS * all) + piece * places.lengths;
    offset_dev += piece * places.offsets;
    char *delta_dev = scratch_dev + vector_bytes(count);
    char *sum_dev = delta_dev + (shape->backward ? lse_bytes : 0);
    struct attention_buffers out = {};
    out.q_dev = (const __nv_bfloat16 *)args->q_dev + query * width;
    out.k_dev = (const __nv_bfloat16 *)args->k_dev + key * width;
    out.v_dev = (const __nv_bfloat16 *)args->v_dev + key * width;
    out.o_dev = (__nv_bfloat16 *)args->o.data_dev + output;
    out.lse_dev = args->lse_dev != NULL ? args->lse_dev + query : NULL;
    out.query_length_dev = length_dev;
    out.key_length_dev = length_dev + places.pieces * places.lengths;
    out.query_offset_dev = offset_dev;
    out.key_offset_dev = offset_dev + all;
    out.output_offset_dev = offset_dev + 2 * all;
    out.lse_offset_dev = offset_dev + 3 * all;
    out.delta_dev = (float *)delta_dev + query;
    out.dq_sum_dev = (float *)sum_dev + query * width;
    out.workspace_dev = sum_dev + sum_bytes(shape);
    if (!shape->backward)
        return out;
    out.d_o_dev = (const __nv_bfloat16 *)args->d_o.data_dev + output;
    out.dq_dev = (__nv_bfloat16 *)args->dq_dev + query * width;
    out.dk_dev = (__nv_bfloat16 *)args->dk_dev + key * width;
    out.dv_dev = (__nv_bfloat16 *)args->dv_dev + key * width;
    return out;
}

/* Bytes that are left for the workspace of a plan. */
static size_t workspace_limit(const struct op_device *device, const struct attention_args *args,
                              const struct attention_shape *shape)
{
    struct piece first = {0, 0};
    char *base_dev = (char *)device->scratch_dev;
    size_t used =
        (size_t)((char *)buffers_of(args, shape, base_dev, first).workspace_dev - base_dev);
    return device->scratch_bytes > used ? device->scratch_bytes - used : 0;
}

static ls_status fill_sequences(struct op_device *device, const struct attention_args *args,
                                const struct attention_shape *shape, char **scratch_dev)
{
    ls_status st = LS_OK;
    const struct op_sequences *q = args->queries;
    float *base_dev = NULL;
    LS_TRY(cuda_scratch(device, &base_dev, (size_t)vector_bytes(q->count)));
    *scratch_dev = (char *)base_dev;
    LS_LAUNCH(sequences_kernel, 1, 128, 0, device->stream, (int64_t *)base_dev, q->start_dev,
              q->length_dev, args->keys->start_dev, args->keys->length_dev, shape->sequences,
              vectors_of(q->count, shape->sequences), shape->width, shape->all_heads);
    LS_TRY(launch_check("sequences"));
done:
    return st;
}

static ls_status clean(struct op_device *device, const struct attention_args *args, bool backward)
{
    ls_status st = LS_OK;
    if (!backward) {
        LS_TRY(zero_gaps(device, args->o.data_dev, 1, args->o.columns, args->queries));
    } else {
        LS_TRY(zero_gaps(device, args->dq_dev, args->heads, args->head_width, args->queries));
        LS_TRY(zero_gaps(device, args->dk_dev, args->heads, args->head_width, args->keys));
        LS_TRY(zero_gaps(device, args->dv_dev, args->heads, args->head_width, args->keys));
    }
done:
    return st;
}

static ls_status run_piece(struct op_device *device, const struct attention_args *args,
                           const struct fused_plan *plan, const struct attention_shape *shape,
                           char *scratch_dev, struct piece at)
{
    ls_status st = LS_OK;
    const struct attention_buffers buffers = buffers_of(args, shape, scratch_dev, at);
    if (fused_clears(device->fused) && sum_bytes(shape) > 0)
        LS_TRY(zero_cuda(device, buffers.dq_sum_dev, (size_t)sum_bytes(shape)));
    LS_TRY(fused_run(device->fused, plan, &buffers));
done:
    return st;
}

ls_status attention_fused_run(struct op_device *device, const struct attention_args *args,
                              const struct fused_plan *plan, const struct attention_shape *shape)
{
    ls_status st = LS_OK;
    char *scratch_dev = NULL;
    struct piece first = {0, 0};
    LS_TRY(fill_sequences(device, args, shape, &scratch_dev));
    LS_TRY(run_piece(device, args, plan, shape, scratch_dev, first));
    LS_TRY(clean(device, args, shape->backward));
done:
    return st;
}

/* Memory for the workspace of a plan is what the call leaves of scratch. */
static ls_status find_plan(struct op_device *device, const struct attention_args *args,
                           struct fused_plan **out, bool *made, const struct attention_shape *shape)
{
    return fused_plan_find(device->fused, out, made, shape, workspace_limit(device, args, shape));
}

/* A plan that nobody prepared is held against the plain attention now. */
static ls_status plan_of(struct op_device *device, const struct attention_args *args,
                         struct fused_plan **out, const struct attention_shape *shape)
{
    ls_status st = LS_OK;
    bool made = false;
    LS_TRY(find_plan(device, args, out, &made, shape));
    device->counts.attention_hits += *out != NULL && !made;
    device->counts.attention_misses += made;
    if (made)
        LS_TRY(attention_fused_check(device, args, out, shape));
done:
    return st;
}

ls_status attention_fused_prepare(struct op_device *device, const struct attention_args *args,
                                  bool backward)
{
    ls_status st = LS_OK;
    struct fused_plan *plan = NULL;
    bool made = false;
    const struct attention_shape shape = shape_of(device, args, backward);
    LS_TRY(find_plan(device, args, &plan, &made, &shape));
    if (made) {
        device->counts.attention_prepared++;
        LS_TRY(attention_fused_check_shape(device, args, &plan, &shape));
    }
done:
    return st;
}

/* A query without keys, or a sequence without tokens, is left to the plain attention. */
static bool all_filled(const struct attention_args *args)
{
    for (int s = 0; s < args->queries->count; s++)
        if (args->queries->length[s] < 1 || args->keys->length[s] < 1)
            return false;
    return true;
}

ls_status attention_fused_fwd(struct op_device *device, const struct attention_args *args,
                              bool *done_out)
{
    ls_status st = LS_OK;
    struct fused_plan *plan = NULL;
    const struct attention_shape shape = shape_of(device, args, false);
    *done_out = false;
    if (!all_filled(args))
        return LS_OK;
    LS_TRY(plan_of(device, args, &plan, &shape));
    if (plan == NULL)
        return LS_OK;
    LS_TRY(attention_fused_run(device, args, plan, &shape));
    *done_out = true;
done:
    return st;
}

ls_status attention_fused_bwd(struct op_device *device, const struct attention_args *args,
                              bool *done_out)
{
    ls_status st = LS_OK;
    struct fused_plan *plan = NULL;
    char *scratch_dev = NULL;
    const struct attention_shape shape = shape_of(device, args, true);
    *done_out = false;
    if (!all_filled(args))
        return LS_OK;
    LS_TRY(plan_of(device, args, &plan, &shape));
    if (plan == NULL)
        return LS_OK;
    LS_TRY(fill_sequences(device, args, &shape, &scratch_dev));
    for (int s = 0; s < args->queries->count; s += shape.sequences)
        for (int h = 0; h < shape.all_heads; h += shape.heads) {
            const struct piece at = {s, h};
            LS_TRY(run_piece(device, args, plan, &shape, scratch_dev, at));
        }
    LS_TRY(clean(device, args, true));
    *done_out = true;
done:
    return st;
}
