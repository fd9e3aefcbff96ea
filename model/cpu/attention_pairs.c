/* Backward of attention on bf16 with dot products of pairs, by the blocks of attention_bwd.c: all
 * five products take bf16 and sum in float32.  Probabilities and score gradients are rounded to
 * bf16 between two products, as PyTorch's are. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "model/cpu/attention.h"

/* A slice of the workspace.  A float has room for a pair; rows of pairs are lanes_width wide. */
struct backward_slice {
    uint16_t *queries, *d_outputs;          /* [padded queries][head_width] */
    uint32_t *query_pairs, *d_output_pairs; /* [padded queries / 2] rows of pairs */
    float *d_queries;                       /* [padded queries] rows */
    float *delta, *lse;                     /* [padded queries]; lse in units of log(2) */
    float *keys_across, *values_across;     /* panels of the transposes of a block, of pairs */
    uint32_t *key_pairs;                    /* [CPU_KEYS / 2] rows of pairs */
    float *d_keys, *d_values;               /* [CPU_KEYS] rows */
    float *scores, *d_scores;               /* [CPU_QUERIES][CPU_KEYS] */
    uint32_t *p_pairs, *ds_pairs;           /* [CPU_QUERIES / 2][CPU_KEYS] */
    uint16_t *ds_rows;                      /* [CPU_QUERIES][CPU_KEYS] */
};

static struct backward_slice lay_out(struct attention_arena *arena, int64_t head_width,
                                     int64_t max_length)
{
    int64_t queries = round_up_to(max_length, CPU_QUERIES);
    int64_t width = round_up_to(head_width, CPU_PANEL_MAX);
    const int64_t block = (int64_t)CPU_QUERIES * CPU_KEYS;
    return (struct backward_slice){
        .queries = (void *)attention_take(arena, queries * width / 2),
        .d_outputs = (void *)attention_take(arena, queries * width / 2),
        .query_pairs = (void *)attention_take(arena, queries / 2 * width),
        .d_output_pairs = (void *)attention_take(arena, queries / 2 * width),
        .d_queries = attention_take(arena, queries * width),
        .delta = attention_take(arena, queries),
        .lse = attention_take(arena, queries),
        .keys_across = attention_take(arena, CPU_KEYS * width / 2),
        .values_across = attention_take(arena, CPU_KEYS * width / 2),
        .key_pairs = (void *)attention_take(arena, CPU_KEYS / 2 * width),
        .d_keys = attention_take(arena, CPU_KEYS * width),
        .d_values = attention_take(arena, CPU_KEYS * width),
        .scores = attention_take(arena, block),
        .d_scores = attention_take(arena, block),
        .p_pairs = (void *)attention_take(arena, block / 2),
        .ds_pairs = (void *)attention_take(arena, block / 2),
        .ds_rows = (void *)attention_take(arena, block / 2),
    };
}

size_t cpu_attention_pairs_bytes(int head_width, int max_length)
{
    struct attention_arena arena = {0};
    (void)lay_out(&arena, head_width, max_length);
    return (size_t)arena.used * sizeof(float);
}

/* One head of one sequence: lengths, and where its first rows are. */
struct pair {
    int64_t queries, keys, padded; /* padded: queries up to whole blocks */
    int64_t query_at, key_at, output_at;
};

/* Queries and output gradients as rows and as pairs of rows; delta, lse. */
static void load_queries(const struct attention_pairs_call *call, const struct pair *pair,
                         const struct backward_slice *slice, const float *lse)
{
    const struct op_device *device = call->device;
    int64_t width = call->shape.head_width, lanes_width = call->shape.lanes_width;
    const uint16_t *d_o = (const uint16_t *)call->d_o.data_dev + pair->output_at;
    attention_copy_rows(slice->queries, (const uint16_t *)call->q + pair->query_at, width,
                        pair->queries, pair->padded, width);
    attention_copy_rows(slice->d_outputs, d_o, call->o.columns, pair->queries, pair->padded, width);
    device->pairs->interleave(slice->query_pairs, slice->queries, width, pair->padded, width,
                              lanes_width);
    device->pairs->interleave(slice->d_output_pairs, slice->d_outputs, width, pair->padded, width,
                              lanes_width);
    float *const gradient = slice->d_keys, *const output = slice->d_values;
    for (int64_t i = 0; i < pair->padded; i++) {
        slice->delta[i] = slice->lse[i] = 0.0f;
        if (i >= pair->queries)
            continue;
        device->kernels->to_f32(gradient, slice->d_outputs + i * width, width);
        (void)cpu_read(device, call->o, pair->output_at + i * call->o.columns, width, output);
        slice->delta[i] = device->kernels->dot(gradient, output, width);
        slice->lse[i] = (float)((double)lse[i] * M_LOG2E);
    }
    memset(slice->d_queries, 0, (size_t)(pair->padded * lanes_width) * sizeof(float));
}

/* Probabilities and score gradients of a block.  Rows without a query have zeros for queries and
 * output gradients: what they come to counts nowhere. */
