/* Backward of attention: scores are computed again by blocks of keys and queries.
 *
 * With P = exp(scale S - lse), delta = rowsum(dO * O):
 *     dV = P^T dO    dP = dO V^T    dS = P * (dP - delta)    dQ = scale dS K    dK = scale dS^T Q
 * A task is one head of one sequence.  Blocks of keys are the outer loop: their gradients stay in
 * the caches while all queries go by; dQ is added up over the blocks of keys in their order.  Tasks
 * are dealt out as threads come free: what one writes depends on its inputs alone. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "model/cpu/attention.h"

/* A slice of the workspace.  Rows of heads are lanes_width wide. */
struct backward_slice {
    float *queries;               /* times log2_scale, like the scores */
    float *d_outputs, *d_queries; /* [padded queries] rows */
    float *delta;                 /* [padded queries] numbers */
    float *key_rows;              /* room for [CPU_KEYS] rows */
    const float *keys;
    float *keys_across, *values_across; /* panels of the transposes of a block */
    float *d_keys, *d_values;           /* [CPU_KEYS] rows */
    float *scores, *d_scores;           /* [CPU_QUERIES][CPU_KEYS] */
};

static struct backward_slice lay_out(struct attention_arena *arena, int64_t head_width,
                                     int64_t max_length)
{
    int64_t queries = round_up_to(max_length, CPU_QUERIES);
    int64_t width = round_up_to(head_width, CPU_PANEL_MAX);
    return (struct backward_slice){
        .queries = attention_take(arena, queries * width),
        .d_outputs = attention_take(arena, queries * width),
        .d_queries = attention_take(arena, queries * width),
        .delta = attention_take(arena, queries),
        .key_rows = attention_take(arena, CPU_KEYS * width),
        .keys_across = attention_take(arena, CPU_KEYS * width),
        .values_across = attention_take(arena, CPU_KEYS * width),
        .d_keys = attention_take(arena, CPU_KEYS * width),
        .d_values = attention_take(arena, CPU_KEYS * width),
        .scores = attention_take(arena, (int64_t)CPU_QUERIES * CPU_KEYS),
        .d_scores = attention_take(arena, (int64_t)CPU_QUERIES * CPU_KEYS),
    };
}

size_t cpu_attention_bwd_bytes(int head_width, int max_length)
{
    struct attention_arena arena = {0};
    (void)lay_out(&arena, head_width, max_length);
    return (size_t)arena.used * sizeof(float);
}

struct backward {
    struct op_device *device;
    bool by_pairs;
    struct attention_pairs_call pairs;
    struct attention_shape shape;
    struct op_matrix d_o, o, q, k, v, dq, dk, dv;
    const float *lse;
    int64_t max_length;
};

/* One head of one sequence. */
struct pair {
    int head, sequence;
    int64_t queries, keys;    /* lengths */
    int64_t query_at, key_at; /* element offsets of its first rows in the per-head buffers */
    int64_t output_at;        /* and in o */
    const float *lse;
};

static struct pair pair_of(const struct backward *b, int task)
{
    const struct attention_shape *shape = &b->shape;
    struct pair pair = {.head = task % shape->heads, .sequence = task / shape->heads};
    int64_t query_row = shape->queries->start[pair.sequence];
    int64_t query_place = pair.head * shape->queries->head_rows + query_row;
    pair.queries = shape->queries->length[pair.sequence];
    pair.keys = shape->keys->length[pair.sequence];
    pair.query_at = query_place * shape->head_width;
    pair.key_at = (pair.head * shape->keys->head_rows + shape->keys->start[pair.sequence]) *
                  shape->head_width;
    pair.output_at = query_row * b->o.columns + (int64_t)pair.head * shape->head_width;
    pair.lse = b->lse + query_place;
    return pair;
}

/* Queries and output gradients as float32 rows; delta. */
static void load_queries(const struct backward *b, const struct pair *pair,
                         const struct backward_slice *slice)
{
    int64_t width = b->shape.head_width, lanes_width = b->shape.lanes_width;
    int64_t rows = round_up_to(pair->queries, CPU_QUERIES);
    attention_load(b->device, slice->queries, rows, lanes_width, b->q, pair->query_at, width,
                   pair->queries, width, b->shape.log2_scale);
    attention_load(b->device, slice->d_outputs, rows, lanes_width, b->d_o, pair->output_at,
                   b->o.columns, pair->queries, width, 1.0f);
    for (int64_t i = 0; i < pair->queries; i++) {
        const float *o =
            cpu_read(b->device, b->o, pair->output_at + i * b->o.columns, width, slice->key_rows);
        slice->delta[i] = b->device->kernels->dot(slice->d_outputs + i * lanes_width, o, width);
    }
    memset(slice->d_queries, 0, (size_t)(rows * lanes_width) * sizeof(float));
}

