/* What the two halves of the stand-in for cuDNN share: descriptors and their checks (cudnn.cpp),
 * and the interpreter of operation graphs (cudnn_run.cpp). */
#ifndef LOCKSTEP_TESTS_EMULATOR_CUDNN_H
#define LOCKSTEP_TESTS_EMULATOR_CUDNN_H

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include <cudnn_graph.h>

namespace emulated_cudnn
{

struct attribute {
    cudnnBackendAttributeType_t type;
    int64_t count;
    std::vector<unsigned char> bytes;
};

struct tensor {
    int64_t id = 0;
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    int64_t size[4] = {0, 0, 0, 0}, stride[4] = {0, 0, 0, 0};
    bool is_virtual = false, by_value = false;
    int64_t alignment = 0; /* of its memory, in bytes */
    std::shared_ptr<tensor> ragged;
};
using tensor_ref = std::shared_ptr<tensor>;

struct operation {
    cudnnBackendDescriptorType_t kind;
    cudnnPointwiseMode_t mode = CUDNN_POINTWISE_IDENTITY;
    int64_t axis = 0;
    /* Pointwise: x, b, t, y.  Product: x = a, b, y = c and lengths m, n, k.  Sum, reshape: x, y.
     * Attention: x = q, b = k, t = v, y = o, lse, scale, m = query lengths, n = key lengths. */
    tensor_ref x, b, t, y, m, n, k, lse, scale;
};

struct graph {
    std::vector<operation> operations;
};

/* Bindings of a variant pack; numbers by value are copied at the call. */
struct pack {
    std::map<int64_t, void *> memory;
    std::map<int64_t, float> numbers;
    void *workspace = nullptr;
};

/* The id of a tensor whose memory is not aligned as its descriptor says; 0: there is none.  The
 * real kernels load what they were told to find. */
int64_t misaligned(const graph &g, const pack &bound);

/* Run all operations, now. */
void run(const graph &g, const pack &p);

} // namespace emulated_cudnn

#endif
