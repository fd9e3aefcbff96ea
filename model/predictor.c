/* Attention does not care about order, so mask tokens simply follow the context tokens of their
 * sequence: nothing is sorted, and the rotary positions say where each one belongs. */
#include "model/predictor.h"

#include <stdio.h>
#include <stdlib.h>

static ls_status bind(struct predictor *out, const struct layer_space *space)
{
    ls_status st = LS_OK;
    char name[80];
    for (int i = 0; i < out->depth; i++) {
        (void)snprintf(name, sizeof name, "predictor.predictor_blocks.%d", i);
        LS_TRY(block_bind(&out->blocks[i], space, name));
    }
    for (int i = 0; i < space->parameters->shape.mask_tokens; i++) {
        (void)snprintf(name, sizeof name, "predictor.mask_tokens.%d", i);
        const struct parameter *token = parameters_find(space->parameters, name);
        if (token == NULL) {
            st = LS_FAIL(LS_FAILED, "no parameter is called %s", name);
            goto done;
        }
        out->mask_tokens[i].token_dev = layer_vector(space, token);
        out->mask_tokens[i].dtoken_dev = space->gradient_dev + token->offset;
    }
    LS_TRY(layer_linear_bind(&out->embed, space, "predictor.predictor_embed"));
    LS_TRY(layer_linear_bind(&out->proj, space, "predictor.predictor_proj"));
    LS_TRY(layer_norm_bind(&out->norm, space, "predictor.predictor_norm"));
done:
    return st;
}

ls_status predictor_open(struct predictor *out, const struct layer_space *space,
                         const struct block_shape *shape)
{
    ls_status st = LS_OK;
    const struct model_shape *model = &space->parameters->shape;
    *out = (struct predictor){.depth = model->pred_depth, .shape = *shape};
    out->blocks = calloc((size_t)model->pred_depth, sizeof *out->blocks);
    out->mask_tokens = calloc((size_t)model->mask_tokens, sizeof *out->mask_tokens);
    if (out->blocks == NULL || out->mask_tokens == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for a predictor of %d blocks", model->pred_depth);
        goto done;
    }
    LS_TRY(bind(out, space));
done:
    if (st != LS_OK)
        predictor_close(out);
    return st;
}

void predictor_close(struct predictor *predictor)
{
    free(predictor->blocks);
    free(predictor->mask_tokens);
    predictor->blocks = NULL;
    predictor->mask_tokens = NULL;
}

ls_status predictor_memory_open(struct predictor_memory *out, int depth, int checkpointed)
{
    *out = (struct predictor_memory){.checkpointed = checkpointed};
    out->x = calloc((size_t)depth, sizeof(float *));
    out->caches = calloc((size_t)depth, sizeof *out->caches);
    if (out->x == NULL || out->caches == NULL) {
        predictor_memory_close(out);
        return LS_FAIL(LS_NOMEM, "out of memory for the caches of %d blocks", depth);
    }
    return LS_OK;
}

void predictor_memory_close(struct predictor_memory *memory)
{
    free(memory->x);
    free(memory->caches);
    memory->x = NULL;
    memory->caches = NULL;
}

void predictor_take(struct predictor_memory *out, struct arena *arena,
                    const struct predictor *predictor, int64_t encoder_dim, enum op_dtype dtype,
                    const struct layout_limits *limits)
{
    const struct block_shape *shape = &predictor->shape;
    const int64_t rows = limits->predictor_rows;
    const int64_t selected = limits->prediction_rows;
    const int last = predictor->depth - 1;
    out->embedded = arena_take_matrix(arena, limits->context_rows, shape->dim, OP_F32);
    for (int i = 0; i <= last; i++)
        out->x[i] = arena_take_matrix(arena, rows, shape->dim, OP_F32);
    out->selected = arena_take_matrix(arena, selected, shape->dim, OP_F32);
    for (int i = 0; i < last; i++) {
        if (i > 0 && i < out->checkpointed)
            out->caches[i] = out->caches[0];
        else
            block_cache_take(&out->caches[i], arena, shape, dtype, rows, 0, true);
    }
    block_cache_take(&out->caches[last], arena, shape, dtype, rows, selected, true);
    out->normed = arena_take_matrix(arena, selected, shape->dim, dtype);
    out->mean = arena_take_matrix(arena, selected, 1, OP_F32);
    out->rstd = arena_take_matrix(arena, selected, 1, OP_F32);
    out->predictions = arena_take_matrix(arena, selected, encoder_dim, OP_F32);
    out->dx = arena_take_matrix(arena, rows, shape->dim, OP_F32);
    out->dselected = arena_take_matrix(arena, selected, shape->dim, OP_F32);
    out->dnormed = arena_take_matrix(arena, selected, shape->dim, dtype);
    out->dembedded = arena_take_matrix(arena, limits->context_rows, shape->dim, dtype);
}

/* The rows of block `i`. */
static struct block_rows rows_of(const struct predictor *predictor, const struct layout *layout,
                                 int i)
{
    struct block_rows rows = {.keys = &layout->predictor, .queries = &layout->predictor};
    if (i + 1 == predictor->depth) {
        rows.queries = &layout->predictions;
        rows.query_index_dev = layout->prediction_index_dev;
    }
    return rows;
}

static ls_status run_block(const struct layer_device *on, const struct predictor *predictor,
                           const struct predictor_memory *memory,
                           const struct block_scratch *scratch, const struct layout *layout, int i)
{
    const struct block_rows rows = rows_of(predictor, layout, i);
    float *y = i + 1 == predictor->depth ? memory->selected : memory->x[i + 1];
    return block_fwd(on, &predictor->shape, &predictor->blocks[i], &memory->caches[i], scratch,
                     &rows, y, memory->x[i]);
}

