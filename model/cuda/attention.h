/* The two ways attention runs: plain (attention.cu) and fused (fused_attention.cu).  Included by
 * .cu files only. */
#ifndef LOCKSTEP_MODEL_CUDA_ATTENTION_H
#define LOCKSTEP_MODEL_CUDA_ATTENTION_H

#include "model/cuda/internal.h"

struct attention_args { /* those of attention_fwd and attention_bwd in model/ops.h */
    struct op_matrix o;
    float *lse_dev;
    const void *q_dev, *k_dev, *v_dev;
    int heads, head_width;
    const struct op_sequences *queries, *keys;
    struct op_matrix d_o; /* backward */
    void *dq_dev, *dk_dev, *dv_dev;
};

/* cuBLAS products and a softmax kernel by row blocks, in any dtype. */
ls_status attention_plain_fwd(struct op_device *device,
                              const struct attention_args *args) LS_MUST_CHECK;
ls_status attention_plain_bwd(struct op_device *device,
                              const struct attention_args *args) LS_MUST_CHECK;
size_t attention_plain_bytes(const struct op_limits *limits);

/* cuDNN in bf16.  *done says whether it ran: there may be no plan for the shape.  A plan is made,
 * and compared with the plain attention, when its shape comes for the first time. */
ls_status attention_fused_fwd(struct op_device *device, const struct attention_args *args,
                              bool *done) LS_MUST_CHECK;
ls_status attention_fused_bwd(struct op_device *device, const struct attention_args *args,
                              bool *done) LS_MUST_CHECK;
/* Scratch that the plans may use. */
size_t attention_fused_bytes(const struct op_device *device, const struct op_limits *limits);

/* What a comparison of a plan with the plain attention needs from attention_fused_*: run `plan` for
 * `args` alone. */
struct fused_plan;
struct attention_shape;
ls_status attention_fused_run(struct op_device *device, const struct attention_args *args,
                              const struct fused_plan *plan,
                              const struct attention_shape *shape) LS_MUST_CHECK;

/* Hold a new plan against the plain attention on random data: the shape of the call where the card
 * has the memory for it, else three short sequences.  Refuses the plan on a mismatch and clears
 * *plan. */
ls_status attention_fused_check(struct op_device *device, const struct attention_args *args,
                                struct fused_plan **plan,
                                const struct attention_shape *shape) LS_MUST_CHECK;

#endif
