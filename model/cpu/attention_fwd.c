/* Attention by blocks of query rows.
 *
 * A task is one head of one sequence, or a run of query blocks of it where there are few.  The keys
 * are transposed once a task, so that scores are sums of rows; a block's scores against all keys
 * are CPU_QUERIES rows that stay in the caches between the two products, and are all there ever is
 * of the N x N matrix.  Tasks are dealt out as threads come free: each writes rows of its own from
 * inputs alone, so who computes them does not show in the bits. */
#include <omp.h>
#include <string.h>

#include "model/cpu/attention.h"

/* A slice of the workspace. */
struct forward_slice {
    float *keys;       /* panels of the transpose, [head_width][padded keys] */
    float *value_rows; /* room for [keys][lanes_width] */
    const float *values;
    float *queries;
    float *scores;  /* [CPU_QUERIES][score_width] */
    float *outputs; /* [CPU_QUERIES][lanes_width] */
    int64_t score_width;
};

static struct forward_slice lay_out(struct attention_arena *arena, int64_t head_width,
                                    int64_t max_length)
{
    int64_t keys = round_up_to(max_length, CPU_PANEL_MAX);
    int64_t width = round_up_to(head_width, CPU_PANEL_MAX);
    int64_t score_width = keys + 16; /* not a multiple of a page: rows would share cache sets */
    return (struct forward_slice){.keys = attention_take(arena, keys * width),
                                  .value_rows = attention_take(arena, keys * width),
                                  .queries = attention_take(arena, CPU_QUERIES * width),
                                  .outputs = attention_take(arena, CPU_QUERIES * width),
                                  .scores = attention_take(arena, CPU_QUERIES * score_width),
                                  .score_width = score_width};
}

size_t cpu_attention_fwd_bytes(int head_width, int max_length)
{
    struct attention_arena arena = {0};
    (void)lay_out(&arena, head_width, max_length);
    return (size_t)arena.used * sizeof(float);
}

struct forward {
    struct op_device *device;
    bool by_pairs;
    struct attention_shape shape;
    struct op_matrix o, q, k, v;
    float *lse;
    int runs; /* of query blocks, per head and sequence */
    int64_t max_length;
};

/* Scores of `count` queries, the first at element `from`, in `rows` rows: times log2_scale, or by
 * pairs without it, since what is multiplied by it is no bf16. */
static void score_block(const struct forward *f, const struct forward_slice *slice, int64_t from,
                        int64_t count, int64_t rows, int64_t padded)
{
    int64_t width = f->shape.head_width;
    struct tile_product scores = {.c = slice->scores,
                                  .c_row = slice->score_width,
                                  .a = slice->queries,
                                  .a_row = width,
                                  .a_step = 1,
                                  .b = slice->keys,
                                  .m = rows,
                                  .n = padded,
                                  .k = width};
    if (f->by_pairs) {
        attention_copy_rows((void *)slice->queries, (const uint16_t *)f->q.data_dev + from, width,
                            count, rows, width);
        scores.a_row = scores.k = width / 2;
        f->device->pairs->product(&scores);
        return;
    }
    attention_load(f->device, slice->queries, rows, width, f->q, from, width, count, width,
                   f->shape.log2_scale);
    f->device->kernels->product(&scores);
}

static void attend_block(const struct forward *f, const struct forward_slice *slice, int h, int s,
                         int64_t first, int64_t count)
{
    const struct cpu_kernels *kernels = f->device->kernels;
    const struct attention_shape *shape = &f->shape;
    int64_t keys = shape->keys->length[s], padded = round_up_to(keys, kernels->lanes);
    int64_t row = shape->queries->start[s] + first, width = shape->head_width;
    int64_t rows = round_up_to(count, CPU_TILE_ROWS);
    score_block(f, slice, (h * shape->queries->head_rows + row) * width, count, rows, padded);
    float factor = f->by_pairs ? shape->log2_scale : 1.0f;
    float inverse[CPU_QUERIES];
    for (int64_t i = 0; i < count; i++) {
        float lse = kernels->softmax(slice->scores + i * slice->score_width, &inverse[i], keys,
                                     padded, factor);
        if (f->lse != NULL)
            f->lse[h * shape->queries->head_rows + row + i] = lse;
    }
    for (int64_t key = 0; key < keys; key += CPU_KEYS)
        kernels->product(&(struct tile_product){.c = slice->outputs,
                                                .c_row = shape->lanes_width,
                                                .a = slice->scores + key,
                                                .a_row = slice->score_width,
                                                .a_step = 1,
                                                .b = slice->values + key * shape->lanes_width,
                                                .b_row = shape->lanes_width,
                                                .m = rows,
                                                .n = shape->lanes_width,
                                                .k = keys - key < CPU_KEYS ? keys - key : CPU_KEYS,
                                                .accumulate = key > 0});
    for (int64_t i = 0; i < count; i++) {
        int64_t at = (row + i) * f->o.columns + h * width;
        float *out = cpu_target(f->o, at, slice->queries);
        kernels->scale(out, slice->outputs + i * shape->lanes_width, inverse[i], width);
        cpu_written(f->device, f->o, at, width, out);
    }
}

