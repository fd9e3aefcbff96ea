/* Offsets are multiples of 256 bytes, so that every matrix starts where vector loads and tensor
 * cores like it. */
#include "model/arena.h"

enum { ALIGNMENT = 256 };

size_t arena_element_bytes(enum op_dtype dtype)
{
    return dtype == OP_F32 ? sizeof(float) : sizeof(uint16_t);
}

size_t arena_padded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void *arena_take(struct arena *arena, size_t bytes)
{
    const size_t offset = arena->used;
    arena->used += arena_padded(bytes);
    if (arena->used > arena->peak)
        arena->peak = arena->used;
    return arena->base_dev == NULL ? NULL : arena->base_dev + offset;
}

void *arena_take_matrix(struct arena *arena, int64_t rows, int64_t columns, enum op_dtype dtype)
{
    return arena_take(arena, (size_t)rows * (size_t)columns * arena_element_bytes(dtype));
}

void arena_rewind(struct arena *arena, size_t mark)
{
    arena->used = mark;
}
