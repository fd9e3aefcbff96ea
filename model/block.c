/* The order of operators is the block's data flow; which memory each one uses is decided by the
 * caches and scratch that the caller laid out. */
#include "model/block.h"

#include <stdio.h>

ls_status block_bind(struct block *out, const struct layer_space *space, const char *prefix)
{
    ls_status st = LS_OK;
    char name[80];
    const struct {
        const char *part;
        struct layer_linear *linear;
        struct layer_norm *norm;
    } parts[] = {
        {"norm1", NULL, &out->norm1},    {"attn.qkv", &out->qkv, NULL},
        {"attn.proj", &out->proj, NULL}, {"norm2", NULL, &out->norm2},
        {"mlp.fc1", &out->fc1, NULL},    {"mlp.fc2", &out->fc2, NULL},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        (void)snprintf(name, sizeof name, "%s.%s", prefix, parts[i].part);
        if (parts[i].linear != NULL)
            LS_TRY(layer_linear_bind(parts[i].linear, space, name));
        else
            LS_TRY(layer_norm_bind(parts[i].norm, space, name));
    }
done:
    return st;
}

void block_cache_take(struct block_cache *out, struct arena *arena, const struct block_shape *shape,
                      enum op_dtype dtype, int64_t rows, int64_t query_rows, bool backward)
{
    const int64_t dim = shape->dim;
    const bool selects = query_rows > 0;
    const int64_t out_rows = selects ? query_rows : rows;
    *out = (struct block_cache){0};
    /* Without backward it serves what belongs to queries too: there may be more of them. */
    out->normed1 =
        arena_take_matrix(arena, !backward && out_rows > rows ? out_rows : rows, dim, dtype);
    if (selects)
        out->query_normed = arena_take_matrix(arena, out_rows, dim, dtype);
    out->q = arena_take_matrix(arena, out_rows, dim, dtype);
    out->k = arena_take_matrix(arena, rows, dim, dtype);
    out->v = arena_take_matrix(arena, rows, dim, dtype);
    if (!backward) {
        /* Each of these is read for the last time before the next one is written. */
        out->attended = out->normed1;
        out->normed2 = out->normed1;
        out->activated = arena_take_matrix(arena, out_rows, shape->hidden, dtype);
        return;
    }
    out->attended = arena_take_matrix(arena, out_rows, dim, dtype);
    out->normed2 = arena_take_matrix(arena, out_rows, dim, dtype);
    out->pre = arena_take_matrix(arena, out_rows, shape->hidden, dtype);
    out->activated = arena_take_matrix(arena, out_rows, shape->hidden, dtype);
    out->mid = arena_take_matrix(arena, out_rows, dim, OP_F32);
    out->mean1 = arena_take_matrix(arena, rows, 1, OP_F32);
    out->rstd1 = arena_take_matrix(arena, rows, 1, OP_F32);
    out->mean2 = arena_take_matrix(arena, out_rows, 1, OP_F32);
    out->rstd2 = arena_take_matrix(arena, out_rows, 1, OP_F32);
    out->lse = arena_take_matrix(arena, out_rows, shape->heads, OP_F32);
}

void block_scratch_take(struct block_scratch *out, struct arena *arena,
                        const struct block_shape *shape, enum op_dtype dtype, int64_t rows,
                        bool backward)
{
    const int64_t dim = shape->dim;
    const int64_t wide = 3 * dim > shape->hidden ? 3 * dim : shape->hidden;
    *out = (struct block_scratch){0};
    /* kv and q may lie in it one after the other; q too starts where arrays do, so that no plan of
     * a product depends on how many rows there are. */
    out->wide = arena_take(arena, arena_padded((size_t)(rows * wide) * arena_element_bytes(dtype)) +
                                      arena_padded(1));
    if (!backward)
        return;
    out->narrow = arena_take_matrix(arena, rows, dim, dtype);
    out->dq = arena_take_matrix(arena, rows, dim, dtype);
    out->dk = arena_take_matrix(arena, rows, dim, dtype);
    out->dv = arena_take_matrix(arena, rows, dim, dtype);
    if (dtype != OP_F32)
        out->dy = arena_take_matrix(arena, rows, dim, dtype);
}

/* A call's matrices by name: the same memory seen with this micro-batch's row counts. */
struct views {
    struct op_matrix normed1, query_normed, attended; /* dtype */
    struct op_matrix qkv;                             /* all rows asked for: [rows, 3 dim] */
    struct op_matrix kv, q; /* else: [key rows, 2 dim] and [query rows, dim], in the same memory */
    struct op_matrix narrow_keys, narrow_queries;
};