static void attend_task(const struct forward *f, int task)
{
    const struct attention_shape *shape = &f->shape;
    int run = task % f->runs, h = task / f->runs % shape->heads;
    int s = task / f->runs / shape->heads;
    int64_t keys = shape->keys->length[s], width = shape->head_width;
    struct cpu_range range = cpu_share(shape->queries->length[s], CPU_QUERIES, run, f->runs);
    if (range.begin == range.end || keys == 0)
        return;
    struct attention_arena arena = {cpu_slice(f->device, omp_get_thread_num()), 0};
    struct forward_slice slice = lay_out(&arena, width, f->max_length);
    int64_t from = (h * shape->keys->head_rows + shape->keys->start[s]) * width;
    if (f->by_pairs)
        attention_pack_pairs(f->device, slice.keys, (const uint16_t *)f->k.data_dev + from, keys,
                             width);
    else
        attention_load_transposed(f->device, slice.keys, slice.value_rows, f->k, from, keys, width);
    slice.values = attention_rows(f->device, shape, f->v, from, keys, slice.value_rows);
    for (int64_t first = range.begin; first < range.end; first += CPU_QUERIES) {
        int64_t rest = range.end - first;
        attend_block(f, &slice, h, s, first, rest < CPU_QUERIES ? rest : CPU_QUERIES);
    }
}

/* Queries without a key and padding rows get zeros. */
static bool any_row_without_keys(const struct attention_shape *shape)
{
    bool any = shape->queries->true_rows < shape->queries->rows;
    for (int s = 0; s < shape->keys->count; s++)
        any = any || shape->keys->length[s] == 0;
    return any;
}

ls_status attention_fwd_cpu(struct op_device *device, struct op_matrix o, float *lse_dev,
                            const void *q_dev, const void *k_dev, const void *v_dev, int heads,
                            int head_width, const struct op_sequences *queries,
                            const struct op_sequences *keys)
{
    ls_status st = LS_OK;
    struct forward f = {.device = device, .o = o, .lse = lse_dev, .max_length = keys->max_length};
    LS_TRY(
        attention_shape_of(&f.shape, device, "attention_fwd", o, heads, head_width, queries, keys));
    LS_TRY(cpu_workspace_check(device, cpu_attention_fwd_bytes(head_width, keys->max_length),
                               "attention_fwd"));
    f.by_pairs = attention_by_pairs(device, o.dtype, head_width);
    f.q = cpu_matrix(q_dev, heads * queries->head_rows, head_width, o.dtype);
    f.k = cpu_matrix(k_dev, heads * keys->head_rows, head_width, o.dtype);
    f.v = cpu_matrix(v_dev, heads * keys->head_rows, head_width, o.dtype);
    if (any_row_without_keys(&f.shape)) {
        memset(o.data_dev, 0, (size_t)(o.rows * o.columns) * cpu_dtype_bytes(o.dtype));
        if (lse_dev != NULL)
            memset(lse_dev, 0, (size_t)(heads * queries->head_rows) * sizeof *lse_dev);
    }
    /* Enough tasks that threads finish together, but no more: each run transposes the keys anew. */
    int pairs = heads * queries->count;
    int blocks = (queries->max_length + CPU_QUERIES - 1) / CPU_QUERIES;
    f.runs = pairs > 0 ? 1 + (8 * device->threads - 1) / pairs : 1;
    f.runs = f.runs < blocks ? f.runs : blocks;
    f.runs = f.runs > 0 ? f.runs : 1;
    int tasks = pairs * f.runs;
#pragma omp parallel for schedule(dynamic, 1) num_threads(device->threads)
    for (int task = 0; task < tasks; task++)
        attend_task(&f, task);
done:
    return st;
}
