/* The query's block shares its second half with every other block; its first half is here, since
 * its queries are no rows of x: they are the same learnt row for every video. */
#include "model/classifier.h"

#include <stdio.h>
#include <stdlib.h>

static const double norm_eps = 1e-5; /* of every layer norm of the pooler */

static ls_status bind_query_block(struct classifier *out, const struct layer_space *space)
{
    ls_status st = LS_OK;
    static const char *const names[] = {
        "pooler.cross_attention_block.xattn.q", "pooler.cross_attention_block.xattn.kv",
        "pooler.cross_attention_block.mlp.fc1", "pooler.cross_attention_block.mlp.fc2", "linear"};
    struct layer_linear *const maps[] = {&out->q, &out->kv, &out->second.fc1, &out->second.fc2,
                                         &out->linear};
    const struct parameter *query = parameters_find(space->parameters, "pooler.query_tokens");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        LS_TRY(layer_linear_bind(maps[i], space, names[i]));
    LS_TRY(layer_norm_bind(&out->norm1, space, "pooler.cross_attention_block.norm1"));
    LS_TRY(layer_norm_bind(&out->second.norm2, space, "pooler.cross_attention_block.norm2"));
    if (query == NULL) {
        st = LS_FAIL(LS_FAILED, "no parameter is called pooler.query_tokens");
        goto done;
    }
    out->query_dev = space->weights_dev + query->offset;
    if (space->gradient_dev != NULL)
        out->dquery_dev = space->gradient_dev + query->offset;
done:
    return st;
}

ls_status classifier_open(struct classifier *out, const struct layer_space *space,
                          const struct classifier_shape *shape)
{
    ls_status st = LS_OK;
    char name[80];
    *out = (struct classifier){.block_count = shape->depth - 1,
                               .shape = {.dim = shape->dim,
                                         .hidden = shape->hidden,
                                         .heads = shape->heads,
                                         .head_width = shape->dim / shape->heads,
                                         .eps = norm_eps}};
    out->blocks = calloc((size_t)shape->depth, sizeof *out->blocks);
    if (out->blocks == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for %d blocks", shape->depth);
        goto done;
    }
    for (int i = 0; i < out->block_count; i++) {
        (void)snprintf(name, sizeof name, "pooler.blocks.%d", i);
        LS_TRY(block_bind(&out->blocks[i], space, name));
    }
    LS_TRY(bind_query_block(out, space));
done:
    if (st != LS_OK)
        classifier_close(out);
    return st;
}

void classifier_close(struct classifier *classifier)
{
    free(classifier->blocks);
    classifier->blocks = NULL;
}

ls_status classifier_memory_open(struct classifier_memory *out, int block_count)
{
    *out = (struct classifier_memory){0};
    out->x = calloc((size_t)block_count + 1, sizeof(float *));
    out->caches = calloc((size_t)block_count + 1, sizeof *out->caches);
    if (out->x == NULL || out->caches == NULL) {
        classifier_memory_close(out);
        return LS_FAIL(LS_NOMEM, "out of memory for the caches of %d blocks", block_count);
    }
    return LS_OK;
}

void classifier_memory_close(struct classifier_memory *memory)
{
    free(memory->x);
    free(memory->caches);
    memory->x = NULL;
    memory->caches = NULL;
}

void classifier_take(struct classifier_memory *out, struct arena *arena,
                     const struct classifier *classifier, enum op_dtype dtype, int64_t token_rows,
                     int64_t query_rows)
{
    const struct block_shape *shape = &classifier->shape;
    const int64_t dim = shape->dim;
    const int64_t classes = classifier->linear.w.rows;
    for (int i = 0; i <= classifier->block_count; i++)
        out->x[i] = arena_take_matrix(arena, token_rows, dim, OP_F32);
    for (int i = 0; i < classifier->block_count; i++)
        block_cache_take(&out->caches[i], arena, shape, dtype, token_rows, 0, true);
    block_cache_take(&out->cross, arena, shape, dtype, token_rows, query_rows, true);
    block_scratch_take(&out->scratch, arena, shape, dtype, token_rows, true);
    out->query = arena_take_matrix(arena, query_rows, dim, dtype);
    out->pooled = arena_take_matrix(arena, query_rows, dim, dtype);
    out->out = arena_take_matrix(arena, query_rows, dim, OP_F32);
    out->dx = arena_take_matrix(arena, token_rows, dim, OP_F32);
    out->logits = arena_take_matrix(arena, query_rows, classes, OP_F32);
    out->dlogits = arena_take_matrix(arena, query_rows, classes, OP_F32);
    out->narrow_dlogits = dtype == OP_F32 ? (void *)out->dlogits
                                          : arena_take_matrix(arena, query_rows, classes, dtype);
}

