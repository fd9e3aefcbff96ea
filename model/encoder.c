/* Both passes walk the same blocks.  The target pass keeps nothing, so its residual stream is
 * updated in place; the context pass keeps the input of every block, and of checkpointed ones
 * nothing else: these share one cache, and backward fills it again. */
#include "model/encoder.h"

#include <stdio.h>
#include <stdlib.h>

/* Of the pixels of the clips that the public encoder was normalised with (ImageNet). */
static const float pixel_mean[3] = {0.485F, 0.456F, 0.406F};
static const float pixel_std[3] = {0.229F, 0.224F, 0.225F};

void encoder_normalisation(struct op_clips *clips)
{
    for (int c = 0; c < 3; c++) {
        clips->mean[c] = pixel_mean[c];
        clips->inverse_std[c] = 1.0F / pixel_std[c];
    }
}

ls_status encoder_open(struct encoder *out, const struct layer_space *space,
                       const struct block_shape *shape)
{
    ls_status st = LS_OK;
    char name[80];
    const int depth = space->parameters->shape.depth;
    *out = (struct encoder){.depth = depth, .shape = *shape};
    out->blocks = calloc((size_t)depth, sizeof *out->blocks);
    if (out->blocks == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for %d blocks", depth);
        goto done;
    }
    LS_TRY(layer_linear_bind(&out->patch_embed, space, "encoder.patch_embed.proj"));
    for (int i = 0; i < depth; i++) {
        (void)snprintf(name, sizeof name, "encoder.blocks.%d", i);
        LS_TRY(block_bind(&out->blocks[i], space, name));
    }
    LS_TRY(layer_norm_bind(&out->norm, space, "encoder.norm"));
    out->end = space->parameters->encoder_count;
done:
    if (st != LS_OK)
        encoder_close(out);
    return st;
}

void encoder_close(struct encoder *encoder)
{
    free(encoder->blocks);
    encoder->blocks = NULL;
}

void encoder_target_outputs_take(struct encoder_target_memory *out, struct arena *arena,
                                 const struct encoder *encoder, const struct layout_limits *limits)
{
    out->raw = arena_take_matrix(arena, limits->query_rows, encoder->shape.dim, OP_F32);
    out->goal = arena_take_matrix(arena, limits->query_rows, encoder->shape.dim, OP_F32);
}

void encoder_target_take(struct encoder_target_memory *out, struct arena *arena,
                         const struct encoder *encoder, enum op_dtype dtype,
                         const struct layout_limits *limits)
{
    const int64_t dim = encoder->shape.dim;
    const int64_t rows = limits->target_rows;
    const int64_t queries = limits->query_rows;
    out->x = arena_take_matrix(arena, rows, dim, OP_F32);
    out->selected = arena_take_matrix(arena, queries, dim, OP_F32);

    /* The patches are read before the first block writes anything, and the last block starts when
     * the others are done: three layouts of the same memory. */
    const size_t patches = arena->used;
    out->patches = arena_take_matrix(arena, rows, encoder->patch_embed.w.columns, dtype);
    arena_rewind(arena, patches);
    /* Queries are padded clip by clip, tokens are not: there may be more rows of them. */
    block_scratch_take(&out->scratch, arena, &encoder->shape, dtype,
                       rows > queries ? rows : queries, false);
    const size_t cache = arena->used;
    block_cache_take(&out->cache, arena, &encoder->shape, dtype, rows, 0, false);
    arena_rewind(arena, cache);
    block_cache_take(&out->last_cache, arena, &encoder->shape, dtype, rows, queries, false);
}

ls_status encoder_context_memory_open(struct encoder_context_memory *out, int depth,
                                      int checkpointed)
{
    *out = (struct encoder_context_memory){.checkpointed = checkpointed};
    out->x = calloc((size_t)depth + 1, sizeof(float *));
    out->caches = calloc((size_t)depth, sizeof *out->caches);
    if (out->x == NULL || out->caches == NULL) {
        encoder_context_memory_close(out);
        return LS_FAIL(LS_NOMEM, "out of memory for the caches of %d blocks", depth);
    }
    return LS_OK;
}

