/* One pre-norm transformer block, forward and backward, on ragged sequences:
 *
 *     m = x + proj(attention(qkv(norm1(x))));   y = m + fc2(gelu(fc1(norm2(m))))
 *
 * The residual stream (x, m, y) is float32, whatever the dtype of products.  A block can be asked
 * for some rows only (`query_index_dev`): then keys and values are made for all rows, queries and
 * everything after attention for the listed ones. */
#ifndef LOCKSTEP_MODEL_BLOCK_H
#define LOCKSTEP_MODEL_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "model/arena.h"
#include "model/layer.h"
#include "model/layout.h"

struct block_shape {
    int64_t dim, hidden;
    int heads, head_width;
    double eps;
    struct op_rotary rotary; /* axis_width 0: nothing is turned, and positions are not read */
};

struct block {
    struct layer_norm norm1, norm2;
    struct layer_linear qkv, proj, fc1, fc2;
};

/* Which rows a block works on. */
struct block_rows {
    const struct layout_rows *keys;    /* all rows of x */
    const struct layout_rows *queries; /* rows of y */
    const int32_t *query_index_dev;    /* rows of x that y is asked for; NULL: all of them */
};

/* What forward leaves for backward.  Without backward, several of these share memory, and those
 * that only backward reads are NULL. */
struct block_cache {
    void *normed1, *query_normed, *q, *k, *v, *attended, *normed2, *pre, *activated; /* dtype */
    float *mid; /* m; NULL without backward and without selection: y's memory serves */
    float *mean1, *rstd1, *mean2, *rstd2, *lse;
};

/* Memory that holds nothing between two operators of a block; shared by all blocks. */
struct block_scratch {
    void *wide;   /* rows x max(3 dim, hidden) */
    void *narrow; /* rows x dim */
    void *dy;     /* rows x dim: a gradient of the residual stream in the dtype of products */
    void *dq, *dk, *dv;
};

/* Bind the block whose parameters start with "PREFIX.".  Local.  Errors: LS_FAILED (our bug). */
ls_status block_bind(struct block *out, const struct layer_space *space,
                     const char *prefix) LS_MUST_CHECK;

/* Take memory for a cache: `rows` of keys, `query_rows` of queries (0: all rows).  Local. */
void block_cache_take(struct block_cache *out, struct arena *arena, const struct block_shape *shape,
                      enum op_dtype dtype, int64_t rows, int64_t query_rows, bool backward);

/* Take scratch for blocks of up to `rows` rows; `backward` adds what only backward needs.  Local.
 */
void block_scratch_take(struct block_scratch *out, struct arena *arena,
                        const struct block_shape *shape, enum op_dtype dtype, int64_t rows,
                        bool backward);

/* y [query rows, dim] from x [key rows, dim], both float32.  Where nothing is kept for backward and
 * all rows are asked for, y may be x.  Local; queued. */
ls_status block_fwd(const struct layer_device *on, const struct block_shape *shape,
                    const struct block *block, const struct block_cache *cache,
                    const struct block_scratch *scratch, const struct block_rows *rows, float *y,
                    const float *x) LS_MUST_CHECK;

/* dx [key rows, dim] from dy [query rows, dim], both float32; adds to the gradients of the block's
 * parameters and reports them from the last to the first.  dx is dy where all rows were asked for;
 * else they differ.  dy is overwritten.  Local; queued. */
ls_status block_bwd(const struct layer_device *on, const struct block_shape *shape,
                    const struct block *block, const struct block_cache *cache,
                    const struct block_scratch *scratch, const struct block_rows *rows, float *dx,
                    float *dy, const float *x, struct layer_report *report) LS_MUST_CHECK;

/* The second half alone: y = m + fc2(gelu(fc1(norm2(m)))) and its backward, in which dy becomes the
 * gradient by m (cache->mid holds m).  Both [rows, dim] float32.  Local; queued. */
ls_status block_mlp_fwd(const struct layer_device *on, const struct block_shape *shape,
                        const struct block *block, const struct block_cache *cache, int64_t rows,
                        float *y, const float *m) LS_MUST_CHECK;
ls_status block_mlp_bwd(const struct layer_device *on, const struct block_shape *shape,
                        const struct block *block, const struct block_cache *cache,
                        const struct block_scratch *scratch, int64_t rows, float *dy,
                        struct layer_report *report) LS_MUST_CHECK;

#endif