/* Write `rows` rows of gradient, times `factor`, to a per-head buffer. */
static void store_rows(const struct backward *b, struct op_matrix to, int64_t offset,
                       const float *from, int64_t rows, float factor, float *buffer)
{
    int64_t width = b->shape.head_width;
    for (int64_t i = 0; i < rows; i++) {
        float *out = cpu_target(to, offset + i * width, buffer);
        b->device->kernels->scale(out, from + i * b->shape.lanes_width, factor, width);
        cpu_written(b->device, to, offset + i * width, width, out);
    }
}

/* Probabilities and score gradients of a block of queries against a block of keys.  Rows beyond
 * `count` of the score gradients are zero, because those of the output gradients are. */
static void block_scores(const struct backward *b, const struct pair *pair,
                         const struct backward_slice *slice, int64_t first, int64_t count,
                         int64_t keys)
{
    const struct cpu_kernels *kernels = b->device->kernels;
    int64_t lanes_width = b->shape.lanes_width, rows = round_up_to(count, CPU_TILE_ROWS);
    struct tile_product scores = {.c = slice->scores,
                                  .c_row = CPU_KEYS,
                                  .a = slice->queries + first * lanes_width,
                                  .a_row = lanes_width,
                                  .a_step = 1,
                                  .b = slice->keys_across,
                                  .m = rows,
                                  .n = round_up_to(keys, kernels->lanes),
                                  .k = b->shape.head_width};
    struct tile_product d_scores = scores;
    d_scores.c = slice->d_scores;
    d_scores.a = slice->d_outputs + first * lanes_width;
    d_scores.b = slice->values_across;
    kernels->product(&scores);
    kernels->product(&d_scores);
    int64_t padded = round_up_to(keys, CPU_TILE_ROWS);
    for (int64_t i = 0; i < count; i++)
        kernels->softmax_bwd(slice->scores + i * CPU_KEYS, slice->d_scores + i * CPU_KEYS, keys,
                             padded, (float)((double)pair->lse[first + i] * M_LOG2E),
                             slice->delta[first + i]);
}

/* dV += P^T dO, dK += dS^T Q, dQ += dS K for one pair of blocks.  dS is without the scale here, and
 * Q is times log2_scale: the gradients get their factors when they are stored. */
static void block_gradients(const struct backward *b, const struct backward_slice *slice,
                            int64_t first, int64_t count, int64_t keys)
{
    const struct cpu_kernels *kernels = b->device->kernels;
    int64_t lanes_width = b->shape.lanes_width;
    struct tile_product d_values = {.c = slice->d_values,
                                    .c_row = lanes_width,
                                    .a = slice->scores,
                                    .a_row = 1,
                                    .a_step = CPU_KEYS,
                                    .b = slice->d_outputs + first * lanes_width,
                                    .b_row = lanes_width,
                                    .m = round_up_to(keys, CPU_TILE_ROWS),
                                    .n = lanes_width,
                                    .k = count,
                                    .accumulate = first > 0};
    struct tile_product d_keys = d_values;
    d_keys.c = slice->d_keys;
    d_keys.a = slice->d_scores;
    d_keys.b = slice->queries + first * lanes_width;
    struct tile_product d_queries = {.c = slice->d_queries + first * lanes_width,
                                     .c_row = lanes_width,
                                     .a = slice->d_scores,
                                     .a_row = CPU_KEYS,
                                     .a_step = 1,
                                     .b = slice->keys,
                                     .b_row = lanes_width,
                                     .m = round_up_to(count, CPU_TILE_ROWS),
                                     .n = lanes_width,
                                     .k = keys,
                                     .accumulate = true};
    kernels->product(&d_values);
    kernels->product(&d_keys);
    kernels->product(&d_queries);
}

