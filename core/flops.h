/* Model FLOPs by counting, from true token counts. */
#ifndef LOCKSTEP_CORE_FLOPS_H
#define LOCKSTEP_CORE_FLOPS_H

#include <stdint.h>

#include "core/config.h"
#include "core/parameters.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a micro-batch asks for, in true tokens: no padding. */
struct flops_work {
    int clips, tokens, groups; /* tokens of a clip */
    int context_count[CONFIG_MASK_GROUPS_MAX];
    int predicted_count[CONFIG_MASK_GROUPS_MAX];
    int64_t target_queries; /* tokens that any group predicts, each counted once, over all clips */
};

/* Model FLOPs of one micro-batch, forward and backward: products and attention, two per
 * multiply-add.  Target encoder: forward only, its last block's queries, projection and MLP at
 * predicted tokens only.  Context encoder and predictor: backward counts twice forward, save for
 * the patch embedding, whose input needs no gradient (once); the predictor's last block like the
 * target's.  Padding and recomputation (activation checkpointing) do not count.  `*backward`, where
 * not NULL, gets the part of it that is backward's.  Local. */
double flops_micro_batch(double *backward, const struct model_shape *shape,
                         const struct flops_work *work);

#ifdef __cplusplus
}
#endif
#endif
