/* Builder of operation graphs over cuDNN's descriptors. */
#include "model/cuda/cudnn_graph.h"

#include <stddef.h>

enum { FIRST_VIRTUAL = 1000, ALIGNMENT = 16, MESSAGE_BYTES = 256 };

ls_status cudnn_failed(const struct cudnn_calls *calls, cudnnStatus_t status, const char *what)
{
    char message[MESSAGE_BYTES] = "";
    calls->last_error(message, sizeof message);
    return LS_FAIL(LS_DEVICE, "cuDNN: %s: %s%s%s", what, calls->error_string(status),
                   message[0] != '\0' ? ": " : "", message);
}

static void check(struct cudnn_graph *graph, cudnnStatus_t status, const char *what)
{
    if (status != CUDNN_STATUS_SUCCESS && graph->failure == LS_OK)
        graph->failure = cudnn_failed(graph->calls, status, what);
}

void cudnn_graph_open(struct cudnn_graph *graph, const struct cudnn_calls *calls)
{
    *graph = (struct cudnn_graph){.calls = calls, .next_virtual = FIRST_VIRTUAL};
}

void cudnn_graph_close(struct cudnn_graph *graph)
{
    while (graph->made_count > 0)
        (void)graph->calls->destroy_descriptor(graph->made[--graph->made_count]);
    graph->graph = NULL;
}

cudnnBackendDescriptor_t cudnn_make(struct cudnn_graph *graph, cudnnBackendDescriptorType_t type)
{
    cudnnBackendDescriptor_t out = NULL;
    if (graph->failure != LS_OK)
        return NULL;
    if (graph->made_count == GRAPH_DESCRIPTORS_MAX) {
        graph->failure = LS_FAIL(LS_DEVICE, "cuDNN: more than %d descriptors in a graph",
                                 (int)GRAPH_DESCRIPTORS_MAX);
        return NULL;
    }
    check(graph, graph->calls->create_descriptor(type, &out), "descriptor");
    if (graph->failure == LS_OK)
        graph->made[graph->made_count++] = out;
    return out;
}

void cudnn_set(struct cudnn_graph *graph, cudnnBackendDescriptor_t of,
               cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
               const void *elements)
{
    if (graph->failure == LS_OK)
        check(graph, graph->calls->set_attribute(of, name, type, count, elements), "attribute");
}

void cudnn_set_descriptor(struct cudnn_graph *graph, cudnnBackendDescriptor_t of,
                          cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value)
{
    if (value != NULL)
        cudnn_set(graph, of, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

void cudnn_finalize(struct cudnn_graph *graph, cudnnBackendDescriptor_t descriptor,
                    const char *what)
{
    if (graph->failure == LS_OK)
        check(graph, graph->calls->finalize(descriptor), what);
}

void cudnn_operation(struct cudnn_graph *graph, cudnnBackendDescriptor_t operation,
                     const char *what)
{
    cudnn_finalize(graph, operation, what);
    if (graph->failure != LS_OK)
        return;
    if (graph->operation_count == GRAPH_OPERATIONS_MAX) {
        graph->failure = LS_FAIL(LS_DEVICE, "cuDNN: more than %d operations in a graph",
                                 (int)GRAPH_OPERATIONS_MAX);
        return;
    }
    graph->operations[graph->operation_count++] = operation;
}

cudnnBackendDescriptor_t cudnn_tensor_make(struct cudnn_graph *graph,
                                           const struct cudnn_tensor *tensor, const char *what)
{
    const bool is_virtual = tensor->id == 0;
    const int64_t id = is_virtual ? graph->next_virtual++ : tensor->id;
    const int64_t alignment = ALIGNMENT;
    cudnnBackendDescriptor_t out = cudnn_make(graph, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    cudnn_set(graph, out, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    cudnn_set(graph, out, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &tensor->type);
    cudnn_set(graph, out, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, tensor->size);
    cudnn_set(graph, out, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, tensor->stride);
    cudnn_set(graph, out, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    if (is_virtual)
        cudnn_set(graph, out, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    if (tensor->by_value)
        cudnn_set(graph, out, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1,
                  &tensor->by_value);
    cudnn_set_descriptor(graph, out, CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, tensor->ragged);
    cudnn_finalize(graph, out, what);
    return out;
}

void cudnn_pointwise(struct cudnn_graph *graph, struct cudnn_pointwise p, const char *what)
{
    cudnnBackendDescriptor_t how = cudnn_make(graph, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    cudnn_set(graph, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &p.mode);
    cudnn_set(graph, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &p.compute);
    if (p.mode == CUDNN_POINTWISE_GEN_INDEX)
        cudnn_set(graph, how, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &p.axis);
    cudnn_finalize(graph, how, what);
    cudnnBackendDescriptor_t run = cudnn_make(graph, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, p.x);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, p.b);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, p.t);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, p.y);
    cudnn_operation(graph, run, what);
}

void cudnn_matmul(struct cudnn_graph *graph, struct cudnn_matmul p, const char *what)
{
    const cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t how = cudnn_make(graph, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    cudnn_set(graph, how, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    cudnn_finalize(graph, how, what);
    cudnnBackendDescriptor_t run = cudnn_make(graph, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_MATMUL_ADESC, p.a);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_MATMUL_BDESC, p.b);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_MATMUL_CDESC, p.c);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, p.m);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, p.n);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, p.k);
    cudnn_operation(graph, run, what);
}

void cudnn_sum(struct cudnn_graph *graph, cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t y,
               const char *what)
{
    const cudnnReduceTensorOp_t add = CUDNN_REDUCE_TENSOR_ADD;
    const cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t how = cudnn_make(graph, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    cudnn_set(graph, how, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1,
              &add);
    cudnn_set(graph, how, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
    cudnn_finalize(graph, how, what);
    cudnnBackendDescriptor_t run = cudnn_make(graph, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_REDUCTION_DESC, how);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
    cudnn_operation(graph, run, what);
}

void cudnn_reshape(struct cudnn_graph *graph, cudnnBackendDescriptor_t x,
                   cudnnBackendDescriptor_t y, const char *what)
{
    cudnnBackendDescriptor_t run = cudnn_make(graph, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
    cudnn_set_descriptor(graph, run, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y);
    cudnn_operation(graph, run, what);
}

ls_status cudnn_graph_finish(struct cudnn_graph *graph)
{
    graph->graph = cudnn_make(graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    cudnn_set(graph, graph->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
              graph->operation_count, graph->operations);
    cudnn_finalize(graph, graph->graph, "operation graph");
    return graph->failure;
}
