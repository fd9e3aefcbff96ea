/* Attention without a fused library: cuBLAS products for a block of query rows of all heads, and a
 * softmax kernel between.
 *
 * Scores of ATTENTION_ROWS query rows against one sequence's keys live in scratch, never an N x N
 * matrix.  Float32 products use no TF32.  Backward recomputes the probabilities from lse. */
#include "model/cuda/attention.h"
#include "model/cuda/product.h"

#include <math.h>

struct attention { /* one call's shape */
    struct op_device *device;
    enum op_dtype dtype;
    int heads, width;
    int64_t query_rows, key_rows;
    float scale;
};

struct span {           /* one block of query rows of one sequence */
    int64_t query, key; /* first rows */
    int rows, keys;
};

static size_t element_bytes(enum op_dtype dtype)
{
    return dtype == OP_F32 ? 4 : 2;
}

static const char *at(const void *base_dev, int64_t element, enum op_dtype dtype)
{
    return (const char *)base_dev + (size_t)element * element_bytes(dtype);
}

static cudaDataType_t type_of(enum op_dtype dtype)
{
    return dtype == OP_F32 ? CUDA_R_32F : CUDA_R_16BF;
}

struct batched { /* column-major product for all heads: c = alpha op(a) op(b) + beta c */
    cublasOperation_t side_a, side_b;
    int m, n, k;
    float alpha, beta;
    const void *a_dev, *b_dev;
    void *c_dev;
    int lda, ldb, ldc;
    long long stride_a, stride_b, stride_c;
    enum op_dtype in_a, in_b, out;
};