static struct views view(const struct layer_device *on, const struct block_shape *shape,
                         const struct block_cache *cache, const struct block_scratch *scratch,
                         const struct block_rows *rows)
{
    const int64_t keys = rows->keys->sequences.rows;
    const int64_t queries = rows->queries->sequences.rows;
    const int64_t dim = shape->dim;
    const enum op_dtype dtype = on->dtype;
    char *wide = scratch->wide;
    return (struct views){
        .normed1 = layer_matrix(cache->normed1, keys, dim, dtype),
        .query_normed = layer_matrix(cache->query_normed, queries, dim, dtype),
        .attended = layer_matrix(cache->attended, queries, dim, dtype),
        .qkv = layer_matrix(wide, keys, 3 * dim, dtype),
        .kv = layer_matrix(wide, keys, 2 * dim, dtype),
        .q =
            layer_matrix(wide + arena_padded((size_t)(keys * 2 * dim) * arena_element_bytes(dtype)),
                         queries, dim, dtype),
        .narrow_keys = layer_matrix(scratch->narrow, keys, dim, dtype),
        .narrow_queries = layer_matrix(scratch->narrow, queries, dim, dtype),
    };
}

/* Heads without channels to turn have no positions at all. */
static const struct op_rotary *rotary_of(const struct block_shape *shape)
{
    return shape->rotary.axis_width > 0 ? &shape->rotary : NULL;
}

/* q, k and v by heads, turned by their positions. */
static ls_status project_fwd(const struct layer_device *on, const struct block_shape *shape,
                             const struct block *block, const struct block_cache *cache,
                             const struct block_rows *rows, const struct views *v)
{
    ls_status st = LS_OK;
    const struct op_table *ops = on->ops;
    const int64_t dim = shape->dim;
    const bool selects = rows->query_index_dev != NULL;
    const struct op_matrix queries = selects ? v->q : v->qkv;
    const struct op_matrix keys = selects ? v->kv : v->qkv;
    const int64_t key_column = selects ? 0 : dim;
    if (selects) {
        const struct layer_linear q = layer_linear_outputs(&block->qkv, 0, dim);
        const struct layer_linear kv = layer_linear_outputs(&block->qkv, dim, 2 * dim);
        LS_TRY(
            ops->gather_rows(on->device, v->query_normed, v->normed1, rows->query_index_dev, NULL));
        LS_TRY(ops->linear_fwd(on->device, v->kv, v->normed1, kv.w, kv.b_dev, false));
        LS_TRY(ops->linear_fwd(on->device, v->q, v->query_normed, q.w, q.b_dev, false));
    } else {
        LS_TRY(
            ops->linear_fwd(on->device, v->qkv, v->normed1, block->qkv.w, block->qkv.b_dev, false));
    }
    LS_TRY(ops->split_heads_fwd(on->device, cache->q, rows->queries->sequences.head_rows, queries,
                                0, shape->heads, shape->head_width, rotary_of(shape),
                                rows->queries->positions_dev));
    LS_TRY(ops->split_heads_fwd(on->device, cache->k, rows->keys->sequences.head_rows, keys,
                                key_column, shape->heads, shape->head_width, rotary_of(shape),
                                rows->keys->positions_dev));
    LS_TRY(ops->split_heads_fwd(on->device, cache->v, rows->keys->sequences.head_rows, keys,
                                key_column + dim, shape->heads, shape->head_width, NULL,
                                rows->keys->positions_dev));
done:
    return st;
}

/* to = the rows of x that y is asked for. */
static ls_status residual_fwd(const struct layer_device *on, const struct block_rows *rows,
                              struct op_matrix to, struct op_matrix x)
{
    if (rows->query_index_dev != NULL)
        return on->ops->gather_rows(on->device, to, x, rows->query_index_dev, NULL);
    if (to.data_dev == x.data_dev)
        return LS_OK;
    return on->ops->copy(on->device, to.data_dev, x.data_dev,
                         (size_t)(x.rows * x.columns) * sizeof(float));
}

ls_status block_mlp_fwd(const struct layer_device *on, const struct block_shape *shape,
                        const struct block *block, const struct block_cache *cache, int64_t rows,
                        float *y, const float *m)
{
    ls_status st = LS_OK;
    const struct op_table *ops = on->ops;
    const struct op_matrix mid = layer_matrix(m, rows, shape->dim, OP_F32);
    const struct op_matrix out = layer_matrix(y, rows, shape->dim, OP_F32);
    const struct op_matrix normed = layer_matrix(cache->normed2, rows, shape->dim, on->dtype);
    const struct op_matrix pre = layer_matrix(cache->pre, rows, shape->hidden, on->dtype);
    const struct op_matrix activated =
        layer_matrix(cache->activated, rows, shape->hidden, on->dtype);
    LS_TRY(ops->layernorm_fwd(on->device, normed, cache->mean2, cache->rstd2, mid,
                              block->norm2.gain_dev, block->norm2.bias_dev, (float)shape->eps));
    LS_TRY(
        ops->linear_gelu_fwd(on->device, activated, pre, normed, block->fc1.w, block->fc1.b_dev));
    if (out.data_dev != mid.data_dev)
        LS_TRY(ops->copy(on->device, y, m, (size_t)(rows * shape->dim) * sizeof(float)));
    LS_TRY(ops->linear_fwd(on->device, out, activated, block->fc2.w, block->fc2.b_dev, true));
done:
    return st;
}

