/* Operation graphs of attention.
 *
 * Forward is cuDNN's single SDPA operation.  Backward is the composite graph that cuDNN's engines
 * recognise:
 *
 *     delta = rowsum(dO * O) * 1
 *     P  = exp(select(row < query length and column < key length, Q K^T * scale - lse, -inf))
 *     dV = P^T dO        dS = (dO V^T - delta) * P * scale        dK = dS^T Q        dQ = dS K
 *
 * dQ comes straight from its product where sums must have a fixed order: cuDNN then keeps dS of the
 * whole call in its workspace, in bf16.  Otherwise it is summed by atomics into float32. */
#include <math.h>

#include "model/cuda/cudnn_plan.h"

struct build { /* a graph under construction */
    struct cudnn_graph *graph;
    const struct attention_shape *shape;
    cudnnBackendDescriptor_t query_lengths, key_lengths, scale;
    cudnnBackendDescriptor_t query_offsets, key_offsets, output_offsets, lse_offsets;
};

static bool is_ragged(const struct attention_shape *shape)
{
    return shape->query_step == 0;
}

static cudnnBackendDescriptor_t vector(struct cudnn_graph *graph, int64_t id, cudnnDataType_t type,
                                       int64_t count, const char *what)
{
    const struct cudnn_tensor t = {
        .id = id, .type = type, .size = {count, 1, 1, 1}, .stride = {1, 1, 1, 1}};
    return cudnn_tensor_make(graph, &t, what);
}

static cudnnBackendDescriptor_t number(struct cudnn_graph *graph, int64_t id, const char *what)
{
    const struct cudnn_tensor t = {.id = id,
                                   .type = CUDNN_DATA_FLOAT,
                                   .size = {1, 1, 1, 1},
                                   .stride = {1, 1, 1, 1},
                                   .by_value = true};
    return cudnn_tensor_make(graph, &t, what);
}

static void common(struct build *b)
{
    const struct attention_shape *s = b->shape;
    b->query_lengths =
        vector(b->graph, TENSOR_QUERY_LENGTHS, CUDNN_DATA_INT32, s->sequences, "query lengths");
    b->key_lengths =
        vector(b->graph, TENSOR_KEY_LENGTHS, CUDNN_DATA_INT32, s->sequences, "key lengths");
    b->scale = number(b->graph, TENSOR_SCALE, "scale");
    if (!is_ragged(s))
        return;
    const int64_t count = s->sequences + 1;
    b->query_offsets =
        vector(b->graph, TENSOR_QUERY_OFFSETS, CUDNN_DATA_INT64, count, "query offsets");
    b->key_offsets = vector(b->graph, TENSOR_KEY_OFFSETS, CUDNN_DATA_INT64, count, "key offsets");
    b->output_offsets =
        vector(b->graph, TENSOR_OUTPUT_OFFSETS, CUDNN_DATA_INT64, count, "output offsets");
    b->lse_offsets = vector(b->graph, TENSOR_LSE_OFFSETS, CUDNN_DATA_INT64, count, "lse offsets");
}

/* Rows from one sequence to the next as the descriptor says it; ragged tensors ignore the number.
 */
static int64_t step_of(int64_t step, int length)
{
    return step > 0 ? step : length;
}

/* [sequences, heads, queries, width] of a [heads][rows][width] buffer. */
static cudnnBackendDescriptor_t query_side(struct build *b, int64_t id, cudnnDataType_t type,
                                           const char *what)
{
    const struct attention_shape *s = b->shape;
    const struct cudnn_tensor t = {.id = id,
                                   .type = type,
                                   .size = {s->sequences, s->heads, s->queries, s->width},
                                   .stride = {step_of(s->query_step, s->queries) * s->width,
                                              s->query_rows * s->width, s->width, 1},
                                   .ragged = b->query_offsets};
    return cudnn_tensor_make(b->graph, &t, what);
}

/* Keys, values and their gradients; `turned`: [.., width, keys] for a product with their
 * transpose. */