static ls_status run_batched(const struct attention *call, const struct batched *p)
{
    ls_status st = LS_OK;
    BLAS_TRY(cublasGemmStridedBatchedEx(call->device->blas, p->side_a, p->side_b, p->m, p->n, p->k,
                                        &p->alpha, p->a_dev, type_of(p->in_a), p->lda, p->stride_a,
                                        p->b_dev, type_of(p->in_b), p->ldb, p->stride_b, &p->beta,
                                        p->c_dev, type_of(p->out), p->ldc, p->stride_c, call->heads,
                                        CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
done:
    return st;
}

/* scores[head][row][key] = alpha x y^T for rows of x and keys of y, both [head][...][width];
 * float32. */
static ls_status run_scores(const struct attention *call, float *scores_dev, const void *x_dev,
                            int64_t x_stride, int ldx, const void *y_dev, const struct span *span,
                            float alpha)
{
    struct batched p = {CUBLAS_OP_T, CUBLAS_OP_N,
                        span->keys,  span->rows,
                        call->width, alpha,
                        0.0F,        at(y_dev, span->key * call->width, call->dtype),
                        x_dev,       scores_dev,
                        call->width, ldx,
                        span->keys,  call->key_rows * call->width,
                        x_stride,    (long long)ATTENTION_ROWS * span->keys,
                        call->dtype, call->dtype,
                        OP_F32};
    return run_batched(call, &p);
}

/* Block (row, head), 128 threads along the keys: softmax of one row, in the dtype of the products,
 * and its lse.  Reads the row of scores three times (from L2 after the first) and writes it once:
 * bound by memory.  Sums in float32 by a fixed tree; up to 65535 heads. */
template <typename P>
static __global__ void softmax_kernel(P *probabilities, const float *scores, float *lse, int keys,
                                      int64_t lse_stride)
{
    static __shared__ float share[2][4];
    int64_t row = (int64_t)blockIdx.y * ATTENTION_ROWS + blockIdx.x;
    const float *from = scores + row * keys;
    float top = -INFINITY;
    for (int k = threadIdx.x; k < keys; k += blockDim.x)
        top = fmaxf(top, from[k]);
    top = warp_max(top);
    if (threadIdx.x % WARP == 0)
        share[0][threadIdx.x / WARP] = top;
    __syncthreads();
    top = fmaxf(fmaxf(share[0][0], share[0][1]), fmaxf(share[0][2], share[0][3]));
    float sum = 0.0F;
    for (int k = threadIdx.x; k < keys; k += blockDim.x)
        sum += expf(from[k] - top);
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0)
        share[1][threadIdx.x / WARP] = sum;
    __syncthreads();
    sum = share[1][0] + share[1][1] + share[1][2] + share[1][3];
    float inverse = 1.0F / sum;
    for (int k = threadIdx.x; k < keys; k += blockDim.x)
        store(probabilities + row * keys + k, expf(from[k] - top) * inverse);
    if (lse != NULL && threadIdx.x == 0)
        lse[blockIdx.y * lse_stride + blockIdx.x] = top + logf(sum);
}

/* o = P v for the rows of a span. */
static ls_status run_values(const struct attention *call, struct op_matrix o,
                            const void *probabilities_dev, const void *v_dev,
                            const struct span *span)
{
    int columns = (int)o.columns;
    struct batched p = {CUBLAS_OP_N,
                        CUBLAS_OP_N,
                        call->width,
                        span->rows,
                        span->keys,
                        1.0F,
                        0.0F,
                        at(v_dev, span->key * call->width, call->dtype),
                        probabilities_dev,
                        (void *)at(o.data_dev, span->query * columns, o.dtype),
                        call->width,
                        span->keys,
                        columns,
                        call->key_rows * call->width,
                        (long long)ATTENTION_ROWS * span->keys,
                        call->width,
                        call->dtype,
                        call->dtype,
                        o.dtype};
    return run_batched(call, &p);
}

static ls_status forward_span(const struct attention *call, struct op_matrix o, float *lse_dev,
                              const void *q_dev, const void *k_dev, const void *v_dev,
                              const struct span *span)
{
    ls_status st = LS_OK;
    float *scores_dev = NULL;
    size_t block = (size_t)call->heads * ATTENTION_ROWS * (size_t)span->keys;
    void *probabilities_dev = NULL;
    LS_TRY(cuda_scratch(call->device, &scores_dev, 2 * block * sizeof(float)));
    probabilities_dev = scores_dev + block;
    LS_TRY(run_scores(call, scores_dev, at(q_dev, span->query * call->width, call->dtype),
                      call->query_rows * call->width, call->width, k_dev, span, call->scale));
    LS_BY_DTYPE(call->dtype, P, {
        auto kernel = softmax_kernel<P>;
        LS_LAUNCH(kernel, dim3((unsigned)span->rows, (unsigned)call->heads), 128, 0,
                  call->device->stream, (P *)probabilities_dev, (const float *)scores_dev,
                  lse_dev != NULL ? lse_dev + span->query : NULL, span->keys, call->query_rows);
    });
    LS_TRY(launch_check("softmax"));
    LS_TRY(run_values(call, o, probabilities_dev, v_dev, span));
done:
    return st;
}

static ls_status describe(struct attention *out, struct op_device *device,
                          const struct attention_args *args)
{
    const struct op_sequences *queries = args->queries;
    const struct op_sequences *keys = args->keys;
    if (args->heads < 1 || args->head_width < 1 || queries->count != keys->count ||
        args->o.rows != queries->rows || queries->head_rows < queries->rows ||
        keys->head_rows < keys->rows || args->o.columns != (int64_t)args->heads * args->head_width)
        return LS_FAIL(LS_USAGE,
                       "attention: %d heads of %d, %d query and %d key sequences do not fit "
                       "[%lld, %lld]",
                       args->heads, args->head_width, queries->count, keys->count,
                       (long long)args->o.rows, (long long)args->o.columns);
    for (int s = 0; s < keys->count; s++)
        if (keys->length[s] > keys->max_length)
            return LS_FAIL(LS_USAGE, "attention: sequence %d is longer than max_length", s);
    out->device = device;
    out->dtype = args->o.dtype;
    out->heads = args->heads;
    out->width = args->head_width;
    out->query_rows = args->queries->head_rows;
    out->key_rows = args->keys->head_rows;
    out->scale = (float)(1.0 / sqrt((double)args->head_width));
    return LS_OK;
}

/* Padding rows and queries without a key get zeros. */
static bool any_row_without_keys(const struct op_sequences *queries,
                                 const struct op_sequences *keys)
{
    bool any = queries->true_rows < queries->rows;
    for (int s = 0; s < keys->count; s++)
        any = any || keys->length[s] == 0;
    return any;
}

ls_status attention_plain_fwd(struct op_device *device, const struct attention_args *args)
{
    ls_status st = LS_OK;
    struct attention call;
    struct op_matrix o = args->o;
    const struct op_sequences *queries = args->queries;
    const struct op_sequences *keys = args->keys;
    LS_TRY(describe(&call, device, args));
    if (any_row_without_keys(queries, keys))
        LS_TRY(
            zero_cuda(device, o.data_dev, (size_t)(o.rows * o.columns) * element_bytes(o.dtype)));
    for (int s = 0; s < queries->count; s++)
        for (int row = 0; row < queries->length[s] && keys->length[s] > 0; row += ATTENTION_ROWS) {
            int left = queries->length[s] - row;
            struct span span = {queries->start[s] + row, keys->start[s],
                                left < ATTENTION_ROWS ? left : ATTENTION_ROWS, keys->length[s]};
            LS_TRY(forward_span(&call, o, args->lse_dev, args->q_dev, args->k_dev, args->v_dev,
                                &span));
        }
done:
    return st;
}

/* delta[head][row] = sum over the head's columns of dO * O: one warp a (row, head).  Reads both
 * once: bound by memory; float32, a fixed tree. */
template <typename T>
static __global__ void delta_kernel(float *delta, const T *d_o, const T *o, int64_t head_rows,
                                    int width, int heads)
{
    int64_t row = blockIdx.x;
    int head = (int)(blockIdx.y * (blockDim.x / WARP) + threadIdx.x / WARP);
    if (head >= heads)
        return;
    int64_t base = (row * heads + head) * width;
    float sum = 0.0F;
    for (int c = threadIdx.x % WARP; c < width; c += WARP)
        sum += load(d_o + base + c) * load(o + base + c);
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0)
        delta[head * head_rows + row] = sum;
}