static void differentiate_pair(const struct backward *b, int task)
{
    if (b->by_pairs) {
        attention_pairs_bwd(&b->pairs, task % b->shape.heads, task / b->shape.heads);
        return;
    }
    struct pair pair = pair_of(b, task);
    int64_t width = b->shape.head_width;
    struct attention_arena arena = {cpu_slice(b->device, omp_get_thread_num()), 0};
    struct backward_slice slice = lay_out(&arena, width, b->max_length);
    load_queries(b, &pair, &slice);
    for (int64_t key = 0; key < pair.keys; key += CPU_KEYS) {
        int64_t keys = pair.keys - key < CPU_KEYS ? pair.keys - key : CPU_KEYS;
        int64_t from = pair.key_at + key * width;
        attention_load_transposed(b->device, slice.keys_across, slice.d_keys, b->k, from, keys,
                                  width);
        attention_load_transposed(b->device, slice.values_across, slice.d_keys, b->v, from, keys,
                                  width);
        slice.keys = attention_rows(b->device, &b->shape, b->k, from, keys, slice.key_rows);
        for (int64_t first = 0; first < pair.queries; first += CPU_QUERIES) {
            int64_t rest = pair.queries - first;
            int64_t count = rest < CPU_QUERIES ? rest : CPU_QUERIES;
            block_scores(b, &pair, &slice, first, count, keys);
            block_gradients(b, &slice, first, count, keys);
        }
        if (pair.queries > 0) {
            store_rows(b, b->dk, from, slice.d_keys, keys, (float)M_LN2, slice.scores);
            store_rows(b, b->dv, from, slice.d_values, keys, 1.0f, slice.scores);
        }
    }
    store_rows(b, b->dq, pair.query_at, slice.d_queries, pair.queries, b->shape.scale,
               slice.scores);
}

static void zero_padding(struct op_matrix gradient, const struct op_sequences *sequences,
                         const struct op_sequences *others)
{
    bool any = sequences->true_rows < sequences->rows;
    for (int s = 0; s < others->count; s++)
        any = any || others->length[s] == 0;
    if (any)
        memset(gradient.data_dev, 0,
               (size_t)(gradient.rows * gradient.columns) * cpu_dtype_bytes(gradient.dtype));
}

ls_status attention_bwd_cpu(struct op_device *device, void *dq_dev, void *dk_dev, void *dv_dev,
                            struct op_matrix d_o, struct op_matrix o, const float *lse_dev,
                            const void *q_dev, const void *k_dev, const void *v_dev, int heads,
                            int head_width, const struct op_sequences *queries,
                            const struct op_sequences *keys)
{
    ls_status st = LS_OK;
    struct backward b = {.device = device, .d_o = d_o, .o = o, .lse = lse_dev};
    LS_TRY(
        attention_shape_of(&b.shape, device, "attention_bwd", o, heads, head_width, queries, keys));
    if (d_o.rows != o.rows || d_o.columns != o.columns)
        return LS_FAIL(LS_USAGE, "attention_bwd: d_o and o differ in shape");
    LS_TRY(cpu_workspace_check(device, cpu_attention_bwd_bytes(head_width, queries->max_length),
                               "attention_bwd"));
    b.max_length = queries->max_length;
    b.by_pairs = attention_by_pairs(device, o.dtype, head_width) && d_o.dtype == OP_BF16;
    b.pairs = (struct attention_pairs_call){.device = device,
                                            .shape = b.shape,
                                            .o = o,
                                            .d_o = d_o,
                                            .q = q_dev,
                                            .k = k_dev,
                                            .v = v_dev,
                                            .dq = dq_dev,
                                            .dk = dk_dev,
                                            .dv = dv_dev,
                                            .lse = lse_dev};
    b.q = cpu_matrix(q_dev, heads * queries->head_rows, head_width, o.dtype);
    b.k = cpu_matrix(k_dev, heads * keys->head_rows, head_width, o.dtype);
    b.v = cpu_matrix(v_dev, heads * keys->head_rows, head_width, o.dtype);
    b.dq = cpu_matrix(dq_dev, heads * queries->head_rows, head_width, o.dtype);
    b.dk = cpu_matrix(dk_dev, heads * keys->head_rows, head_width, o.dtype);
    b.dv = cpu_matrix(dv_dev, heads * keys->head_rows, head_width, o.dtype);
    zero_padding(b.dq, queries, keys);
    zero_padding(b.dk, keys, queries);
    zero_padding(b.dv, keys, queries);
    int tasks = heads * queries->count;
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->threads)
    for (int task = 0; task < tasks; task++)
        differentiate_pair(&b, task);
done:
    return st;
}