void encoder_context_memory_close(struct encoder_context_memory *memory)
{
    free(memory->x);
    free(memory->caches);
    memory->x = NULL;
    memory->caches = NULL;
}

void encoder_context_take(struct encoder_context_memory *out, struct arena *arena,
                          const struct encoder *encoder, enum op_dtype dtype,
                          const struct layout_limits *limits)
{
    const int64_t dim = encoder->shape.dim;
    const int64_t rows = limits->context_rows;
    out->patches = arena_take_matrix(arena, rows, encoder->patch_embed.w.columns, dtype);
    for (int i = 0; i <= encoder->depth; i++)
        out->x[i] = arena_take_matrix(arena, rows, dim, OP_F32);
    for (int i = 0; i < encoder->depth; i++) {
        if (i > 0 && i < out->checkpointed)
            out->caches[i] = out->caches[0];
        else
            block_cache_take(&out->caches[i], arena, &encoder->shape, dtype, rows, 0, true);
    }
    out->normed = arena_take_matrix(arena, rows, dim, dtype);
    out->mean = arena_take_matrix(arena, rows, 1, OP_F32);
    out->rstd = arena_take_matrix(arena, rows, 1, OP_F32);
}

static ls_status embed_fwd(const struct layer_device *on, const struct encoder *encoder,
                           void *patches_dev, float *x, struct op_clips clips,
                           const int32_t *index_dev, int64_t rows)
{
    ls_status st = LS_OK;
    const struct layer_linear *embed = &encoder->patch_embed;
    const struct op_matrix patches = layer_matrix(patches_dev, rows, embed->w.columns, on->dtype);
    const struct op_matrix out = layer_matrix(x, rows, encoder->shape.dim, OP_F32);
    LS_TRY(on->ops->patchify(on->device, patches, clips, index_dev));
    LS_TRY(on->ops->linear_fwd(on->device, out, patches, embed->w, embed->b_dev, false));
done:
    return st;
}

ls_status encoder_target_fwd(const struct layer_device *on, const struct encoder *encoder,
                             const struct encoder_target_memory *memory, struct op_clips clips,
                             const struct layout *layout, bool whole)
{
    ls_status st = LS_OK;
    const float eps = (float)encoder->shape.eps;
    const float goal_eps = 1e-5F; /* F.layer_norm's default, which the public loss uses */
    const int64_t dim = encoder->shape.dim;
    const int64_t query_rows = layout->queries.sequences.rows;
    const struct block_rows all = {.keys = &layout->target, .queries = &layout->target};
    const struct block_rows some = {.keys = &layout->target,
                                    .queries = &layout->queries,
                                    .query_index_dev = layout->query_index_dev};
    const struct block *last = &encoder->blocks[encoder->depth - 1];

    LS_TRY(layer_want(on, JEPA_COPY_EMA, encoder->blocks[0].norm1.offset));
    LS_TRY(embed_fwd(on, encoder, memory->patches, memory->x, clips, layout->target_patches_dev,
                     layout->target.sequences.rows));
    for (int i = 0; i + 1 < encoder->depth; i++) {
        LS_TRY(layer_want(on, JEPA_COPY_EMA, encoder->blocks[i + 1].norm1.offset));
        LS_TRY(block_fwd(on, &encoder->shape, &encoder->blocks[i], &memory->cache, &memory->scratch,
                         &all, memory->x, memory->x));
    }
    LS_TRY(layer_want(on, JEPA_COPY_EMA, INT64_MAX));
    LS_TRY(block_fwd(on, &encoder->shape, last, whole ? &memory->cache : &memory->last_cache,
                     &memory->scratch, whole ? &all : &some, whole ? memory->x : memory->selected,
                     memory->x));

    const struct op_matrix out =
        layer_matrix(whole ? memory->x : memory->selected, query_rows, dim, OP_F32);
    const struct op_matrix raw = layer_matrix(memory->raw, query_rows, dim, OP_F32);
    const struct op_matrix goal = layer_matrix(memory->goal, query_rows, dim, OP_F32);
    LS_TRY(on->ops->layernorm_fwd(on->device, raw, NULL, NULL, out, encoder->norm.gain_dev,
                                  encoder->norm.bias_dev, eps));
    LS_TRY(on->ops->layernorm_fwd(on->device, goal, NULL, NULL, raw, NULL, NULL, goal_eps));
done:
    return st;
}

