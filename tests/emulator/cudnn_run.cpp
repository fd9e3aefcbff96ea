/* The stand-in's interpreter: every operation of a graph in order, element by element.
 *
 * Rows beyond a sequence's length hold NaN: in virtual tensors, and in the strided outputs, where
 * the real kernels may write what they like.  A graph that lets such a row reach a true one gives
 * NaN.  Operands of products are rounded to bf16, sums are float32.  EMULATOR_CUDNN_WRONG=scale or
 * =lengths makes it a faulty library, which must be noticed; with =sums it adds to dQ's float32
 * sums as it finds them, as cuDNN before 9.6 did. */
#include "tests/emulator/cudnn.h"
#include "tests/emulator/device.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace emulated_cudnn
{
namespace
{

const float NOWHERE = std::numeric_limits<float>::quiet_NaN();

float rounded(float x)
{
    return __bfloat162float(__float2bfloat16(x));
}

struct machine {
    const pack &bound;
    std::map<int64_t, std::vector<float>> values; /* of virtual tensors */
    std::map<int64_t, tensor_ref> views;          /* virtual tensors that are other memory */
    tensor_ref query_lengths;
    bool short_by_one; /* a faulty library: sequences lose a token */
    bool adds;         /* likewise: sums are not cleared first */

    int64_t length(const tensor_ref &lengths, int64_t batch, int64_t otherwise) const
    {
        if (lengths == nullptr)
            return otherwise;
        int32_t length = static_cast<const int32_t *>(bound.memory.at(lengths->id))[batch];
        return short_by_one && length > 1 ? length - 1 : length;
    }

    int64_t element(const tensor &t, const int64_t at[4]) const
    {
        int64_t out = 0;
        for (int d = 0; d < 4; d++) {
            if (d == 0 && t.ragged != nullptr)
                out += offset(*t.ragged, at[0]);
            else if (t.size[d] > 1)
                out += at[d] * t.stride[d];
        }
        return out;
    }

    int64_t offset(const tensor &t, int64_t batch) const
    {
        const void *memory = bound.memory.at(t.id);
        return t.type == CUDNN_DATA_INT64 ? static_cast<const int64_t *>(memory)[batch]
                                          : static_cast<const int32_t *>(memory)[batch];
    }

    std::vector<float> &room(const tensor &t)
    {
        std::vector<float> &v = values[t.id];
        if (v.empty())
            v.assign(static_cast<size_t>(t.size[0] * t.size[1] * t.size[2] * t.size[3]), NOWHERE);
        return v;
    }

    static size_t place(const tensor &t, const int64_t at[4])
    {
        size_t out = 0;
        for (int d = 0; d < 4; d++)
            out = out * static_cast<size_t>(t.size[d]) +
                  static_cast<size_t>(t.size[d] > 1 ? at[d] : 0);
        return out;
    }

    float read(const tensor_ref &t, const int64_t at[4])
    {
        if (t->by_value)
            return bound.numbers.at(t->id);
        if (t->is_virtual && views.count(t->id) == 0)
            return room(*t)[place(*t, at)];
        const tensor &memory = t->is_virtual ? *views.at(t->id) : *t;
        int64_t i = element(t->is_virtual ? viewed(*t, memory) : *t, at);
        const void *base = bound.memory.at(memory.id);
        switch (memory.type) {
        case CUDNN_DATA_BFLOAT16:
            return __bfloat162float(static_cast<const __nv_bfloat16 *>(base)[i]);
        case CUDNN_DATA_INT32:
            return static_cast<float>(static_cast<const int32_t *>(base)[i]);
        default:
            return static_cast<const float *>(base)[i];
        }
    }

    static tensor viewed(const tensor &t, const tensor &memory)
    {
        tensor out = t;
        out.ragged = memory.ragged;
        return out;
    }

    void write(const tensor_ref &t, const int64_t at[4], float value)
    {
        if (t->is_virtual) {
            room(*t)[place(*t, at)] = t->type == CUDNN_DATA_BFLOAT16 ? rounded(value) : value;
            return;
        }
        int64_t i = element(*t, at);
        void *base = bound.memory.at(t->id);
        if (t->type == CUDNN_DATA_BFLOAT16)
            static_cast<__nv_bfloat16 *>(base)[i] = __float2bfloat16(value);
        else
            static_cast<float *>(base)[i] = value;
    }

    /* A row of a real tensor that its sequence does not have: ragged ones must be left alone. */
    void write_beyond(const tensor_ref &t, const int64_t at[4])
    {
        if (t->is_virtual || t->ragged == nullptr)
            write(t, at, NOWHERE);
    }

    void attention(const operation &o);
    void product(const operation &o);
    void pointwise(const operation &o);
    void sum(const operation &o);
    void reshape(const operation &o);
    std::vector<float> packed(const tensor_ref &t, int64_t batch, int64_t head, int64_t rows,
                              int64_t columns);
    void attention_row(const operation &o, int64_t at[4], const std::vector<float> &q,
                       const std::vector<float> &k, const std::vector<float> &v);
    float pointwise_value(const operation &o, const int64_t at[4]);
    float side(const tensor_ref &t, const int64_t at[4]);
};

/* [rows][columns] of one sequence and head, rounded to bf16. */
std::vector<float> machine::packed(const tensor_ref &t, int64_t batch, int64_t head, int64_t rows,
                                   int64_t columns)
{
    std::vector<float> out(static_cast<size_t>(rows * columns));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            const int64_t at[4] = {batch, head, i, j};
            out[static_cast<size_t>(i * columns + j)] = rounded(read(t, at));
        }
    return out;
}

void machine::attention_row(const operation &o, int64_t at[4], const std::vector<float> &q,
                            const std::vector<float> &k, const std::vector<float> &v)
{
    const int64_t width = o.x->size[3];
    const int64_t keys = static_cast<int64_t>(k.size()) / width;
    const float scale = o.scale != nullptr ? bound.numbers.at(o.scale->id) : 1.0F;
    std::vector<float> p(static_cast<size_t>(keys));
    std::vector<float> value(static_cast<size_t>(width), 0.0F);
    float top = -std::numeric_limits<float>::infinity();
    for (int64_t key = 0; key < keys; key++) {
        float s = 0.0F;
        for (int64_t c = 0; c < width; c++)
            s +=
                q[static_cast<size_t>(at[2] * width + c)] * k[static_cast<size_t>(key * width + c)];
        p[static_cast<size_t>(key)] = s * scale;
        top = std::fmax(top, s * scale);
    }
    float total = 0.0F;
    for (int64_t key = 0; key < keys; key++) {
        float x = std::exp(p[static_cast<size_t>(key)] - top);
        total += x;
        for (int64_t c = 0; c < width; c++)
            value[static_cast<size_t>(c)] += rounded(x) * v[static_cast<size_t>(key * width + c)];
    }
    for (int64_t c = 0; c < width; c++) {
        const int64_t o_at[4] = {at[0], at[1], at[2], c};
        write(o.y, o_at, value[static_cast<size_t>(c)] / total);
    }
    if (o.lse != nullptr)
        write(o.lse, at, top + std::log(total));
}

void machine::attention(const operation &o)
{
    int64_t at[4] = {0, 0, 0, 0};
    for (at[0] = 0; at[0] < o.x->size[0]; at[0]++) {
        const int64_t queries = length(o.m, at[0], o.x->size[2]);
        const int64_t keys = length(o.n, at[0], o.b->size[2]);
        for (at[1] = 0; at[1] < o.x->size[1]; at[1]++) {
            const int64_t width = o.x->size[3];
            const std::vector<float> q = packed(o.x, at[0], at[1], queries, width);
            const std::vector<float> k = packed(o.b, at[0], at[1], keys, width);
            const std::vector<float> v = packed(o.t, at[0], at[1], keys, width);
            for (at[2] = 0; at[2] < o.x->size[2]; at[2]++) {
                at[3] = 0;
                if (at[2] < queries) {
                    attention_row(o, at, q, k, v);
                    continue;
                }
                for (at[3] = 0; at[3] < o.y->size[3]; at[3]++)
                    write_beyond(o.y, at);
                at[3] = 0;
                if (o.lse != nullptr)
                    write_beyond(o.lse, at);
            }
        }
    }
}

void machine::product(const operation &o)
{
    int64_t at[4] = {0, 0, 0, 0};
    for (at[0] = 0; at[0] < o.y->size[0]; at[0]++) {
        const int64_t m = length(o.m, at[0], o.y->size[2]);
        const int64_t n = length(o.n, at[0], o.y->size[3]);
        const int64_t k = length(o.k, at[0], o.x->size[3]);
        for (at[1] = 0; at[1] < o.y->size[1]; at[1]++) {
            const std::vector<float> x = packed(o.x, at[0], at[1], m, k);
            const std::vector<float> w = packed(o.b, at[0], at[1], k, n);
            for (at[2] = 0; at[2] < o.y->size[2]; at[2]++)
                for (at[3] = 0; at[3] < o.y->size[3]; at[3]++) {
                    if (at[2] >= m || at[3] >= n) {
                        write_beyond(o.y, at);
                        continue;
                    }
                    const bool sums = !o.y->is_virtual && o.y->type == CUDNN_DATA_FLOAT;
                    float value = sums && adds ? read(o.y, at) : 0.0F;
                    for (int64_t i = 0; i < k; i++)
                        value += x[static_cast<size_t>(at[2] * k + i)] *
                                 w[static_cast<size_t>(i * n + at[3])];
                    write(o.y, at, value);
                }
        }
    }
}

/* A pointwise operand: rows of real memory beyond the query sequence are not there. */
float machine::side(const tensor_ref &t, const int64_t at[4])
{
    const bool rows = !t->is_virtual && !t->by_value && t->size[2] > 1;
    if (rows && at[2] >= length(query_lengths, at[0], t->size[2]))
        return NOWHERE;
    return read(t, at);
}

float machine::pointwise_value(const operation &o, const int64_t at[4])
{
    switch (o.mode) {
    case CUDNN_POINTWISE_GEN_INDEX:
        return static_cast<float>(at[o.axis]);
    case CUDNN_POINTWISE_CMP_LT:
        return side(o.x, at) < side(o.b, at) ? 1.0F : 0.0F;
    case CUDNN_POINTWISE_LOGICAL_AND:
        return side(o.x, at) != 0.0F && side(o.b, at) != 0.0F ? 1.0F : 0.0F;
    case CUDNN_POINTWISE_BINARY_SELECT:
        return side(o.t, at) != 0.0F ? side(o.x, at) : side(o.b, at);
    case CUDNN_POINTWISE_MUL:
        return side(o.x, at) * side(o.b, at);
    case CUDNN_POINTWISE_SUB:
        return side(o.x, at) - side(o.b, at);
    case CUDNN_POINTWISE_EXP:
        return std::exp(side(o.x, at));
    default:
        return side(o.x, at);
    }
}

void machine::pointwise(const operation &o)
{
    int64_t at[4];
    for (at[0] = 0; at[0] < o.y->size[0]; at[0]++)
        for (at[1] = 0; at[1] < o.y->size[1]; at[1]++)
            for (at[2] = 0; at[2] < o.y->size[2]; at[2]++)
                for (at[3] = 0; at[3] < o.y->size[3]; at[3]++) {
                    if (!o.y->is_virtual && at[2] >= length(query_lengths, at[0], o.y->size[2]))
                        write_beyond(o.y, at);
                    else
                        write(o.y, at, pointwise_value(o, at));
                }
}

void machine::sum(const operation &o)
{
    int64_t at[4];
    for (at[0] = 0; at[0] < o.x->size[0]; at[0]++)
        for (at[1] = 0; at[1] < o.x->size[1]; at[1]++)
            for (at[2] = 0; at[2] < o.x->size[2]; at[2]++) {
                float value = 0.0F;
                for (at[3] = 0; at[3] < o.x->size[3]; at[3]++)
                    value += side(o.x, at);
                at[3] = 0;
                write(o.y, at, value);
            }
}

/* Only the last two sizes trade places; the strides say which element is which. */
void machine::reshape(const operation &o)
{
    if (!o.x->is_virtual) {
        views[o.y->id] = o.x;
        return;
    }
    int64_t at[4];
    for (at[0] = 0; at[0] < o.y->size[0]; at[0]++)
        for (at[1] = 0; at[1] < o.y->size[1]; at[1]++)
            for (at[2] = 0; at[2] < o.y->size[2]; at[2]++)
                for (at[3] = 0; at[3] < o.y->size[3]; at[3]++) {
                    const int64_t from[4] = {at[0], at[1], at[3], at[2]};
                    write(o.y, at, read(o.x, from));
                }
}

} // namespace