static cudnnBackendDescriptor_t key_side(struct build *b, int64_t id, bool turned, const char *what)
{
    const struct attention_shape *s = b->shape;
    struct cudnn_tensor t = {
        .id = id,
        .type = CUDNN_DATA_BFLOAT16,
        .size = {s->sequences, s->heads, s->keys, s->width},
        .stride = {step_of(s->key_step, s->keys) * s->width, s->key_rows * s->width, s->width, 1},
        .ragged = b->key_offsets};
    if (turned) {
        t.size[2] = s->width;
        t.size[3] = s->keys;
        t.stride[2] = 1;
        t.stride[3] = s->width;
    }
    return cudnn_tensor_make(b->graph, &t, what);
}

/* [sequences, heads, queries, width] of a [rows][heads * width] matrix. */
static cudnnBackendDescriptor_t output_side(struct build *b, int64_t id, const char *what)
{
    const struct attention_shape *s = b->shape;
    const int64_t row = (int64_t)s->all_heads * s->width;
    const struct cudnn_tensor t = {
        .id = id,
        .type = CUDNN_DATA_BFLOAT16,
        .size = {s->sequences, s->heads, s->queries, s->width},
        .stride = {step_of(s->query_step, s->queries) * row, s->width, row, 1},
        .ragged = b->output_offsets};
    return cudnn_tensor_make(b->graph, &t, what);
}

/* One float32 a row and head. */
static cudnnBackendDescriptor_t row_side(struct build *b, int64_t id, const char *what)
{
    const struct attention_shape *s = b->shape;
    const struct cudnn_tensor t = {
        .id = id,
        .type = CUDNN_DATA_FLOAT,
        .size = {s->sequences, s->heads, s->queries, 1},
        .stride = {step_of(s->query_step, s->queries), s->query_rows, 1, 1},
        .ragged = b->lse_offsets};
    return cudnn_tensor_make(b->graph, &t, what);
}

/* A virtual [sequences, heads, queries, columns]. */
static cudnnBackendDescriptor_t between(struct build *b, cudnnDataType_t type, int64_t columns,
                                        const char *what)
{
    const struct attention_shape *s = b->shape;
    const int64_t area = s->queries * columns;
    const struct cudnn_tensor t = {.type = type,
                                   .size = {s->sequences, s->heads, s->queries, columns},
                                   .stride = {s->heads * area, area, columns, 1}};
    return cudnn_tensor_make(b->graph, &t, what);
}

/* The transpose of a virtual [.., queries, keys], in bf16: an operand of the products. */
static cudnnBackendDescriptor_t transposed(struct build *b, cudnnBackendDescriptor_t scores,
                                           const char *what)
{
    const struct attention_shape *s = b->shape;
    const int64_t area = (int64_t)s->queries * s->keys;
    const struct cudnn_tensor t = {.type = CUDNN_DATA_BFLOAT16,
                                   .size = {s->sequences, s->heads, s->keys, s->queries},
                                   .stride = {s->heads * area, area, 1, s->keys}};
    cudnnBackendDescriptor_t out = cudnn_tensor_make(b->graph, &t, what);
    cudnn_reshape(b->graph, scores, out, what);
    return out;
}

