/* The vision transformer, as the context encoder (forward and backward on the context tokens) and
 * as the target encoder (forward on all tokens, its last block and norm on predicted ones). */
#ifndef LOCKSTEP_MODEL_ENCODER_H
#define LOCKSTEP_MODEL_ENCODER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "model/arena.h"
#include "model/block.h"
#include "model/layer.h"
#include "model/layout.h"

struct encoder {
    struct layer_linear patch_embed;
    struct block *blocks; /* [depth], owned */
    int depth;
    struct layer_norm norm;
    struct block_shape shape;
    int64_t end; /* of its parameters in the flat space */
};

/* Memory of the target pass.  `raw` (after the final norm) and `goal` (layer-normed without gain)
 * have the rows of the target queries and are read after the pass. */
struct encoder_target_memory {
    void *patches;
    float *x, *selected;
    float *raw, *goal;
    struct block_cache cache, last_cache;
    struct block_scratch scratch;
};

/* Memory of the context pass, from forward to backward. */
struct encoder_context_memory {
    void *patches;
    float **x;                  /* [depth + 1] float32, owned array of arena pointers */
    struct block_cache *caches; /* [depth], owned */
    int checkpointed;           /* first blocks: these share a cache */
    void *normed;               /* the encoder's output, in the dtype of products */
    float *mean, *rstd;
};

/* Set the mean and deviation of pixels that encoders expect.  Local. */
void encoder_normalisation(struct op_clips *clips);

/* Bind to the encoder's part of a flat space.  Local.  Errors: LS_NOMEM. */
ls_status encoder_open(struct encoder *out, const struct layer_space *space,
                       const struct block_shape *shape) LS_MUST_CHECK;
void encoder_close(struct encoder *encoder);

/* Take memory; `limits` are complete.  raw and goal are taken apart from the memory that is free
 * once the pass is done (which the caller rewinds).  encoder_context_take fills arrays that
 * encoder_context_memory_open has allocated.  Local. */
void encoder_target_outputs_take(struct encoder_target_memory *out, struct arena *arena,
                                 const struct encoder *encoder, const struct layout_limits *limits);
void encoder_target_take(struct encoder_target_memory *out, struct arena *arena,
                         const struct encoder *encoder, enum op_dtype dtype,
                         const struct layout_limits *limits);
ls_status encoder_context_memory_open(struct encoder_context_memory *out, int depth,
                                      int checkpointed) LS_MUST_CHECK;
void encoder_context_memory_close(struct encoder_context_memory *memory);
void encoder_context_take(struct encoder_context_memory *out, struct arena *arena,
                          const struct encoder *encoder, enum op_dtype dtype,
                          const struct layout_limits *limits);

/* raw and goal of the target queries.  Local; queued. */
ls_status encoder_target_fwd(const struct layer_device *on, const struct encoder *encoder,
                             const struct encoder_target_memory *memory, struct op_clips clips,
                             const struct layout *layout, bool whole) LS_MUST_CHECK;

/* memory->normed [context rows, dim].  Local; queued. */
ls_status encoder_context_fwd(const struct layer_device *on, const struct encoder *encoder,
                              const struct encoder_context_memory *memory,
                              const struct block_scratch *scratch, struct op_clips clips,
                              const struct layout *layout) LS_MUST_CHECK;

/* From dnormed (dtype of products) to the encoder's gradients, which it adds to and reports.  `dx`
 * [context rows, dim] float32 is working memory.  Local; queued. */
ls_status encoder_context_bwd(const struct layer_device *on, const struct encoder *encoder,
                              const struct encoder_context_memory *memory,
                              const struct block_scratch *scratch, float *dx, void *dnormed,
                              const struct layout *layout,
                              struct layer_report *report) LS_MUST_CHECK;

#endif
