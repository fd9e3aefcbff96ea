/* What lies where in the activation arena.
 *
 * A micro-batch is two phases.  The target pass leaves nothing but the goals, so its memory and
 * that of the context pass, the predictor and backward are the same bytes. */
#include "model/jepa_parts.h"

void jepa_arena_lay_out(struct jepa *jepa)
{
    struct arena *arena = &jepa->arena;
    const struct layout_limits *limits = &jepa->limits;
    const enum op_dtype dtype = jepa->on.dtype;
    const int64_t dim = jepa->context.shape.dim;
    arena->used = 0;

    jepa->goals = arena_take_matrix(arena, limits->prediction_rows, dim, OP_F32);
    if (limits->whole_target) /* jepa_output reads them later */
        encoder_target_outputs_take(&jepa->target_memory, arena, &jepa->target, limits);

    const size_t phase = arena->used;
    if (!limits->whole_target)
        encoder_target_outputs_take(&jepa->target_memory, arena, &jepa->target, limits);
    encoder_target_take(&jepa->target_memory, arena, &jepa->target, dtype, limits);

    arena_rewind(arena, phase);
    encoder_context_take(&jepa->context_memory, arena, &jepa->context, dtype, limits);
    predictor_take(&jepa->predictor_memory, arena, &jepa->predictor, dim, dtype, limits);
    jepa->dpredictions = arena_take_matrix(arena, limits->prediction_rows, dim, dtype);
    jepa->dcontext = arena_take_matrix(arena, limits->context_rows, dim, dtype);
    jepa->dx = arena_take_matrix(arena, limits->context_rows, dim, OP_F32);
    const size_t scratch = arena->used;
    block_scratch_take(&jepa->encoder_scratch, arena, &jepa->context.shape, dtype,
                       limits->context_rows, true);
    arena_rewind(arena, scratch);
    block_scratch_take(&jepa->predictor_scratch, arena, &jepa->predictor.shape, dtype,
                       limits->predictor_rows, true);
}
