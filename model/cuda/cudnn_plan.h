/* Attention as cuDNN operation graphs, and their execution plans. */
#ifndef LOCKSTEP_MODEL_CUDA_CUDNN_PLAN_H
#define LOCKSTEP_MODEL_CUDA_CUDNN_PLAN_H

#include "model/cuda/cudnn_graph.h"
#include "model/cuda/fused.h"

/* Unique ids of the tensors that a variant pack binds to memory. */
enum attention_tensor {
    TENSOR_Q = 1,
    TENSOR_K,
    TENSOR_V,
    TENSOR_O,
    TENSOR_LSE,
    TENSOR_SCALE,
    TENSOR_QUERY_LENGTHS,
    TENSOR_KEY_LENGTHS,
    TENSOR_QUERY_OFFSETS,
    TENSOR_KEY_OFFSETS,
    TENSOR_OUTPUT_OFFSETS,
    TENSOR_LSE_OFFSETS,
    TENSOR_D_O,
    TENSOR_DQ,
    TENSOR_DK,
    TENSOR_DV,
    TENSOR_DELTA,
    TENSOR_DQ_SUM,
    TENSOR_ONE,
    TENSOR_MASKED
};

struct cudnn_plan {
    struct cudnn_graph graph; /* owns all descriptors */
    cudnnBackendDescriptor_t plan;
    int64_t engine, workspace_bytes;
};

/* The operation graph of a shape, finalized.  Local.  Errors: LS_DEVICE with cuDNN's reason. */
ls_status cudnn_attention_graph(struct cudnn_graph *graph,
                                const struct attention_shape *shape) LS_MUST_CHECK;

/* The first plan that cuDNN's heuristics propose and that needs at most `workspace_limit` bytes,
 * for the current card, or, where `properties` is not NULL, for the card which that descriptor
 * describes.  Local.  Errors: LS_DEVICE. */
ls_status cudnn_plan_open(struct cudnn_plan *out, const struct cudnn_calls *calls,
                          const struct attention_shape *shape, int64_t workspace_limit,
                          cudnnBackendDescriptor_t properties) LS_MUST_CHECK;
void cudnn_plan_close(struct cudnn_plan *plan);

/* Queue the plan.  Local.  Errors: LS_DEVICE. */
ls_status cudnn_plan_run(const struct cudnn_plan *plan, cudnnHandle_t handle, const int64_t *ids,
                         void *const *pointers, int count, void *workspace_dev) LS_MUST_CHECK;

#endif