int64_t misaligned(const graph &g, const pack &bound)
{
    for (const operation &o : g.operations)
        for (const tensor_ref &each : {o.x, o.b, o.t, o.y, o.m, o.n, o.k, o.lse})
            for (const tensor_ref &t : {each, each != nullptr ? each->ragged : nullptr})
                if (t != nullptr && !t->is_virtual && !t->by_value &&
                    reinterpret_cast<uintptr_t>(bound.memory.at(t->id)) %
                            static_cast<uintptr_t>(t->alignment) !=
                        0)
                    return t->id;
    return 0;
}

void run(const graph &g, const pack &given)
{
    const char *wrong = std::getenv("EMULATOR_CUDNN_WRONG");
    pack p = given;
    if (wrong != nullptr && std::strcmp(wrong, "scale") == 0)
        for (auto &number : p.numbers)
            number.second *= std::isfinite(number.second) && number.second != 1.0F ? 1.25F : 1.0F;
    machine m{p,
              {},
              {},
              nullptr,
              wrong != nullptr && std::strcmp(wrong, "lengths") == 0,
              wrong != nullptr && std::strcmp(wrong, "sums") == 0};
    for (const operation &o : g.operations)
        if (o.kind == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR && m.query_lengths == nullptr)
            m.query_lengths = o.m;
    for (const operation &o : g.operations) {
        switch (o.kind) {
        case CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR:
            m.attention(o);
            break;
        case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
            m.product(o);
            break;
        case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
            m.pointwise(o);
            break;
        case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
            m.sum(o);
            break;
        default:
            m.reshape(o);
            break;
        }
    }
}

} // namespace emulated_cudnn
