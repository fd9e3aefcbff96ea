/* Stand-in for the parts of cuBLAS and cuBLASLt that model/cuda/ uses, over oneDNN's sgemm.
 *
 * Calls queue on their stream like the real ones, copy what the real ones copy at the call
 * (descriptors, scalars) and read device memory when they run.  Combinations that the real library
 * refuses are refused: mixed input types, a bias of another type than the output, leading
 * dimensions that are too small, operands that are not aligned as the algorithm was told (256 bytes
 * where it was told nothing).  An algorithm that may add up the parts of a split sum in place does
 * so in the output's type and in an order of its own, which changes from call to call. */
#include "tests/emulator/device.h"
#include "tests/emulator/runtime.h"

#include <algorithm>
#include <vector>

#include <cublasLt.h>
#include <cublas_v2.h>
#include <dnnl.h>

struct cublasLtContext {
    int open;
};

struct cublasContext {
    cudaStream_t stream;
};

namespace
{

struct descriptor { /* what the opaque cublasLtMatmulDescOpaque_t means here */
    cublasOperation_t side_a = CUBLAS_OP_N, side_b = CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    const void *bias = nullptr;
};

struct preference {
    uint64_t alignment[4] = {256, 256, 256, 256}; /* of a, b, c and d, in bytes */
    uint32_t sums = CUBLASLT_REDUCTION_SCHEME_MASK;
};

struct layout {
    cudaDataType type;
    uint64_t rows, columns;
    int64_t leading;
};

float read(const void *base, cudaDataType type, int64_t i)
{
    return type == CUDA_R_32F ? static_cast<const float *>(base)[i]
                              : __bfloat162float(static_cast<const __nv_bfloat16 *>(base)[i]);
}

void write(void *base, cudaDataType type, int64_t i, float value)
{
    if (type == CUDA_R_32F)
        static_cast<float *>(base)[i] = value;
    else
        static_cast<__nv_bfloat16 *>(base)[i] = __float2bfloat16(value);
}

/* A column-major matrix as packed float32, column after column. */
std::vector<float> packed(const void *base, cudaDataType type, int64_t rows, int64_t columns,
                          int64_t leading)
{
    std::vector<float> out(static_cast<size_t>(rows * columns));
    for (int64_t c = 0; c < columns; c++)
        for (int64_t r = 0; r < rows; r++)
            out[static_cast<size_t>(c * rows + r)] = read(base, type, c * leading + r);
    return out;
}

struct product { /* column-major c[m,n] = alpha op(a) op(b) + beta c (+ bias[m]) */
    bool transpose_a, transpose_b;
    int64_t m, n, k;
    float alpha, beta;
    const void *a, *b;
    void *c;
    int64_t lda, ldb, ldc;
    cudaDataType type_a, type_b, type_c;
    const void *bias;
    int first_part = -1; /* of a sum in place; -1: all at once */
};

enum { PARTS = 3 };

/* Add op(a) op(b) over [from, to) of k, row-major for oneDNN: it sees the transposes, with the
 * sides swapped. */
std::vector<float> multiplied(const product &p, const std::vector<float> &a,
                              const std::vector<float> &b, int64_t from, int64_t to)
{
    std::vector<float> c(static_cast<size_t>(p.m * p.n), 0.0F);
    const float *first_a = a.data() + from * (p.transpose_a ? 1 : p.m);
    const float *first_b = b.data() + from * (p.transpose_b ? p.n : 1);
    if (to > from)
        dnnl_sgemm(p.transpose_b ? 'T' : 'N', p.transpose_a ? 'T' : 'N', p.n, p.m, to - from,
                   p.alpha, first_b, p.transpose_b ? p.n : p.k, first_a, p.transpose_a ? p.k : p.m,
                   0.0F, c.data(), p.m);
    return c;
}

void run_in_place(product p)
{
    const int first = p.first_part;
    const int64_t k = p.k;
    std::vector<float> a =
        packed(p.a, p.type_a, p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.lda);
    std::vector<float> b =
        packed(p.b, p.type_b, p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.ldb);
    for (int i = 0; i < PARTS; i++) {
        const int part = (first + i) % PARTS;
        std::vector<float> c = multiplied(p, a, b, part * k / PARTS, (part + 1) * k / PARTS);
        for (int64_t at = 0; at < p.m * p.n; at++) {
            const int64_t place = at / p.m * p.ldc + at % p.m;
            float value = c[static_cast<size_t>(at)];
            if (i > 0 || p.beta != 0.0F)
                value += (i > 0 ? 1.0F : p.beta) * read(p.c, p.type_c, place);
            if (i == 0 && p.bias != nullptr)
                value += read(p.bias, p.type_c, at % p.m);
            write(p.c, p.type_c, place, value);
        }
    }
}

void run(const product &p)
{
    if (p.first_part >= 0) {
        run_in_place(p);
        return;
    }
    std::vector<float> a =
        packed(p.a, p.type_a, p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.lda);
    std::vector<float> b =
        packed(p.b, p.type_b, p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.ldb);
    std::vector<float> c = multiplied(p, a, b, 0, p.k);
    for (int64_t j = 0; j < p.n; j++)
        for (int64_t i = 0; i < p.m; i++) {
            float value = c[static_cast<size_t>(j * p.m + i)];
            if (p.beta != 0.0F)
                value += p.beta * read(p.c, p.type_c, j * p.ldc + i);
            if (p.bias != nullptr)
                value += read(p.bias, p.type_c, i);
            write(p.c, p.type_c, j * p.ldc + i, value);
        }
}

descriptor &of(cublasLtMatmulDesc_t d)
{
    return *reinterpret_cast<descriptor *>(d);
}

const layout &of(cublasLtMatrixLayout_t l)
{
    return *reinterpret_cast<const layout *>(l);
}

bool fits(const layout &a, const layout &b, const layout &c, const descriptor &d)
{
    uint64_t m = d.side_a == CUBLAS_OP_N ? a.rows : a.columns;
    uint64_t k = d.side_a == CUBLAS_OP_N ? a.columns : a.rows;
    uint64_t k2 = d.side_b == CUBLAS_OP_N ? b.rows : b.columns;
    uint64_t n = d.side_b == CUBLAS_OP_N ? b.columns : b.rows;
    bool types = a.type == b.type && (c.type == CUDA_R_32F || c.type == a.type);
    return types && m == c.rows && n == c.columns && k == k2;
}

} // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out)
{
    *out = new cublasLtContext{1};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    *out = reinterpret_cast<cublasLtMatmulDesc_t>(new descriptor());
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
    delete reinterpret_cast<descriptor *>(d);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes)
{
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        of(d).side_a = *static_cast<const cublasOperation_t *>(value);
        break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
        of(d).side_b = *static_cast<const cublasOperation_t *>(value);
        break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        of(d).epilogue = *static_cast<const cublasLtEpilogue_t *>(value);
        if (of(d).epilogue != CUBLASLT_EPILOGUE_DEFAULT && of(d).epilogue != CUBLASLT_EPILOGUE_BIAS)
            return CUBLAS_STATUS_NOT_SUPPORTED;
        break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        if (bytes != sizeof(void *))
            return CUBLAS_STATUS_INVALID_VALUE;
        of(d).bias = *static_cast<const void *const *>(value);
        break;
    default:
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t leading)
{
    if (leading < static_cast<int64_t>(rows) || (type != CUDA_R_32F && type != CUDA_R_16BF))
        return CUBLAS_STATUS_INVALID_VALUE;
    *out = reinterpret_cast<cublasLtMatrixLayout_t>(new layout{type, rows, columns, leading});
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    delete reinterpret_cast<layout *>(l);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    *out = reinterpret_cast<cublasLtMatmulPreference_t>(new preference());
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    delete reinterpret_cast<preference *>(p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t)
{
    int which = attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
    if (which >= 0 && which < 4)
        reinterpret_cast<preference *>(p)->alignment[which] = *static_cast<const uint32_t *>(value);
    if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
        reinterpret_cast<preference *>(p)->sums = *static_cast<const uint32_t *>(value);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t p, int,
                                              cublasLtMatmulHeuristicResult_t *results, int *found)
{
    bool epilogue = of(d).epilogue == CUBLASLT_EPILOGUE_DEFAULT || of(d).bias != nullptr;
    *found = epilogue && fits(of(a), of(b), of(c), of(d)) ? 1 : 0;
    std::memset(results, 0, sizeof *results);
    for (int i = 0; i < 4; i++)
        results->algo.data[i] = reinterpret_cast<preference *>(p)->alignment[i];
    results->algo.data[4] =
        reinterpret_cast<preference *>(p)->sums & CUBLASLT_REDUCTION_SCHEME_INPLACE;
    return *found > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t d, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t layout_a, const void *b,
                              cublasLtMatrixLayout_t layout_b, const void *beta, const void *c,
                              cublasLtMatrixLayout_t layout_c, void *out, cublasLtMatrixLayout_t,
                              const cublasLtMatmulAlgo_t *algorithm, void *, size_t,
                              cudaStream_t stream)
{
    const void *operands[4] = {a, b, c, out};
    for (int i = 0; i < 4; i++)
        if (reinterpret_cast<uintptr_t>(operands[i]) % algorithm->data[i] != 0)
            return CUBLAS_STATUS_INVALID_VALUE;
    const layout &la = of(layout_a);
    const layout &lb = of(layout_b);
    const layout &lc = of(layout_c);
    const descriptor &desc = of(d);
    if (!fits(la, lb, lc, desc) || c != out)
        return CUBLAS_STATUS_INVALID_VALUE;
    bool bias = desc.epilogue == CUBLASLT_EPILOGUE_BIAS;
    product p{desc.side_a == CUBLAS_OP_T,
              desc.side_b == CUBLAS_OP_T,
              static_cast<int64_t>(lc.rows),
              static_cast<int64_t>(lc.columns),
              static_cast<int64_t>(desc.side_a == CUBLAS_OP_T ? la.rows : la.columns),
              *static_cast<const float *>(alpha),
              *static_cast<const float *>(beta),
              a,
              b,
              out,
              la.leading,
              lb.leading,
              lc.leading,
              la.type,
              lb.type,
              lc.type,
              bias ? desc.bias : nullptr};
    static int calls;
    if (algorithm->data[4] != 0 && p.k >= PARTS)
        p.first_part = calls++ % PARTS;
    if (bias && (desc.bias == nullptr || reinterpret_cast<uintptr_t>(desc.bias) % 16 != 0))
        return CUBLAS_STATUS_INVALID_VALUE;
    emulator_enqueue(stream, [p]() { run(p); });
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasCreate_v2(cublasHandle_t *out)
{
    *out = new cublasContext{nullptr};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle)
{
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t)
{
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t, void *, size_t)
{
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t side_a,
                                          cublasOperation_t side_b, int m, int n, int k,
                                          const void *alpha, const void *a, cudaDataType type_a,
                                          int lda, long long stride_a, const void *b,
                                          cudaDataType type_b, int ldb, long long stride_b,
                                          const void *beta, void *c, cudaDataType type_c, int ldc,
                                          long long stride_c, int count,
                                          cublasComputeType_t compute, cublasGemmAlgo_t)
{
    if (compute != CUBLAS_COMPUTE_32F || type_a != type_b)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (m < 0 || n < 0 || k < 0 || lda < std::max(1, side_a == CUBLAS_OP_N ? m : k) ||
        ldb < std::max(1, side_b == CUBLAS_OP_N ? k : n) || ldc < std::max(1, m))
        return CUBLAS_STATUS_INVALID_VALUE;
    auto advance = [](const void *base, cudaDataType type, long long elements) {
        return static_cast<const char *>(base) + elements * (type == CUDA_R_32F ? 4 : 2);
    };
    for (int i = 0; i < count; i++) {
        product p{side_a == CUBLAS_OP_T,
                  side_b == CUBLAS_OP_T,
                  m,
                  n,
                  k,
                  *static_cast<const float *>(alpha),
                  *static_cast<const float *>(beta),
                  advance(a, type_a, i * stride_a),
                  advance(b, type_b, i * stride_b),
                  const_cast<char *>(advance(c, type_c, i * stride_c)),
                  lda,
                  ldb,
                  ldc,
                  type_a,
                  type_b,
                  type_c,
                  nullptr};
        emulator_enqueue(handle->stream, [p]() { run(p); });
    }
    return CUBLAS_STATUS_SUCCESS;
}

} /* extern "C" */