ls_status predictor_fwd(const struct layer_device *on, const struct predictor *predictor,
                        const struct predictor_memory *memory, const struct block_scratch *scratch,
                        struct op_matrix context, int mask_token, const struct layout *layout)
{
    ls_status st = LS_OK;
    const struct op_table *ops = on->ops;
    const int64_t dim = predictor->shape.dim;
    const int64_t selected_rows = layout->predictions.sequences.rows;
    const struct op_matrix embedded = layer_matrix(memory->embedded, context.rows, dim, OP_F32);
    const struct op_matrix x =
        layer_matrix(memory->x[0], layout->predictor.sequences.rows, dim, OP_F32);
    const struct op_matrix selected = layer_matrix(memory->selected, selected_rows, dim, OP_F32);
    const struct op_matrix normed = layer_matrix(memory->normed, selected_rows, dim, on->dtype);
    const struct op_matrix predictions =
        layer_matrix(memory->predictions, selected_rows, predictor->proj.w.rows, OP_F32);

    LS_TRY(layer_want(on, JEPA_COPY_WEIGHTS, predictor->blocks[0].norm1.offset));
    LS_TRY(ops->linear_fwd(on->device, embedded, context, predictor->embed.w,
                           predictor->embed.b_dev, false));
    LS_TRY(ops->gather_rows(on->device, x, embedded, layout->predictor_index_dev,
                            predictor->mask_tokens[mask_token].token_dev));
    for (int i = 0; i < predictor->depth; i++) {
        LS_TRY(layer_want(on, JEPA_COPY_WEIGHTS,
                          i + 1 < predictor->depth ? predictor->blocks[i + 1].norm1.offset
                                                   : predictor->norm.offset));
        LS_TRY(run_block(on, predictor, memory, scratch, layout, i));
    }
    LS_TRY(layer_want(on, JEPA_COPY_WEIGHTS, INT64_MAX));
    LS_TRY(ops->layernorm_fwd(on->device, normed, memory->mean, memory->rstd, selected,
                              predictor->norm.gain_dev, predictor->norm.bias_dev,
                              (float)predictor->shape.eps));
    LS_TRY(ops->linear_fwd(on->device, predictions, normed, predictor->proj.w,
                           predictor->proj.b_dev, false));
done:
    return st;
}

static ls_status blocks_bwd(const struct layer_device *on, const struct predictor *predictor,
                            const struct predictor_memory *memory,
                            const struct block_scratch *scratch, const struct layout *layout,
                            struct layer_report *report)
{
    ls_status st = LS_OK;
    const int last = predictor->depth - 1;
    for (int i = last; i >= 0; i--) {
        const struct block_rows rows = rows_of(predictor, layout, i);
        /* The shared cache is still what the last of these blocks left. */
        if (i + 1 < memory->checkpointed)
            LS_TRY(run_block(on, predictor, memory, scratch, layout, i));
        LS_TRY(block_bwd(on, &predictor->shape, &predictor->blocks[i], &memory->caches[i], scratch,
                         &rows, memory->dx, i == last ? memory->dselected : memory->dx,
                         memory->x[i], report));
    }
done:
    return st;
}

ls_status predictor_bwd(const struct layer_device *on, const struct predictor *predictor,
                        const struct predictor_memory *memory, const struct block_scratch *scratch,
                        struct op_matrix dcontext, struct op_matrix dpredictions,
                        struct op_matrix context, int mask_token, const struct layout *layout,
                        struct layer_report *report)
{
    ls_status st = LS_OK;
    const struct op_table *ops = on->ops;
    const struct layer_norm *norm = &predictor->norm;
    const int64_t dim = predictor->shape.dim;
    const int64_t rows = dpredictions.rows;
    const struct op_matrix normed = layer_matrix(memory->normed, rows, dim, on->dtype);
    const struct op_matrix dnormed = layer_matrix(memory->dnormed, rows, dim, on->dtype);
    const struct op_matrix selected = layer_matrix(memory->selected, rows, dim, OP_F32);
    const struct op_matrix dselected = layer_matrix(memory->dselected, rows, dim, OP_F32);
    const struct op_matrix dx =
        layer_matrix(memory->dx, layout->predictor.sequences.rows, dim, OP_F32);
    const struct op_matrix dembedded =
        layer_matrix(memory->dembedded, context.rows, dim, on->dtype);

    LS_TRY(layer_linear_bwd_weight(on, &predictor->proj, dpredictions, normed));
    LS_TRY(layer_gradient_final(report, predictor->proj.offset));
    LS_TRY(ops->linear_bwd_data(on->device, dnormed, dpredictions, predictor->proj.w, false));
    LS_TRY(ops->layernorm_bwd(on->device, dselected, norm->dgain_dev, norm->dbias_dev, dnormed,
                              selected, memory->mean, memory->rstd, norm->gain_dev, false));
    LS_TRY(layer_gradient_final(report, norm->offset));
    LS_TRY(blocks_bwd(on, predictor, memory, scratch, layout, report));

    LS_TRY(ops->scatter_rows(on->device, dembedded, predictor->mask_tokens[mask_token].dtoken_dev,
                             dx, layout->predictor_index_dev, false));
    LS_TRY(layer_linear_bwd_weight(on, &predictor->embed, dembedded, context));
    LS_TRY(layer_gradient_final(report, predictor->embed.offset));
    LS_TRY(ops->linear_bwd_data(on->device, dcontext, dembedded, predictor->embed.w, false));
done:
    return st;
}
