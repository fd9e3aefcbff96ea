/* A bump allocator over one piece of device memory.
 *
 * A layout function takes what it needs in order.  It is run twice: without memory, to learn the
 * size, and with it, to learn the addresses.  What is not needed at the same time shares memory by
 * going back to a mark. */
#ifndef LOCKSTEP_MODEL_ARENA_H
#define LOCKSTEP_MODEL_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "model/ops.h"

struct arena {
    unsigned char *base_dev; /* NULL while sizes are being learnt */
    size_t used, peak;       /* bytes */
};

/* Bytes of an element.  Local. */
size_t arena_element_bytes(enum op_dtype dtype);

/* `bytes` up to where the next array starts.  Local. */
size_t arena_padded(size_t bytes);

/* Room for `bytes`, aligned to 256 bytes; NULL while sizes are being learnt.  Local, cannot fail:
 * the second run takes what the first one took. */
void *arena_take(struct arena *arena, size_t bytes);

/* Room for rows * columns elements of a dtype.  Local. */
void *arena_take_matrix(struct arena *arena, int64_t rows, int64_t columns, enum op_dtype dtype);

/* Give back everything taken since `mark`, an earlier value of `used`.  Local. */
void arena_rewind(struct arena *arena, size_t mark);

#endif