ls_status encoder_context_fwd(const struct layer_device *on, const struct encoder *encoder,
                              const struct encoder_context_memory *memory,
                              const struct block_scratch *scratch, struct op_clips clips,
                              const struct layout *layout)
{
    ls_status st = LS_OK;
    const int64_t rows = layout->context.sequences.rows;
    const int64_t dim = encoder->shape.dim;
    const struct block_rows all = {.keys = &layout->context, .queries = &layout->context};
    LS_TRY(layer_want(on, JEPA_COPY_WEIGHTS, encoder->blocks[0].norm1.offset));
    LS_TRY(embed_fwd(on, encoder, memory->patches, memory->x[0], clips, layout->context_patches_dev,
                     rows));
    for (int i = 0; i < encoder->depth; i++) {
        LS_TRY(layer_want(on, JEPA_COPY_WEIGHTS,
                          i + 1 < encoder->depth ? encoder->blocks[i + 1].norm1.offset
                                                 : encoder->end));
        LS_TRY(block_fwd(on, &encoder->shape, &encoder->blocks[i], &memory->caches[i], scratch,
                         &all, memory->x[i + 1], memory->x[i]));
    }
    LS_TRY(on->ops->layernorm_fwd(
        on->device, layer_matrix(memory->normed, rows, dim, on->dtype), memory->mean, memory->rstd,
        layer_matrix(memory->x[encoder->depth], rows, dim, OP_F32), encoder->norm.gain_dev,
        encoder->norm.bias_dev, (float)encoder->shape.eps));
done:
    return st;
}

/* Gradient of the patch embedding; its input needs none. */
static ls_status embed_bwd(const struct layer_device *on, const struct encoder *encoder,
                           const struct encoder_context_memory *memory,
                           const struct block_scratch *scratch, struct op_matrix dx,
                           struct layer_report *report)
{
    ls_status st = LS_OK;
    const struct layer_linear *embed = &encoder->patch_embed;
    struct op_matrix d = dx;
    if (on->dtype != OP_F32) {
        d = layer_matrix(scratch->dy, dx.rows, dx.columns, on->dtype);
        LS_TRY(on->ops->cast(on->device, d, dx));
    }
    LS_TRY(layer_linear_bwd_weight(
        on, embed, d, layer_matrix(memory->patches, dx.rows, embed->w.columns, on->dtype)));
    LS_TRY(layer_gradient_final(report, embed->offset));
done:
    return st;
}

ls_status encoder_context_bwd(const struct layer_device *on, const struct encoder *encoder,
                              const struct encoder_context_memory *memory,
                              const struct block_scratch *scratch, float *dx, void *dnormed,
                              const struct layout *layout, struct layer_report *report)
{
    ls_status st = LS_OK;
    const int64_t rows = layout->context.sequences.rows;
    const int64_t dim = encoder->shape.dim;
    const struct layer_norm *norm = &encoder->norm;
    const struct block_rows all = {.keys = &layout->context, .queries = &layout->context};
    const struct op_matrix d = layer_matrix(dx, rows, dim, OP_F32);
    LS_TRY(on->ops->layernorm_bwd(on->device, d, norm->dgain_dev, norm->dbias_dev,
                                  layer_matrix(dnormed, rows, dim, on->dtype),
                                  layer_matrix(memory->x[encoder->depth], rows, dim, OP_F32),
                                  memory->mean, memory->rstd, norm->gain_dev, false));
    LS_TRY(layer_gradient_final(report, norm->offset));
    for (int i = encoder->depth - 1; i >= 0; i--) {
        /* The shared cache is still what the last of these blocks left. */
        if (i + 1 < memory->checkpointed)
            LS_TRY(block_fwd(on, &encoder->shape, &encoder->blocks[i], &memory->caches[i], scratch,
                             &all, memory->x[i + 1], memory->x[i]));
        LS_TRY(block_bwd(on, &encoder->shape, &encoder->blocks[i], &memory->caches[i], scratch,
                         &all, dx, dx, memory->x[i], report));
    }
    LS_TRY(embed_bwd(on, encoder, memory, scratch, d, report));
done:
    return st;
}
