/* A builder of cuDNN operation graphs.
 *
 * Descriptors are kept in the graph and destroyed with it.  The first failure stays: what is built
 * after it is skipped, and cudnn_graph_finish returns it, so that a graph of thirty operations
 * reads as one. */
#ifndef LOCKSTEP_MODEL_CUDA_CUDNN_GRAPH_H
#define LOCKSTEP_MODEL_CUDA_CUDNN_GRAPH_H

#include <stdbool.h>

#include "model/cuda/cudnn_library.h"

enum { GRAPH_DESCRIPTORS_MAX = 192, GRAPH_OPERATIONS_MAX = 32 };

struct cudnn_graph {
    const struct cudnn_calls *calls;
    cudnnBackendDescriptor_t made[GRAPH_DESCRIPTORS_MAX];
    int made_count;
    cudnnBackendDescriptor_t operations[GRAPH_OPERATIONS_MAX];
    int operation_count;
    int64_t next_virtual; /* unique id of the next virtual tensor */
    ls_status failure;
    cudnnBackendDescriptor_t graph; /* after cudnn_graph_finish */
};

struct cudnn_tensor {
    int64_t id; /* 0: virtual, gets one of its own */
    cudnnDataType_t type;
    int64_t size[4], stride[4];
    cudnnBackendDescriptor_t ragged; /* offsets of the batches in elements, or NULL */
    bool by_value;                   /* one number that the variant pack brings from the host */
};

/* The error of a failed call, with cuDNN's own reason.  Local. */
ls_status cudnn_failed(const struct cudnn_calls *calls, cudnnStatus_t status, const char *what);

void cudnn_graph_open(struct cudnn_graph *graph, const struct cudnn_calls *calls);
void cudnn_graph_close(struct cudnn_graph *graph);

/* A descriptor of the graph's, not finalized. */
cudnnBackendDescriptor_t cudnn_make(struct cudnn_graph *graph, cudnnBackendDescriptorType_t type);
void cudnn_set(struct cudnn_graph *graph, cudnnBackendDescriptor_t of,
               cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
               const void *elements);
void cudnn_set_descriptor(struct cudnn_graph *graph, cudnnBackendDescriptor_t of,
                          cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value);
void cudnn_finalize(struct cudnn_graph *graph, cudnnBackendDescriptor_t descriptor,
                    const char *what);
/* Finalize an operation and take it into the graph. */
void cudnn_operation(struct cudnn_graph *graph, cudnnBackendDescriptor_t operation,
                     const char *what);

cudnnBackendDescriptor_t cudnn_tensor_make(struct cudnn_graph *graph,
                                           const struct cudnn_tensor *tensor, const char *what);

struct cudnn_pointwise {
    cudnnPointwiseMode_t mode;
    cudnnBackendDescriptor_t x, b, t, y; /* b and t may be NULL */
    int64_t axis;                        /* of CUDNN_POINTWISE_GEN_INDEX */
    cudnnDataType_t compute;
};
void cudnn_pointwise(struct cudnn_graph *graph, struct cudnn_pointwise p, const char *what);

struct cudnn_matmul { /* c[m,n] = a[m,k] b[k,n]; true sizes in device memory, or NULL */
    cudnnBackendDescriptor_t a, b, c, m, n, k;
};
void cudnn_matmul(struct cudnn_graph *graph, struct cudnn_matmul p, const char *what);

/* y = sum of x over the sizes that are 1 in y. */
void cudnn_sum(struct cudnn_graph *graph, cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t y,
               const char *what);
/* y = x with other sizes and strides. */
void cudnn_reshape(struct cudnn_graph *graph, cudnnBackendDescriptor_t x,
                   cudnnBackendDescriptor_t y, const char *what);

/* Close the operations into graph->graph.  Errors: the first of all that went wrong; LS_DEVICE. */
ls_status cudnn_graph_finish(struct cudnn_graph *graph) LS_MUST_CHECK;

#endif