/* A call's matrices by name. */
struct views {
    struct op_matrix x;                   /* [token rows, dim] float32 */
    struct op_matrix normed, kv, dnormed; /* token rows */
    struct op_matrix query, q, dquery, attended, pooled;
    struct op_matrix mid, out; /* query rows, float32 */
    struct op_matrix logits, dlogits;
};

static struct views view(const struct layer_device *on, const struct classifier *classifier,
                         const struct classifier_memory *memory, const struct classifier_rows *rows)
{
    const int64_t tokens = rows->tokens.sequences.rows;
    const int64_t queries = rows->queries.sequences.rows;
    const int64_t dim = classifier->shape.dim;
    const int64_t classes = classifier->linear.w.rows;
    return (struct views){
        .x = layer_matrix(memory->x[classifier->block_count], tokens, dim, OP_F32),
        .normed = layer_matrix(memory->cross.normed1, tokens, dim, on->dtype),
        .kv = layer_matrix(memory->scratch.wide, tokens, 2 * dim, on->dtype),
        .dnormed = layer_matrix(memory->scratch.narrow, tokens, dim, on->dtype),
        .query = layer_matrix(memory->query, queries, dim, on->dtype),
        .q = layer_matrix(memory->scratch.wide, queries, dim, on->dtype),
        .dquery = layer_matrix(memory->scratch.narrow, queries, dim, on->dtype),
        .attended = layer_matrix(memory->cross.attended, queries, dim, on->dtype),
        .pooled = layer_matrix(memory->pooled, queries, dim, on->dtype),
        .mid = layer_matrix(memory->cross.mid, queries, dim, OP_F32),
        .out = layer_matrix(memory->out, queries, dim, OP_F32),
        .logits = layer_matrix(memory->logits, queries, classes, OP_F32),
        .dlogits = layer_matrix(memory->narrow_dlogits, queries, classes, on->dtype),
    };
}

/* To the dtype of products, or from it. */
static ls_status convert(const struct layer_device *on, struct op_matrix to, struct op_matrix from)
{
    if (to.dtype != from.dtype)
        return on->ops->cast(on->device, to, from);
    return on->ops->copy(on->device, to.data_dev, from.data_dev,
                         (size_t)(to.rows * to.columns) * arena_element_bytes(to.dtype));
}

/* mid = t + attention(q(t), kv(norm1(x))). */
static ls_status query_fwd(const struct layer_device *on, const struct classifier *classifier,
                           const struct classifier_memory *memory,
                           const struct classifier_rows *rows, const struct views *v)
{
    ls_status st = LS_OK;
    const struct op_table *ops = on->ops;
    const struct block_shape *shape = &classifier->shape;
    const struct block_cache *cache = &memory->cross;
    LS_TRY(ops->layernorm_fwd(on->device, v->normed, cache->mean1, cache->rstd1, v->x,
                              classifier->norm1.gain_dev, classifier->norm1.bias_dev,
                              (float)shape->eps));
    LS_TRY(ops->linear_fwd(on->device, v->kv, v->normed, classifier->kv.w, classifier->kv.b_dev,
                           false));
    LS_TRY(ops->split_heads_fwd(on->device, cache->k, rows->tokens.sequences.head_rows, v->kv, 0,
                                shape->heads, shape->head_width, NULL, NULL));
    LS_TRY(ops->split_heads_fwd(on->device, cache->v, rows->tokens.sequences.head_rows, v->kv,
                                shape->dim, shape->heads, shape->head_width, NULL, NULL));
    LS_TRY(
        ops->gather_rows(on->device, v->query, v->normed, rows->fill_dev, classifier->query_dev));
    LS_TRY(
        ops->linear_fwd(on->device, v->q, v->query, classifier->q.w, classifier->q.b_dev, false));
    LS_TRY(ops->split_heads_fwd(on->device, cache->q, rows->queries.sequences.head_rows, v->q, 0,
                                shape->heads, shape->head_width, NULL, NULL));
    LS_TRY(ops->attention_fwd(on->device, v->attended, cache->lse, cache->q, cache->k, cache->v,
                              shape->heads, shape->head_width, &rows->queries.sequences,
                              &rows->tokens.sequences));
    LS_TRY(ops->gather_rows(on->device, v->mid, v->x, rows->fill_dev, classifier->query_dev));
    LS_TRY(ops->scatter_rows(on->device, v->mid, NULL, v->attended, rows->own_dev, true));
done:
    return st;
}

ls_status classifier_fwd(const struct layer_device *on, const struct classifier *classifier,
                         const struct classifier_memory *memory, const struct classifier_rows *rows)
{
    ls_status st = LS_OK;
    const struct views v = view(on, classifier, memory, rows);
    const struct block_rows all = {.keys = &rows->tokens, .queries = &rows->tokens};
    for (int i = 0; i < classifier->block_count; i++)
        LS_TRY(block_fwd(on, &classifier->shape, &classifier->blocks[i], &memory->caches[i],
                         &memory->scratch, &all, memory->x[i + 1], memory->x[i]));
    LS_TRY(query_fwd(on, classifier, memory, rows, &v));
    LS_TRY(block_mlp_fwd(on, &classifier->shape, &classifier->second, &memory->cross, v.mid.rows,
                         memory->out, memory->cross.mid));
    LS_TRY(convert(on, v.pooled, v.out));
    LS_TRY(on->ops->linear_fwd(on->device, v.logits, v.pooled, classifier->linear.w,
                               classifier->linear.b_dev, false));
done:
    return st;
}