static void build_forward(struct build *b)
{
    struct cudnn_graph *g = b->graph;
    cudnnBackendDescriptor_t run = cudnn_make(g, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    cudnn_set_descriptor(g, run, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC,
                         query_side(b, TENSOR_Q, CUDNN_DATA_BFLOAT16, "q"));
    cudnn_set_descriptor(g, run, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC,
                         key_side(b, TENSOR_K, false, "k"));
    cudnn_set_descriptor(g, run, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC,
                         key_side(b, TENSOR_V, false, "v"));
    cudnn_set_descriptor(g, run, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC,
                         output_side(b, TENSOR_O, "o"));
    if (b->shape->lse)
        cudnn_set_descriptor(g, run, CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC,
                             row_side(b, TENSOR_LSE, "lse"));
    cudnn_set_descriptor(g, run, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, b->scale);
    cudnn_set_descriptor(g, run, CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_QDESC, b->query_lengths);
    cudnn_set_descriptor(g, run, CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_KVDESC, b->key_lengths);
    cudnn_operation(g, run, "attention forward");
}

static cudnnBackendDescriptor_t pointwise(struct build *b, cudnnPointwiseMode_t mode,
                                          cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t y,
                                          cudnnBackendDescriptor_t out, const char *what)
{
    cudnn_pointwise(b->graph,
                    (struct cudnn_pointwise){
                        .mode = mode, .x = x, .b = y, .y = out, .compute = CUDNN_DATA_FLOAT},
                    what);
    return out;
}

/* row < query length or column < key length, as booleans of the scores' shape. */
static cudnnBackendDescriptor_t inside(struct build *b, cudnnBackendDescriptor_t scores,
                                       int64_t axis, cudnnBackendDescriptor_t lengths,
                                       const char *what)
{
    const int64_t keys = b->shape->keys;
    cudnnBackendDescriptor_t number_of = between(b, CUDNN_DATA_INT32, keys, what);
    cudnnBackendDescriptor_t less = between(b, CUDNN_DATA_BOOLEAN, keys, what);
    cudnn_pointwise(b->graph,
                    (struct cudnn_pointwise){.mode = CUDNN_POINTWISE_GEN_INDEX,
                                             .x = scores,
                                             .y = number_of,
                                             .axis = axis,
                                             .compute = CUDNN_DATA_INT32},
                    what);
    cudnn_pointwise(b->graph,
                    (struct cudnn_pointwise){.mode = CUDNN_POINTWISE_CMP_LT,
                                             .x = number_of,
                                             .b = lengths,
                                             .y = less,
                                             .compute = CUDNN_DATA_BOOLEAN},
                    what);
    return less;
}

/* delta, non-virtual: two kernels of the engine meet in it. */
static cudnnBackendDescriptor_t build_delta(struct build *b, cudnnBackendDescriptor_t d_o)
{
    cudnnBackendDescriptor_t o = output_side(b, TENSOR_O, "o");
    cudnnBackendDescriptor_t product = between(b, CUDNN_DATA_FLOAT, b->shape->width, "dO * O");
    cudnnBackendDescriptor_t sum = between(b, CUDNN_DATA_FLOAT, 1, "rowsum(dO * O)");
    cudnnBackendDescriptor_t delta = row_side(b, TENSOR_DELTA, "delta");
    cudnnBackendDescriptor_t one = number(b->graph, TENSOR_ONE, "one");
    pointwise(b, CUDNN_POINTWISE_MUL, d_o, o, product, "dO * O");
    cudnn_sum(b->graph, product, sum, "rowsum(dO * O)");
    return pointwise(b, CUDNN_POINTWISE_MUL, sum, one, delta, "delta");
}

/* P, virtual float32. */
static cudnnBackendDescriptor_t build_probabilities(struct build *b, cudnnBackendDescriptor_t q,
                                                    cudnnBackendDescriptor_t k_turned)
{
    struct cudnn_graph *g = b->graph;
    const int64_t keys = b->shape->keys;
    cudnnBackendDescriptor_t lse = row_side(b, TENSOR_LSE, "lse");
    cudnnBackendDescriptor_t masked = number(g, TENSOR_MASKED, "-inf");
    cudnnBackendDescriptor_t scores = between(b, CUDNN_DATA_FLOAT, keys, "Q K^T");
    cudnnBackendDescriptor_t scaled = between(b, CUDNN_DATA_FLOAT, keys, "scaled scores");
    cudnnBackendDescriptor_t shifted = between(b, CUDNN_DATA_FLOAT, keys, "scores - lse");
    cudnnBackendDescriptor_t padded = between(b, CUDNN_DATA_FLOAT, keys, "padded scores");
    cudnnBackendDescriptor_t both = between(b, CUDNN_DATA_BOOLEAN, keys, "padding mask");
    cudnn_matmul(g,
                 (struct cudnn_matmul){q, k_turned, scores, b->query_lengths, b->key_lengths, NULL},
                 "Q K^T");
    pointwise(b, CUDNN_POINTWISE_MUL, scores, b->scale, scaled, "scaled scores");
    pointwise(b, CUDNN_POINTWISE_SUB, scaled, lse, shifted, "scores - lse");
    cudnnBackendDescriptor_t row = inside(b, shifted, 2, b->query_lengths, "row in sequence");
    cudnnBackendDescriptor_t column = inside(b, shifted, 3, b->key_lengths, "column in sequence");
    cudnn_pointwise(g,
                    (struct cudnn_pointwise){.mode = CUDNN_POINTWISE_LOGICAL_AND,
                                             .x = row,
                                             .b = column,
                                             .y = both,
                                             .compute = CUDNN_DATA_BOOLEAN},
                    "padding mask");
    cudnn_pointwise(g,
                    (struct cudnn_pointwise){.mode = CUDNN_POINTWISE_BINARY_SELECT,
                                             .x = shifted,
                                             .b = masked,
                                             .t = both,
                                             .y = padded,
                                             .compute = CUDNN_DATA_FLOAT},
                    "padded scores");
    return pointwise(b, CUDNN_POINTWISE_EXP, padded, NULL, between(b, CUDNN_DATA_FLOAT, keys, "P"),
                     "P");
}

/* dQ = dS K: straight, or through float32 sums by atomics. */
static void build_dq(struct build *b, cudnnBackendDescriptor_t d_scores,
                     cudnnBackendDescriptor_t k_turned)
{
    struct cudnn_graph *g = b->graph;
    cudnnBackendDescriptor_t k = key_side(b, 0, false, "K");
    cudnnBackendDescriptor_t dq = query_side(b, TENSOR_DQ, CUDNN_DATA_BFLOAT16, "dQ");
    cudnnBackendDescriptor_t product = dq;
    cudnn_reshape(g, k_turned, k, "K");
    if (!b->shape->deterministic)
        product = query_side(b, TENSOR_DQ_SUM, CUDNN_DATA_FLOAT, "dQ sums");
    cudnn_matmul(
        g, (struct cudnn_matmul){d_scores, k, product, b->query_lengths, NULL, b->key_lengths},
        "dS K");
    if (!b->shape->deterministic)
        pointwise(b, CUDNN_POINTWISE_IDENTITY, product, NULL, dq, "dQ");
}

static void build_backward(struct build *b)
{
    struct cudnn_graph *g = b->graph;
    const int64_t keys = b->shape->keys;
    cudnnBackendDescriptor_t q = query_side(b, TENSOR_Q, CUDNN_DATA_BFLOAT16, "q");
    cudnnBackendDescriptor_t k_turned = key_side(b, TENSOR_K, true, "k");
    cudnnBackendDescriptor_t v_turned = key_side(b, TENSOR_V, true, "v");
    cudnnBackendDescriptor_t d_o = output_side(b, TENSOR_D_O, "dO");
    cudnnBackendDescriptor_t delta = build_delta(b, d_o);
    cudnnBackendDescriptor_t p = build_probabilities(b, q, k_turned);
    cudnnBackendDescriptor_t dp = between(b, CUDNN_DATA_FLOAT, keys, "dO V^T");
    cudnnBackendDescriptor_t centred = between(b, CUDNN_DATA_FLOAT, keys, "dP - delta");
    cudnnBackendDescriptor_t weighted = between(b, CUDNN_DATA_FLOAT, keys, "P (dP - delta)");
    cudnnBackendDescriptor_t ds = between(b, CUDNN_DATA_FLOAT, keys, "dS");
    cudnn_matmul(g,
                 (struct cudnn_matmul){transposed(b, p, "P^T"), d_o,
                                       key_side(b, TENSOR_DV, false, "dV"), b->key_lengths, NULL,
                                       b->query_lengths},
                 "P^T dO");
    cudnn_matmul(g,
                 (struct cudnn_matmul){d_o, v_turned, dp, b->query_lengths, b->key_lengths, NULL},
                 "dO V^T");
    pointwise(b, CUDNN_POINTWISE_SUB, dp, delta, centred, "dP - delta");
    pointwise(b, CUDNN_POINTWISE_MUL, centred, p, weighted, "P (dP - delta)");
    pointwise(b, CUDNN_POINTWISE_MUL, weighted, b->scale, ds, "dS");
    cudnn_matmul(g,
                 (struct cudnn_matmul){transposed(b, ds, "dS^T"), q,
                                       key_side(b, TENSOR_DK, false, "dK"), b->key_lengths, NULL,
                                       b->query_lengths},
                 "dS^T Q");
    build_dq(b, ds, k_turned);
}

ls_status cudnn_attention_graph(struct cudnn_graph *graph, const struct attention_shape *shape)
{
    struct build b = {.graph = graph, .shape = shape};
    if (shape->width % 8 != 0)
        return LS_FAIL(LS_DEVICE, "a head width of %d is no multiple of 8", shape->width);
    common(&b);
    if (shape->backward)
        build_backward(&b);
    else
        build_forward(&b);
    return cudnn_graph_finish(graph);
}