static void block_scores(const struct attention_pairs_call *call,
                         const struct backward_slice *slice, int64_t first, int64_t rows,
                         int64_t keys)
{
    const struct op_device *device = call->device;
    int64_t width = call->shape.head_width, padded = round_up_to(keys, device->kernels->lanes);
    struct tile_product scores = {.c = slice->scores,
                                  .c_row = CPU_KEYS,
                                  .a = attention_pairs(slice->queries + first * width),
                                  .a_row = width / 2,
                                  .a_step = 1,
                                  .b = slice->keys_across,
                                  .m = rows,
                                  .n = padded,
                                  .k = width / 2};
    struct tile_product d_scores = scores;
    d_scores.c = slice->d_scores;
    d_scores.a = attention_pairs(slice->d_outputs + first * width);
    d_scores.b = slice->values_across;
    device->pairs->product(&scores);
    device->pairs->product(&d_scores);
    for (int64_t i = 0; i < rows; i += 2) {
        const int64_t at = i * CPU_KEYS, next = at + CPU_KEYS, row = first + i;
        device->pairs->softmax_bwd(
            &(struct pair_gradient){.p_pairs = slice->p_pairs + at / 2,
                                    .ds_pairs = slice->ds_pairs + at / 2,
                                    .ds_rows = {slice->ds_rows + at, slice->ds_rows + next},
                                    .s = {slice->scores + at, slice->scores + next},
                                    .dp = {slice->d_scores + at, slice->d_scores + next},
                                    .lse = {slice->lse[row], slice->lse[row + 1]},
                                    .delta = {slice->delta[row], slice->delta[row + 1]},
                                    .factor = call->shape.log2_scale,
                                    .n = keys,
                                    .padded = padded});
    }
}

/* dV += P^T dO, dK += dS^T Q, dQ += dS K for one pair of blocks; dS is without the scale. */
static void block_gradients(const struct attention_pairs_call *call,
                            const struct backward_slice *slice, int64_t first, int64_t rows,
                            int64_t keys)
{
    const struct cpu_pair_kernels *kernels = call->device->pairs;
    int64_t lanes_width = call->shape.lanes_width;
    struct tile_product d_values = {
        .c = slice->d_values,
        .c_row = lanes_width,
        .a = attention_pairs(slice->p_pairs),
        .a_row = 1,
        .a_step = CPU_KEYS,
        .b = attention_pairs(slice->d_output_pairs + first / 2 * lanes_width),
        .b_row = lanes_width,
        .m = round_up_to(keys, CPU_TILE_ROWS),
        .n = lanes_width,
        .k = rows / 2,
        .accumulate = first > 0};
    struct tile_product d_keys = d_values;
    d_keys.c = slice->d_keys;
    d_keys.a = attention_pairs(slice->ds_pairs);
    d_keys.b = attention_pairs(slice->query_pairs + first / 2 * lanes_width);
    struct tile_product d_queries = {.c = slice->d_queries + first * lanes_width,
                                     .c_row = lanes_width,
                                     .a = attention_pairs(slice->ds_rows),
                                     .a_row = CPU_KEYS / 2,
                                     .a_step = 1,
                                     .b = attention_pairs(slice->key_pairs),
                                     .b_row = lanes_width,
                                     .m = rows,
                                     .n = lanes_width,
                                     .k = (keys + 1) / 2,
                                     .accumulate = true};
    kernels->product(&d_values);
    kernels->product(&d_keys);
    kernels->product(&d_queries);
}

/* Rows of a gradient, times `factor`, to a per-head buffer. */
static void store_rows(const struct attention_pairs_call *call, void *to, int64_t offset,
                       float *from, int64_t rows, float factor)
{
    int64_t width = call->shape.head_width;
    for (int64_t i = 0; i < rows; i++) {
        float *row = from + i * call->shape.lanes_width;
        call->device->kernels->scale(row, row, factor, width);
        call->device->kernels->to_bf16((uint16_t *)to + offset + i * width, row, width);
    }
}

void attention_pairs_bwd(const struct attention_pairs_call *call, int h, int s)
{
    const struct op_device *device = call->device;
    const struct attention_shape *shape = &call->shape;
    int64_t width = shape->head_width, query_row = shape->queries->start[s];
    int64_t query_place = h * shape->queries->head_rows + query_row;
    const struct pair pair = {
        .queries = shape->queries->length[s],
        .keys = shape->keys->length[s],
        .padded = round_up_to(shape->queries->length[s], CPU_QUERIES),
        .query_at = query_place * width,
        .key_at = (h * shape->keys->head_rows + shape->keys->start[s]) * width,
        .output_at = query_row * call->o.columns + h * width,
    };
    struct attention_arena arena = {cpu_slice(device, omp_get_thread_num()), 0};
    struct backward_slice slice = lay_out(&arena, width, shape->queries->max_length);
    load_queries(call, &pair, &slice, call->lse + query_place);
    for (int64_t key = 0; key < pair.keys && pair.queries > 0; key += CPU_KEYS) {
        int64_t keys = pair.keys - key < CPU_KEYS ? pair.keys - key : CPU_KEYS;
        int64_t from = pair.key_at + key * width;
        attention_pack_pairs(device, slice.keys_across, (const uint16_t *)call->k + from, keys,
                             width);
        attention_pack_pairs(device, slice.values_across, (const uint16_t *)call->v + from, keys,
                             width);
        device->pairs->interleave(slice.key_pairs, (const uint16_t *)call->k + from, width, keys,
                                  width, shape->lanes_width);
        for (int64_t first = 0; first < pair.queries; first += CPU_QUERIES) {
            int64_t rest = round_up_to(pair.queries - first, CPU_TILE_ROWS);
            int64_t rows = rest < CPU_QUERIES ? rest : CPU_QUERIES;
            block_scores(call, &slice, first, rows, keys);
            block_gradients(call, &slice, first, rows, keys);
        }
        store_rows(call, call->dk, from, slice.d_keys, keys, shape->scale);
        store_rows(call, call->dv, from, slice.d_values, keys, 1.0f);
    }
    store_rows(call, call->dq, pair.query_at, slice.d_queries, pair.queries, shape->scale);
}