/* From the gradient by mid, in v->out, to the gradient by x, in memory->dx. */
static ls_status query_bwd(const struct layer_device *on, const struct classifier *classifier,
                           const struct classifier_memory *memory,
                           const struct classifier_rows *rows, const struct views *v)
{
    ls_status st = LS_OK;
    const struct op_table *ops = on->ops;
    const struct block_shape *shape = &classifier->shape;
    const struct block_cache *cache = &memory->cross;
    const struct block_scratch *scratch = &memory->scratch;
    const struct op_matrix dx = layer_matrix(memory->dx, v->x.rows, v->x.columns, OP_F32);
    struct op_matrix d = v->out;
    if (on->dtype != OP_F32) {
        d = layer_matrix(scratch->dy, v->out.rows, v->out.columns, on->dtype);
        LS_TRY(ops->cast(on->device, d, v->out));
    }
    /* No row is named, so the memory that rows would be added to stays as it is. */
    LS_TRY(ops->scatter_rows(on->device, v->dquery, classifier->dquery_dev, v->out, rows->fill_dev,
                             true));
    LS_TRY(ops->attention_bwd(on->device, scratch->dq, scratch->dk, scratch->dv, d, v->attended,
                              cache->lse, cache->q, cache->k, cache->v, shape->heads,
                              shape->head_width, &rows->queries.sequences,
                              &rows->tokens.sequences));
    LS_TRY(ops->split_heads_bwd(on->device, v->q, 0, scratch->dq, rows->queries.sequences.head_rows,
                                shape->heads, shape->head_width, NULL, NULL));
    LS_TRY(layer_linear_bwd_weight(on, &classifier->q, v->q, v->query));
    LS_TRY(ops->linear_bwd_data(on->device, v->dquery, v->q, classifier->q.w, false));
    LS_TRY(ops->scatter_rows(on->device, v->attended, classifier->dquery_dev, v->dquery,
                             rows->fill_dev, true));
    LS_TRY(ops->split_heads_bwd(on->device, v->kv, 0, scratch->dk, rows->tokens.sequences.head_rows,
                                shape->heads, shape->head_width, NULL, NULL));
    LS_TRY(ops->split_heads_bwd(on->device, v->kv, shape->dim, scratch->dv,
                                rows->tokens.sequences.head_rows, shape->heads, shape->head_width,
                                NULL, NULL));
    LS_TRY(layer_linear_bwd_weight(on, &classifier->kv, v->kv, v->normed));
    LS_TRY(ops->linear_bwd_data(on->device, v->dnormed, v->kv, classifier->kv.w, false));
    LS_TRY(ops->layernorm_bwd(on->device, dx, classifier->norm1.dgain_dev,
                              classifier->norm1.dbias_dev, v->dnormed, v->x, cache->mean1,
                              cache->rstd1, classifier->norm1.gain_dev, false));
done:
    return st;
}

ls_status classifier_bwd(const struct layer_device *on, const struct classifier *classifier,
                         const struct classifier_memory *memory, const struct classifier_rows *rows)
{
    ls_status st = LS_OK;
    const struct views v = view(on, classifier, memory, rows);
    const struct block_rows all = {.keys = &rows->tokens, .queries = &rows->tokens};
    struct layer_report report = {0}; /* nobody asks */
    const struct op_matrix dlogits =
        layer_matrix(memory->dlogits, v.logits.rows, v.logits.columns, OP_F32);
    if (on->dtype != OP_F32)
        LS_TRY(on->ops->cast(on->device, v.dlogits, dlogits));
    LS_TRY(layer_linear_bwd_weight(on, &classifier->linear, v.dlogits, v.pooled));
    LS_TRY(on->ops->linear_bwd_data(on->device, v.dquery, v.dlogits, classifier->linear.w, false));
    LS_TRY(convert(on, v.out, v.dquery));
    LS_TRY(block_mlp_bwd(on, &classifier->shape, &classifier->second, &memory->cross,
                         &memory->scratch, v.out.rows, memory->out, &report));
    LS_TRY(query_bwd(on, classifier, memory, rows, &v));
    for (int i = classifier->block_count - 1; i >= 0; i--)
        LS_TRY(block_bwd(on, &classifier->shape, &classifier->blocks[i], &memory->caches[i],
                         &memory->scratch, &all, memory->dx, memory->dx, memory->x[i], &report));
done:
    return st;
}