/* P = exp(S - lse) and dS = P (dP - delta) in the dtype of the products.  Block (row, head),
 * threads along the keys.  Reads two float32 blocks and writes two: bound by memory; no sums. */
template <typename P>
static __global__ void dscores_kernel(P *p_out, P *ds_out, const float *scores, const float *dp,
                                      const float *lse, const float *delta, int keys,
                                      int64_t stride, float scale)
{
    int64_t row = (int64_t)blockIdx.y * ATTENTION_ROWS + blockIdx.x;
    float l = lse[blockIdx.y * stride + blockIdx.x];
    float d = delta[blockIdx.y * stride + blockIdx.x];
    for (int k = threadIdx.x; k < keys; k += blockDim.x) {
        float p = expf(scores[row * keys + k] - l);
        store(p_out + row * keys + k, p);
        store(ds_out + row * keys + k, p * (dp[row * keys + k] - d) * scale);
    }
}

struct gradients { /* float32 accumulators of dk and dv are the outputs themselves in float32,
                      scratch in bf16 */
    void *dq_dev;
    float *dk_dev, *dv_dev;
    const float *delta_dev;
    float *scores_dev; /* 4 blocks: S, dP, P, dS */
};

static ls_status backward_span(const struct attention *call, const struct gradients *g,
                               struct op_matrix d_o, const float *lse_dev, const void *q_dev,
                               const void *k_dev, const void *v_dev, const struct span *span,
                               bool first)
{
    ls_status st = LS_OK;
    int width = call->width;
    int columns = (int)d_o.columns;
    enum op_dtype dtype = call->dtype;
    size_t block = (size_t)call->heads * ATTENTION_ROWS * (size_t)span->keys;
    float *s_dev = g->scores_dev;
    float *dp_dev = s_dev + block;
    void *p_dev = dp_dev + block;
    void *ds_dev = dp_dev + 2 * block;
    const void *q_at = at(q_dev, span->query * width, dtype);
    const void *do_at = at(d_o.data_dev, span->query * columns, dtype);
    long long stride = (long long)ATTENTION_ROWS * span->keys;
    long long query_stride = call->query_rows * width;
    long long key_stride = call->key_rows * width;
    float beta = first ? 0.0F : 1.0F;
    struct batched dq = {CUBLAS_OP_N, CUBLAS_OP_N,
                         width,       span->rows,
                         span->keys,  1.0F,
                         0.0F,        at(k_dev, span->key * width, dtype),
                         ds_dev,      (void *)at(g->dq_dev, span->query * width, dtype),
                         width,       span->keys,
                         width,       key_stride,
                         stride,      query_stride,
                         dtype,       dtype,
                         dtype};
    struct batched dk = {
        CUBLAS_OP_N, CUBLAS_OP_T, width, span->keys,   span->rows,
        1.0F,        beta,        q_at,  ds_dev,       g->dk_dev + span->key * width,
        width,       span->keys,  width, query_stride, stride,
        key_stride,  dtype,       dtype, OP_F32};
    struct batched dv = {CUBLAS_OP_N, CUBLAS_OP_T, width, span->keys, span->rows,
                         1.0F,        beta,        do_at, p_dev,      g->dv_dev + span->key * width,
                         columns,     span->keys,  width, width,      stride,
                         key_stride,  dtype,       dtype, OP_F32};
    LS_TRY(run_scores(call, s_dev, q_at, query_stride, width, k_dev, span, call->scale));
    LS_TRY(run_scores(call, dp_dev, do_at, width, columns, v_dev, span, 1.0F));
    LS_BY_DTYPE(dtype, P, {
        auto kernel = dscores_kernel<P>;
        LS_LAUNCH(kernel, dim3((unsigned)span->rows, (unsigned)call->heads), 128, 0,
                  call->device->stream, (P *)p_dev, (P *)ds_dev, (const float *)s_dev,
                  (const float *)dp_dev, lse_dev + span->query, g->delta_dev + span->query,
                  span->keys, call->query_rows, call->scale);
    });
    LS_TRY(launch_check("dscores"));
    LS_TRY(run_batched(call, &dq));
    LS_TRY(run_batched(call, &dk));
    LS_TRY(run_batched(call, &dv));
done:
    return st;
}