ls_status block_fwd(const struct layer_device *on, const struct block_shape *shape,
                    const struct block *block, const struct block_cache *cache,
                    const struct block_scratch *scratch, const struct block_rows *rows, float *y,
                    const float *x)
{
    ls_status st = LS_OK;
    const struct op_table *ops = on->ops;
    const struct views v = view(on, shape, cache, scratch, rows);
    const int64_t query_rows = rows->queries->sequences.rows;
    const struct op_matrix in = layer_matrix(x, rows->keys->sequences.rows, shape->dim, OP_F32);
    const struct op_matrix mid =
        layer_matrix(cache->mid != NULL ? cache->mid : y, query_rows, shape->dim, OP_F32);

    LS_TRY(ops->layernorm_fwd(on->device, v.normed1, cache->mean1, cache->rstd1, in,
                              block->norm1.gain_dev, block->norm1.bias_dev, (float)shape->eps));
    LS_TRY(project_fwd(on, shape, block, cache, rows, &v));
    LS_TRY(ops->attention_fwd(on->device, v.attended, cache->lse, cache->q, cache->k, cache->v,
                              shape->heads, shape->head_width, &rows->queries->sequences,
                              &rows->keys->sequences));
    LS_TRY(residual_fwd(on, rows, mid, in));
    LS_TRY(ops->linear_fwd(on->device, mid, v.attended, block->proj.w, block->proj.b_dev, true));

    LS_TRY(block_mlp_fwd(on, shape, block, cache, query_rows, y, mid.data_dev));
done:
    return st;
}

/* A gradient of the residual stream in the dtype of products. */
static ls_status as_products(const struct layer_device *on, const struct block_scratch *scratch,
                             struct op_matrix *out, struct op_matrix dy)
{
    *out = dy;
    if (on->dtype == OP_F32)
        return LS_OK;
    *out = layer_matrix(scratch->dy, dy.rows, dy.columns, on->dtype);
    return on->ops->cast(on->device, *out, dy);
}

ls_status block_mlp_bwd(const struct layer_device *on, const struct block_shape *shape,
                        const struct block *block, const struct block_cache *cache,
                        const struct block_scratch *scratch, int64_t rows, float *dy,
                        struct layer_report *report)
{
    ls_status st = LS_OK;
    const struct op_table *ops = on->ops;
    const struct op_matrix dmid = layer_matrix(dy, rows, shape->dim, OP_F32);
    const struct op_matrix mid = layer_matrix(cache->mid, rows, shape->dim, OP_F32);
    const struct op_matrix normed = layer_matrix(cache->normed2, rows, shape->dim, on->dtype);
    const struct op_matrix pre = layer_matrix(cache->pre, rows, shape->hidden, on->dtype);
    const struct op_matrix activated =
        layer_matrix(cache->activated, rows, shape->hidden, on->dtype);
    const struct op_matrix wide = layer_matrix(scratch->wide, rows, shape->hidden, on->dtype);
    const struct op_matrix narrow = layer_matrix(scratch->narrow, rows, shape->dim, on->dtype);
    struct op_matrix d;
    LS_TRY(as_products(on, scratch, &d, dmid));
    LS_TRY(layer_linear_bwd_weight(on, &block->fc2, d, activated));
    LS_TRY(layer_gradient_final(report, block->fc2.offset));
    LS_TRY(ops->linear_bwd_data(on->device, wide, d, block->fc2.w, false));
    LS_TRY(ops->gelu_bwd(on->device, wide, wide, pre));
    LS_TRY(layer_linear_bwd_weight(on, &block->fc1, wide, normed));
    LS_TRY(layer_gradient_final(report, block->fc1.offset));
    LS_TRY(ops->linear_bwd_data(on->device, narrow, wide, block->fc1.w, false));
    LS_TRY(ops->layernorm_bwd(on->device, dmid, block->norm2.dgain_dev, block->norm2.dbias_dev,
                              narrow, mid, cache->mean2, cache->rstd2, block->norm2.gain_dev,
                              true));
    LS_TRY(layer_gradient_final(report, block->norm2.offset));
done:
    return st;
}

