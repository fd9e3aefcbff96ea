/* Stand-in for the calls of cuDNN's backend API that model/cuda/ uses: attention forward as the
 * single operation, attention backward as the composite graph.
 *
 * Descriptors hold what was set; finalizing one checks what the real library was seen to check
 * (tests/cuda/test_cudnn.c runs the same cases against both).  The heuristics know the two graphs
 * of attention, in bf16, with head widths that are a multiple of 8, and no others. */
#include "tests/emulator/cudnn.h"
#include "tests/emulator/device.h"
#include "tests/emulator/runtime.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <string>

#include "model/cuda/cudnn_library.h"

using namespace emulated_cudnn;

struct cudnnContext {
    cudaStream_t stream;
};

namespace
{

struct descriptor {
    cudnnBackendDescriptorType_t kind;
    std::map<cudnnBackendAttributeName_t, attribute> set;
    bool finalized = false;
    tensor_ref as_tensor;                    /* of a tensor */
    std::shared_ptr<operation> as_operation; /* of an operation */
    std::shared_ptr<graph> as_graph;         /* of a graph, heuristics, engine config, plan */
    int64_t engine = -1, workspace = 0;
};

std::string reason;

cudnnStatus_t bad(const std::string &why)
{
    reason = why;
    return CUDNN_STATUS_BAD_PARAM;
}

descriptor *of(cudnnBackendDescriptor_t d)
{
    return static_cast<descriptor *>(d);
}

template <typename T>
bool get(const descriptor &d, cudnnBackendAttributeName_t name, T *out, int64_t count = 1)
{
    auto found = d.set.find(name);
    if (found == d.set.end() || found->second.count != count)
        return false;
    std::memcpy(out, found->second.bytes.data(), static_cast<size_t>(count) * sizeof(T));
    return true;
}

/* The finalized descriptor that an attribute names; null where it is not set. */
descriptor *child(const descriptor &d, cudnnBackendAttributeName_t name)
{
    void *pointer = nullptr;
    if (!get(d, name, &pointer) || pointer == nullptr || !of(pointer)->finalized)
        return nullptr;
    return of(pointer);
}

tensor_ref tensor_of(const descriptor &d, cudnnBackendAttributeName_t name)
{
    descriptor *found = child(d, name);
    return found != nullptr ? found->as_tensor : nullptr;
}

cudnnStatus_t finalize_tensor(descriptor &d)
{
    auto t = std::make_shared<tensor>();
    if (!get(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, &t->id))
        return bad("tensor: no unique id");
    if (!get(d, CUDNN_ATTR_TENSOR_DATA_TYPE, &t->type))
        return bad("tensor: no data type");
    if (!get(d, CUDNN_ATTR_TENSOR_DIMENSIONS, t->size, 4) ||
        !get(d, CUDNN_ATTR_TENSOR_STRIDES, t->stride, 4))
        return bad("tensor: four dimensions and strides are wanted");
    if (!get(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &t->alignment) || t->alignment < 1)
        return bad("tensor: no alignment");
    (void)get(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, &t->is_virtual);
    (void)get(d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, &t->by_value);
    t->ragged = tensor_of(d, CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC);
    for (int i = 0; i < 4; i++)
        if (t->size[i] < 1)
            return bad("tensor: a dimension below 1");
    if (t->is_virtual && t->by_value)
        return bad("tensor: virtual and by value");
    if (d.set.count(CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC) != 0 &&
        (t->ragged == nullptr || t->ragged->size[0] != t->size[0] + 1 ||
         (t->ragged->type != CUDNN_DATA_INT32 && t->ragged->type != CUDNN_DATA_INT64)))
        return bad("tensor: ragged offsets are not [batch + 1, 1, 1, 1] of integers");
    d.as_tensor = t;
    return CUDNN_STATUS_SUCCESS;
}

bool same_sizes(const tensor_ref &a, const int64_t (&want)[4])
{
    return std::equal(a->size, a->size + 4, want);
}

/* An operand can be y's size or 1 in each dimension. */
bool broadcasts(const tensor_ref &from, const tensor_ref &to)
{
    for (int i = 0; i < 4; i++)
        if (from->size[i] != to->size[i] && from->size[i] != 1)
            return false;
    return true;
}

cudnnStatus_t finalize_pointwise(const descriptor &d, operation &o)
{
    const descriptor *how = child(d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    if (how == nullptr)
        return bad("pointwise: no descriptor");
    (void)get(*how, CUDNN_ATTR_POINTWISE_MODE, &o.mode);
    (void)get(*how, CUDNN_ATTR_POINTWISE_AXIS, &o.axis);
    o.x = tensor_of(d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC);
    o.b = tensor_of(d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
    o.t = tensor_of(d, CUDNN_ATTR_OPERATION_POINTWISE_TDESC);
    o.y = tensor_of(d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
    const bool one = o.mode == CUDNN_POINTWISE_EXP || o.mode == CUDNN_POINTWISE_IDENTITY ||
                     o.mode == CUDNN_POINTWISE_GEN_INDEX;
    const bool three = o.mode == CUDNN_POINTWISE_BINARY_SELECT;
    if (o.x == nullptr || o.y == nullptr || one != (o.b == nullptr) || three != (o.t != nullptr))
        return bad("pointwise: operands missing or too many");
    if (!broadcasts(o.x, o.y) || (o.b != nullptr && !broadcasts(o.b, o.y)) ||
        (o.t != nullptr && !broadcasts(o.t, o.y)))
        return bad("pointwise: sizes do not fit");
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t finalize_product(const descriptor &d, operation &o)
{
    if (child(d, CUDNN_ATTR_OPERATION_MATMUL_DESC) == nullptr)
        return bad("matmul: no descriptor");
    o.x = tensor_of(d, CUDNN_ATTR_OPERATION_MATMUL_ADESC);
    o.b = tensor_of(d, CUDNN_ATTR_OPERATION_MATMUL_BDESC);
    o.y = tensor_of(d, CUDNN_ATTR_OPERATION_MATMUL_CDESC);
    o.m = tensor_of(d, CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC);
    o.n = tensor_of(d, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC);
    o.k = tensor_of(d, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC);
    if (o.x == nullptr || o.b == nullptr || o.y == nullptr)
        return bad("matmul: operands missing");
    if (!same_sizes(o.x, {o.y->size[0], o.y->size[1], o.y->size[2], o.b->size[2]}) ||
        !same_sizes(o.b, {o.y->size[0], o.y->size[1], o.x->size[3], o.y->size[3]}))
        return bad("matmul: sizes do not fit");
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t finalize_sum(const descriptor &d, operation &o)
{
    if (child(d, CUDNN_ATTR_OPERATION_REDUCTION_DESC) == nullptr)
        return bad("reduction: no descriptor");
    o.x = tensor_of(d, CUDNN_ATTR_OPERATION_REDUCTION_XDESC);
    o.y = tensor_of(d, CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
    if (o.x == nullptr || o.y == nullptr)
        return bad("reduction: operands missing");
    if (!same_sizes(o.y, {o.x->size[0], o.x->size[1], o.x->size[2], 1}))
        return bad("reduction: sizes do not fit");
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t finalize_reshape(const descriptor &d, operation &o)
{
    o.x = tensor_of(d, CUDNN_ATTR_OPERATION_RESHAPE_XDESC);
    o.y = tensor_of(d, CUDNN_ATTR_OPERATION_RESHAPE_YDESC);
    if (o.x == nullptr || o.y == nullptr)
        return bad("reshape: operands missing");
    if (!same_sizes(o.y, {o.x->size[0], o.x->size[1], o.x->size[3], o.x->size[2]}))
        return bad("reshape: sizes do not fit");
    return CUDNN_STATUS_SUCCESS;
}

bool lengths_fit(const tensor_ref &t, int64_t batches)
{
    return t != nullptr && t->type == CUDNN_DATA_INT32 && same_sizes(t, {batches, 1, 1, 1});
}

cudnnStatus_t finalize_attention(const descriptor &d, operation &o)
{
    o.x = tensor_of(d, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC);
    o.b = tensor_of(d, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC);
    o.t = tensor_of(d, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC);
    o.y = tensor_of(d, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC);
    o.lse = tensor_of(d, CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC);
    o.scale = tensor_of(d, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC);
    o.m = tensor_of(d, CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_QDESC);
    o.n = tensor_of(d, CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_KVDESC);
    if (o.x == nullptr || o.b == nullptr || o.t == nullptr || o.y == nullptr)
        return bad("attention: q, k, v or o is missing");
    const int64_t *q = o.x->size;
    if (!same_sizes(o.b, {q[0], q[1], o.b->size[2], q[3]}) ||
        !same_sizes(o.t, {q[0], q[1], o.b->size[2], q[3]}) ||
        !same_sizes(o.y, {q[0], q[1], q[2], q[3]}))
        return bad("attention: q, k, v and o do not fit");
    if (o.lse != nullptr && !same_sizes(o.lse, {q[0], q[1], q[2], 1}))
        return bad("attention: lse does not fit");
    for (const tensor_ref &lengths : {o.m, o.n})
        if (lengths != nullptr && !lengths_fit(lengths, q[0]))
            return bad("attention: lengths are not [batch, 1, 1, 1] of int32");
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t finalize_operation(descriptor &d)
{
    auto o = std::make_shared<operation>();
    o->kind = d.kind;
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
    switch (d.kind) {
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
        status = finalize_pointwise(d, *o);
        break;
    case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
        status = finalize_product(d, *o);
        break;
    case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
        status = finalize_sum(d, *o);
        break;
    case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR:
        status = finalize_reshape(d, *o);
        break;
    default:
        status = finalize_attention(d, *o);
        break;
    }
    d.as_operation = o;
    return status;
}

cudnnStatus_t finalize_graph(descriptor &d)
{
    auto found = d.set.find(CUDNN_ATTR_OPERATIONGRAPH_OPS);
    if (found == d.set.end() || found->second.count < 1)
        return bad("operation graph: no operations");
    auto g = std::make_shared<graph>();
    std::set<int64_t> written;
    for (int64_t i = 0; i < found->second.count; i++) {
        void *pointer = nullptr;
        std::memcpy(&pointer, found->second.bytes.data() + i * static_cast<int64_t>(sizeof pointer),
                    sizeof pointer);
        if (pointer == nullptr || !of(pointer)->finalized || of(pointer)->as_operation == nullptr)
            return bad("operation graph: an operation that is not finalized");
        const operation &o = *of(pointer)->as_operation;
        for (const tensor_ref &t : {o.x, o.b, o.t})
            if (t != nullptr && t->is_virtual && written.count(t->id) == 0)
                return bad("operation graph: a virtual tensor that no operation before wrote");
        if (!written.insert(o.y->id).second)
            return bad("operation graph: a tensor that two operations write");
        g->operations.push_back(o);
    }
    d.as_graph = g;
    return CUDNN_STATUS_SUCCESS;
}

bool head_width_fits(const tensor_ref &t)
{
    return t->size[3] % 8 == 0 && t->size[3] <= 256 && t->type == CUDNN_DATA_BFLOAT16 &&
           t->stride[3] == 1;
}

/* The single forward operation in the form that an engine takes. */
bool is_forward(const graph &g)
{
    const operation &o = g.operations.front();
    if (g.operations.size() != 1 || o.kind != CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR)
        return false;
    const bool lse = o.lse == nullptr || o.lse->type == CUDNN_DATA_FLOAT;
    const int64_t batches = o.x->size[0];
    const bool ragged = o.x->ragged != nullptr;
    return lse && head_width_fits(o.x) && head_width_fits(o.b) && head_width_fits(o.t) &&
           head_width_fits(o.y) && lengths_fit(o.m, batches) && lengths_fit(o.n, batches) &&
           ragged == (o.b->ragged != nullptr) && ragged == (o.y->ragged != nullptr) &&
           (o.lse == nullptr || ragged == (o.lse->ragged != nullptr));
}

/* How often an operation, and a mode of the pointwise ones, is in the composite backward. */
bool is_backward(const graph &g, bool *by_atomics)
{
    std::map<int, int> kinds;
    std::map<int, int> modes;
    for (const operation &o : g.operations) {
        kinds[o.kind]++;
        if (o.kind == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)
            modes[o.mode]++;
        if (o.kind == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR) {
            const tensor_ref &side = o.x->size[3] == o.y->size[3] ? o.b : o.x;
            if (side->is_virtual && side->type == CUDNN_DATA_INT32)
                return false;
            for (const tensor_ref &t : {o.x, o.b, o.y})
                if (!t->is_virtual && t->type == CUDNN_DATA_BFLOAT16 && t->size[3] % 8 != 0 &&
                    t->size[2] % 8 != 0)
                    return false;
        }
    }
    *by_atomics = modes[CUDNN_POINTWISE_IDENTITY] == 1;
    const std::map<int, int> wanted = {
        {CUDNN_POINTWISE_MUL, 5},         {CUDNN_POINTWISE_SUB, 2},
        {CUDNN_POINTWISE_GEN_INDEX, 2},   {CUDNN_POINTWISE_CMP_LT, 2},
        {CUDNN_POINTWISE_LOGICAL_AND, 1}, {CUDNN_POINTWISE_BINARY_SELECT, 1},
        {CUDNN_POINTWISE_EXP, 1},         {CUDNN_POINTWISE_IDENTITY, *by_atomics ? 1 : 0}};
    return kinds[CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR] == 5 &&
           kinds[CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR] == 1 &&
           kinds[CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR] == 3 && modes == wanted;
}

int64_t tiles(int64_t n, int64_t tile)
{
    return (n + tile - 1) / tile * tile;
}

/* Engine and workspace of a graph as cuDNN 9.19 gives them for an H100; -1: no engine. */
int64_t engine_of(const graph &g, int64_t *workspace)
{
    const operation &first = g.operations.front();
    bool by_atomics = false;
    *workspace = 0;
    if (is_forward(g)) {
        *workspace = first.x->ragged != nullptr ? 256 + 256 * first.x->size[0] : 256;
        return 9;
    }
    if (!is_backward(g, &by_atomics))
        return -1;
    for (const operation &o : g.operations)
        if (o.kind == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR && !head_width_fits(o.x) &&
            !o.x->is_virtual)
            return -1;
    for (const operation &o : g.operations)
        if (o.mode == CUDNN_POINTWISE_EXP &&
            o.kind == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR) {
            const int64_t *s = o.y->size;
            *workspace = 1152 + 448 * s[0];
            if (!by_atomics)
                *workspace += s[0] * s[1] * tiles(s[2], 64) * tiles(s[3], 128) * 2;
        }
    return 6;
}

cudnnStatus_t finalize(descriptor &d)
{
    descriptor *from = nullptr;
    switch (d.kind) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
        return finalize_tensor(d);
    case CUDNN_BACKEND_POINTWISE_DESCRIPTOR:
        return d.set.count(CUDNN_ATTR_POINTWISE_MODE) != 0 ? CUDNN_STATUS_SUCCESS
                                                           : bad("pointwise: no mode");
    case CUDNN_BACKEND_MATMUL_DESCRIPTOR:
        return d.set.count(CUDNN_ATTR_MATMUL_COMP_TYPE) != 0 ? CUDNN_STATUS_SUCCESS
                                                             : bad("matmul: no compute type");
    case CUDNN_BACKEND_REDUCTION_DESCRIPTOR:
        return d.set.count(CUDNN_ATTR_REDUCTION_OPERATOR) != 0 &&
                       d.set.count(CUDNN_ATTR_REDUCTION_COMP_TYPE) != 0
                   ? CUDNN_STATUS_SUCCESS
                   : bad("reduction: no operator or compute type");
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
        return finalize_graph(d);
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
        from = child(d, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
        if (from == nullptr || d.set.count(CUDNN_ATTR_ENGINEHEUR_MODE) == 0)
            return bad("heuristics: no graph or mode");
        d.as_graph = from->as_graph;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
        from = child(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
        if (from == nullptr)
            return bad("plan: no engine config");
        d.as_graph = from->as_graph;
        d.workspace = from->workspace;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
        if (d.set.count(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS) == 0 ||
            d.set.count(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS) == 0 ||
            d.set[CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS].count !=
                d.set[CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS].count)
            return bad("variant pack: as many ids as pointers are wanted");
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR:
        return CUDNN_STATUS_SUCCESS;
    default:
        return finalize_operation(d);
    }
}

/* Real and by-value tensors that a graph needs bound. */
std::set<int64_t> needed(const graph &g)
{
    std::set<int64_t> out;
    for (const operation &o : g.operations)
        for (const tensor_ref &t : {o.x, o.b, o.t, o.y, o.m, o.n, o.k, o.lse, o.scale}) {
            if (t == nullptr)
                continue;
            if (!t->is_virtual)
                out.insert(t->id);
            if (t->ragged != nullptr)
                out.insert(t->ragged->id);
        }
    return out;
}

std::set<int64_t> by_value(const graph &g)
{
    std::set<int64_t> out;
    for (const operation &o : g.operations)
        for (const tensor_ref &t : {o.x, o.b, o.t, o.scale})
            if (t != nullptr && t->by_value)
                out.insert(t->id);
    return out;
}

size_t version()
{
    return CUDNN_VERSION;
}

} // namespace

extern "C" {

cudnnStatus_t cudnnCreate(cudnnHandle_t *out)
{
    *out = new cudnnContext{nullptr};
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    delete handle;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

const char *cudnnGetErrorString(cudnnStatus_t status)
{
    return status == CUDNN_STATUS_SUCCESS ? "CUDNN_STATUS_SUCCESS" : "CUDNN_STATUS_BAD_PARAM";
}

void cudnnGetLastErrorString(char *message, size_t bytes)
{
    (void)snprintf(message, bytes, "%s", reason.c_str());
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t kind,
                                           cudnnBackendDescriptor_t *out)
{
    *out = new descriptor{kind, {}, false, nullptr, nullptr, nullptr, -1, 0};
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d)
{
    delete of(d);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count,
                                       const void *elements)
{
    size_t bytes = sizeof(int64_t);
    switch (type) {
    case CUDNN_TYPE_BOOLEAN:
        bytes = sizeof(bool);
        break;
    case CUDNN_TYPE_CHAR:
        bytes = 1;
        break;
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
        break;
    default:
        bytes = sizeof(int32_t); /* enumerations */
        break;
    }
    if (of(d)->finalized)
        return bad("attribute: the descriptor is finalized");
    if (elements == nullptr || count < 1)
        return bad("attribute: no elements");
    const auto *from = static_cast<const unsigned char *>(elements);
    of(d)->set[name] = attribute{
        type, count, std::vector<unsigned char>(from, from + static_cast<size_t>(count) * bytes)};
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, int64_t wanted, int64_t *count,
                                       void *elements)
{
    descriptor &from = *of(d);
    if (!from.finalized && from.kind != CUDNN_BACKEND_ENGINECFG_DESCRIPTOR &&
        from.kind != CUDNN_BACKEND_ENGINE_DESCRIPTOR)
        return bad("get: the descriptor is not finalized");
    int64_t workspace = 0;
    *count = 0;
    switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS: {
        int64_t engine = engine_of(*from.as_graph, &workspace);
        if (engine < 0 || wanted < 1)
            return CUDNN_STATUS_SUCCESS;
        descriptor &config = *of(*static_cast<cudnnBackendDescriptor_t *>(elements));
        config.as_graph = from.as_graph;
        config.engine = engine;
        config.workspace = workspace;
        config.finalized = true;
        *count = 1;
        return CUDNN_STATUS_SUCCESS;
    }
    case CUDNN_ATTR_ENGINECFG_ENGINE:
        of(*static_cast<cudnnBackendDescriptor_t *>(elements))->engine = from.engine;
        *count = 1;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
        *static_cast<int64_t *>(elements) = from.engine;
        *count = 1;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
        *static_cast<int64_t *>(elements) = from.workspace;
        *count = 1;
        return CUDNN_STATUS_SUCCESS;
    default:
        return bad("get: an attribute that the stand-in does not know");
    }
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t d)
{
    cudnnStatus_t status = finalize(*of(d));
    of(d)->finalized = status == CUDNN_STATUS_SUCCESS;
    return status;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t variant)
{
    if (!of(plan)->finalized || !of(variant)->finalized)
        return bad("execute: a descriptor that is not finalized");
    const attribute &ids = of(variant)->set[CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS];
    const attribute &pointers = of(variant)->set[CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS];
    std::shared_ptr<graph> g = of(plan)->as_graph;
    const std::set<int64_t> numbers = by_value(*g);
    pack bound;
    for (int64_t i = 0; i < ids.count; i++) {
        int64_t id = 0;
        void *pointer = nullptr;
        std::memcpy(&id, ids.bytes.data() + i * 8, sizeof id);
        std::memcpy(&pointer, pointers.bytes.data() + i * 8, sizeof pointer);
        if (pointer == nullptr)
            return bad("execute: a null pointer");
        bound.memory[id] = pointer;
        if (numbers.count(id) != 0)
            bound.numbers[id] = *static_cast<const float *>(pointer);
    }
    for (int64_t id : needed(*g))
        if (bound.memory.count(id) == 0)
            return bad("execute: a tensor that is not bound");
    if (const int64_t id = misaligned(*g, bound); id != 0)
        return bad("execute: the memory of tensor " + std::to_string(id) + " is not aligned");
    (void)get(*of(variant), CUDNN_ATTR_VARIANT_PACK_WORKSPACE, &bound.workspace);
    const int64_t workspace = of(plan)->workspace;
    if (workspace > 0 && bound.workspace == nullptr)
        return bad("execute: no workspace");
    emulator_enqueue(handle->stream, [g, bound, workspace]() {
        if (workspace > 0) /* the real engines use it all */
            std::memset(bound.workspace, 0xff, static_cast<size_t>(workspace));
        run(*g, bound);
    });
    return CUDNN_STATUS_SUCCESS;
}

ls_status cudnn_library_open(struct cudnn_calls *out)
{
    *out = cudnn_calls{version(),
                       cudnnCreate,
                       cudnnDestroy,
                       cudnnSetStream,
                       cudnnBackendCreateDescriptor,
                       cudnnBackendDestroyDescriptor,
                       cudnnBackendSetAttribute,
                       cudnnBackendGetAttribute,
                       cudnnBackendFinalize,
                       cudnnBackendExecute,
                       cudnnGetErrorString,
                       cudnnGetLastErrorString};
    return LS_OK;
}

} /* extern "C" */
