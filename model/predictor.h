/* The predictor: context features and mask tokens in, features of the predicted tokens out.  Its
 * last block is asked for the predicted rows only. */
#ifndef LOCKSTEP_MODEL_PREDICTOR_H
#define LOCKSTEP_MODEL_PREDICTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "model/arena.h"
#include "model/block.h"
#include "model/layer.h"
#include "model/layout.h"

struct predictor_mask_token {
    const float *token_dev;
    float *dtoken_dev;
};

struct predictor {
    struct layer_linear embed, proj;
    struct predictor_mask_token *mask_tokens; /* owned */
    struct block *blocks;                     /* [depth], owned */
    int depth;
    struct layer_norm norm;
    struct block_shape shape;
};

/* Memory from forward to backward. */
struct predictor_memory {
    float *embedded;            /* [context rows, dim] */
    float **x;                  /* [depth] inputs of the blocks, owned array of arena pointers */
    float *selected;            /* [prediction rows, dim] output of the last block */
    struct block_cache *caches; /* [depth], owned */
    int checkpointed;           /* first blocks: these share a cache */
    void *normed;               /* [prediction rows, dim] in the dtype of products */
    float *mean, *rstd;
    float *predictions; /* [prediction rows, encoder dim] */
    /* Gradients of the residual stream by predictor rows and by prediction rows, and of `embedded`
     * in the dtype of products; for backward. */
    float *dx, *dselected;
    void *dnormed, *dembedded;
};

ls_status predictor_open(struct predictor *out, const struct layer_space *space,
                         const struct block_shape *shape) LS_MUST_CHECK;
void predictor_close(struct predictor *predictor);

ls_status predictor_memory_open(struct predictor_memory *out, int depth,
                                int checkpointed) LS_MUST_CHECK;
void predictor_memory_close(struct predictor_memory *memory);
void predictor_take(struct predictor_memory *out, struct arena *arena,
                    const struct predictor *predictor, int64_t encoder_dim, enum op_dtype dtype,
                    const struct layout_limits *limits);

/* memory->predictions from the context features [context rows, encoder dim].  Local; queued. */
ls_status predictor_fwd(const struct layer_device *on, const struct predictor *predictor,
                        const struct predictor_memory *memory, const struct block_scratch *scratch,
                        struct op_matrix context, int mask_token,
                        const struct layout *layout) LS_MUST_CHECK;

/* From dpredictions (dtype of products) to dcontext (same), overwritten; adds to the predictor's
 * gradients and reports them.  Local; queued. */
ls_status predictor_bwd(const struct layer_device *on, const struct predictor *predictor,
                        const struct predictor_memory *memory, const struct block_scratch *scratch,
                        struct op_matrix dcontext, struct op_matrix dpredictions,
                        struct op_matrix context, int mask_token, const struct layout *layout,
                        struct layer_report *report) LS_MUST_CHECK;

#endif