static ls_status backward_all(const struct attention *call, const struct gradients *g,
                              struct op_matrix d_o, const float *lse_dev, const void *q_dev,
                              const void *k_dev, const void *v_dev,
                              const struct op_sequences *queries, const struct op_sequences *keys)
{
    ls_status st = LS_OK;
    for (int s = 0; s < queries->count; s++)
        for (int row = 0; row < queries->length[s] && keys->length[s] > 0; row += ATTENTION_ROWS) {
            int left = queries->length[s] - row;
            struct span span = {queries->start[s] + row, keys->start[s],
                                left < ATTENTION_ROWS ? left : ATTENTION_ROWS, keys->length[s]};
            LS_TRY(backward_span(call, g, d_o, lse_dev, q_dev, k_dev, v_dev, &span, row == 0));
        }
done:
    return st;
}

ls_status attention_plain_bwd(struct op_device *device, const struct attention_args *args)
{
    struct op_matrix o = args->o;
    struct op_matrix d_o = args->d_o;
    const struct op_sequences *queries = args->queries;
    const struct op_sequences *keys = args->keys;
    int heads = args->heads;
    int head_width = args->head_width;
    ls_status st = LS_OK;
    struct attention call;
    struct gradients g = {};
    float *scratch_dev = NULL;
    size_t keys_count = (size_t)heads * (size_t)keys->head_rows * (size_t)head_width;
    size_t queries_count = (size_t)heads * (size_t)queries->head_rows * (size_t)head_width;
    size_t delta_count = (size_t)heads * (size_t)queries->head_rows;
    bool direct = o.dtype == OP_F32;
    size_t scores = 4 * (size_t)heads * ATTENTION_ROWS * (size_t)keys->max_length;
    LS_TRY(describe(&call, device, args));
    LS_TRY(cuda_scratch(device, &scratch_dev,
                        (delta_count + scores + (direct ? 0 : 2 * keys_count)) * sizeof(float)));
    g.dq_dev = args->dq_dev;
    g.scores_dev = scratch_dev + delta_count;
    g.dk_dev = direct ? (float *)args->dk_dev : g.scores_dev + scores;
    g.dv_dev = direct ? (float *)args->dv_dev : g.dk_dev + keys_count;
    g.delta_dev = scratch_dev;
    LS_TRY(zero_cuda(device, args->dq_dev, queries_count * element_bytes(o.dtype)));
    LS_TRY(zero_cuda(device, g.dk_dev, keys_count * sizeof(float)));
    LS_TRY(zero_cuda(device, g.dv_dev, keys_count * sizeof(float)));
    if (o.rows > 0) {
        LS_BY_DTYPE(o.dtype, T, {
            auto kernel = delta_kernel<T>;
            LS_LAUNCH(kernel, dim3((unsigned)o.rows, blocks_of(heads, 4)), 4 * WARP, 0,
                      device->stream, scratch_dev, (const T *)d_o.data_dev, (const T *)o.data_dev,
                      queries->head_rows, head_width, heads);
        });
        LS_TRY(launch_check("delta"));
    }
    LS_TRY(backward_all(&call, &g, d_o, args->lse_dev, args->q_dev, args->k_dev, args->v_dev,
                        queries, keys));
    if (!direct) {
        int64_t count = (int64_t)keys_count;
        LS_TRY(cast_cuda(device, op_matrix{args->dk_dev, 1, count, OP_BF16},
                         op_matrix{g.dk_dev, 1, count, OP_F32}));
        LS_TRY(cast_cuda(device, op_matrix{args->dv_dev, 1, count, OP_BF16},
                         op_matrix{g.dv_dev, 1, count, OP_F32}));
    }
done:
    return st;
}

size_t attention_plain_bytes(const struct op_limits *limits)
{
    size_t heads = (size_t)limits->heads;
    size_t rows = (size_t)limits->rows;
    return (4 * heads * ATTENTION_ROWS * (size_t)limits->max_length + heads * rows +
            2 * rows * heads * (size_t)limits->head_width) *
           sizeof(float);
}