/* From the gradients by heads to the gradient by norm1's output, in narrow_keys. */
static ls_status project_bwd(const struct layer_device *on, const struct block_shape *shape,
                             const struct block *block, const struct block_scratch *scratch,
                             const struct block_rows *rows, const struct views *v)
{
    ls_status st = LS_OK;
    const struct op_table *ops = on->ops;
    const int64_t dim = shape->dim;
    const bool selects = rows->query_index_dev != NULL;
    const struct op_matrix dqueries = selects ? v->q : v->qkv;
    const struct op_matrix dkeys = selects ? v->kv : v->qkv;
    const int64_t key_column = selects ? 0 : dim;
    LS_TRY(ops->split_heads_bwd(on->device, dqueries, 0, scratch->dq,
                                rows->queries->sequences.head_rows, shape->heads, shape->head_width,
                                rotary_of(shape), rows->queries->positions_dev));
    LS_TRY(ops->split_heads_bwd(on->device, dkeys, key_column, scratch->dk,
                                rows->keys->sequences.head_rows, shape->heads, shape->head_width,
                                rotary_of(shape), rows->keys->positions_dev));
    LS_TRY(ops->split_heads_bwd(on->device, dkeys, key_column + dim, scratch->dv,
                                rows->keys->sequences.head_rows, shape->heads, shape->head_width,
                                NULL, rows->keys->positions_dev));
    if (!selects) {
        LS_TRY(layer_linear_bwd_weight(on, &block->qkv, v->qkv, v->normed1));
        LS_TRY(ops->linear_bwd_data(on->device, v->narrow_keys, v->qkv, block->qkv.w, false));
        goto done;
    }
    const struct layer_linear q = layer_linear_outputs(&block->qkv, 0, dim);
    const struct layer_linear kv = layer_linear_outputs(&block->qkv, dim, 2 * dim);
    /* dq by heads has been read: its memory takes the gradient by the selected rows. */
    const struct op_matrix dselected = layer_matrix(scratch->dq, v->q.rows, dim, on->dtype);
    LS_TRY(layer_linear_bwd_weight(on, &q, v->q, v->query_normed));
    LS_TRY(layer_linear_bwd_weight(on, &kv, v->kv, v->normed1));
    LS_TRY(ops->linear_bwd_data(on->device, v->narrow_keys, v->kv, kv.w, false));
    LS_TRY(ops->linear_bwd_data(on->device, dselected, v->q, q.w, false));
    LS_TRY(ops->scatter_rows(on->device, v->narrow_keys, NULL, dselected, rows->query_index_dev,
                             true));
done:
    return st;
}

ls_status block_bwd(const struct layer_device *on, const struct block_shape *shape,
                    const struct block *block, const struct block_cache *cache,
                    const struct block_scratch *scratch, const struct block_rows *rows, float *dx,
                    float *dy, const float *x, struct layer_report *report)
{
    ls_status st = LS_OK;
    const struct op_table *ops = on->ops;
    const struct views v = view(on, shape, cache, scratch, rows);
    const int64_t key_rows = rows->keys->sequences.rows;
    const int64_t query_rows = rows->queries->sequences.rows;
    const struct op_matrix in = layer_matrix(x, key_rows, shape->dim, OP_F32);
    const struct op_matrix din = layer_matrix(dx, key_rows, shape->dim, OP_F32);
    const struct op_matrix dmid = layer_matrix(dy, query_rows, shape->dim, OP_F32);
    const bool selects = rows->query_index_dev != NULL;
    struct op_matrix d;

    LS_TRY(block_mlp_bwd(on, shape, block, cache, scratch, query_rows, dy, report));
    LS_TRY(as_products(on, scratch, &d, dmid));
    LS_TRY(layer_linear_bwd_weight(on, &block->proj, d, v.attended));
    LS_TRY(layer_gradient_final(report, block->proj.offset));
    LS_TRY(ops->linear_bwd_data(on->device, v.narrow_queries, d, block->proj.w, false));
    LS_TRY(ops->attention_bwd(on->device, scratch->dq, scratch->dk, scratch->dv, v.narrow_queries,
                              v.attended, cache->lse, cache->q, cache->k, cache->v, shape->heads,
                              shape->head_width, &rows->queries->sequences,
                              &rows->keys->sequences));
    LS_TRY(project_bwd(on, shape, block, scratch, rows, &v));
    LS_TRY(layer_gradient_final(report, block->qkv.offset));
    LS_TRY(ops->layernorm_bwd(on->device, din, block->norm1.dgain_dev, block->norm1.dbias_dev,
                              v.narrow_keys, in, cache->mean1, cache->rstd1, block->norm1.gain_dev,
                              !selects));
    LS_TRY(layer_gradient_final(report, block->norm1.offset));
    if (selects)
        LS_TRY(ops->scatter_rows(on->device, din, NULL, dmid, rows->query_index_dev, true));
done:
    return st;
}
