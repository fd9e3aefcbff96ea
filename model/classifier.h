/* The attentive classifier of the frozen evaluation, forward and backward: `depth` - 1 blocks over
 * a video's tokens, then one learnt query t that attends to them, then a linear map:
 *
 *     x = blocks(features);   m = t + attention(q(t), kv(norm1(x)));   y = m + mlp(norm2(m))
 *     logits = linear(y)
 *
 * without positions and without an output projection of the query's attention.  Layer norms have
 * eps 1e-5.  Source: V-JEPA 2 public code, src/models/attentive_pooler.py; golden/probe.h5. */
#ifndef LOCKSTEP_MODEL_CLASSIFIER_H
#define LOCKSTEP_MODEL_CLASSIFIER_H

#include <stdint.h>

#include "core/status.h"
#include "model/arena.h"
#include "model/block.h"
#include "model/layer.h"
#include "model/layout.h"

struct classifier {
    struct block *blocks; /* [block_count], owned */
    int block_count;
    struct block_shape shape;
    struct layer_norm norm1;
    struct layer_linear q, kv;
    struct block second; /* norm2, fc1 and fc2 of the query's block; the rest is not bound */
    struct layer_linear linear;
    const float *query_dev;
    float *dquery_dev;
};

/* Which rows a call works on: a sequence of tokens for each video, and one query row for each. */
struct classifier_rows {
    struct layout_rows tokens, queries;
    const int32_t *fill_dev; /* [query rows] -1, and -2 where there is no video */
    const int32_t *own_dev;  /* [query rows] the row itself, and -2 where there is no video */
};

/* Memory from forward to backward. */
struct classifier_memory {
    float **x;                  /* [block_count + 1]: x[0] is the features, owned array */
    struct block_cache *caches; /* [block_count], owned */
    struct block_cache cross;   /* mid, mean2 ... of the query's rows; k and v of the tokens' */
    struct block_scratch scratch;
    void *query;   /* [query rows, dim] the learnt query, dtype of products */
    void *pooled;  /* [query rows, dim] y in the dtype of products */
    float *out;    /* [query rows, dim] y, and its gradient */
    float *dx;     /* [token rows, dim] */
    float *logits; /* [query rows, classes] */
    float *dlogits;
    void *narrow_dlogits; /* dtype of products */
};

/* Bind to a classifier's flat space.  Local.  Errors: LS_NOMEM, LS_FAILED (our bug). */
ls_status classifier_open(struct classifier *out, const struct layer_space *space,
                          const struct classifier_shape *shape) LS_MUST_CHECK;
void classifier_close(struct classifier *classifier);

/* Arrays of the memory, then its place in an arena.  Local.  Errors: LS_NOMEM. */
ls_status classifier_memory_open(struct classifier_memory *out, int block_count) LS_MUST_CHECK;
void classifier_memory_close(struct classifier_memory *memory);
void classifier_take(struct classifier_memory *out, struct arena *arena,
                     const struct classifier *classifier, enum op_dtype dtype, int64_t token_rows,
                     int64_t query_rows);

/* memory->logits from memory->x[0].  Local; queued. */
ls_status classifier_fwd(const struct layer_device *on, const struct classifier *classifier,
                         const struct classifier_memory *memory,
                         const struct classifier_rows *rows) LS_MUST_CHECK;

/* Adds the gradients of all parameters, from memory->dlogits, which is zero in rows without a
 * video. After classifier_fwd of the same rows.  Local; queued. */
ls_status classifier_bwd(const struct layer_device *on, const struct classifier *classifier,
                         const struct classifier_memory *memory,
                         const struct classifier_rows *rows) LS_MUST_CHECK;

#endif
