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

/* cuDNN in bf16.  *done says whether it ran: there may be no plan for the shape.  A plan that was
 * not prepared is made, and compared with the plain attention, when its shape comes first. */
ls_status attention_fused_fwd(struct op_device *device, const struct attention_args *args,
                              bool *done) LS_MUST_CHECK;
ls_status attention_fused_bwd(struct op_device *device, const struct attention_args *args,
                              bool *done) LS_MUST_CHECK;
/* See that the plan of a call with such sequences is there and was compared; their starts and
 * lengths are not looked at. */
ls_status attention_fused_prepare(struct op_device *device, const struct attention_args *args,
                                  bool backward) LS_MUST_CHECK;
/* The same where attention may not be fused: then there is nothing to make. */
ls_status attention_prepare(struct op_device *device, const struct attention_args *args,
                            bool backward) LS_MUST_CHECK;
/* Scratch that the plans may use. */
size_t attention_fused_bytes(const struct op_device *device, const struct op_limits *limits);

/* What a comparison of a plan with the plain attention needs from attention_fused_*: run `plan` for
 * `args` alone. */
struct fused_plan;
struct attention_shape;
ls_status attention_fused_run(struct op_device *device, const struct attention_args *args,
                              const struct fused_plan *plan,
                              const struct attention_shape *shape) LS_MUST_CHECK;

/* Sequences that fit a plan, made up for a comparison; lists_dev is NULL where the card has no
 * memory for them. */
struct attention_sample {
    struct op_sequences queries, keys;
    int32_t *lists, *lists_dev;
};
ls_status attention_sample_open(struct attention_sample *out, struct op_device *device,
                                const struct attention_shape *shape) LS_MUST_CHECK;
void attention_sample_close(struct attention_sample *sample, struct op_device *device);

/* Hold a new plan against the plain attention on random data: the call's sequences where the card
 * has the memory for it, else three short ones.  Refuses the plan on a mismatch and clears *plan.
 * _shape: for sequences made up to fit the plan. */
ls_status attention_fused_check(struct op_device *device, const struct attention_args *args,
                                struct fused_plan **plan,
                                const struct attention_shape *shape) LS_MUST_CHECK;
ls_status attention_fused_check_shape(struct op_device *device, const struct attention_args *args,
                                      struct fused_plan **plan,
                                      const struct attention_shape *shape) LS_MUST_CHECK;

#endif
