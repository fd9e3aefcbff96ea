/* Linear layers on cuBLASLt.
 *
 * cuBLAS is column-major: our row-major c[m,n] is its C^T [n,m], so a product is asked for with
 * sides swapped.  A plan (descriptor, layouts, algorithm) is found once for a shape and kept.  With
 * bf16 output cuBLASLt wants the bias in bf16 too: it is cast into scratch first (N numbers).
 * cuBLASLt's GELU epilogue is the tanh form and is never used. */
#include "model/cuda/product.h"

#include <stdlib.h>
#include <string.h>

enum { BIAS_ALIGNMENT = 16, PLAN_SLOTS = 4096 };

struct product_key { /* what a plan depends on; compared as bytes */
    int64_t m, n, k;
    uint32_t in, out; /* enum op_dtype */
    uint32_t transpose_a, transpose_b, bias;
    uint32_t aligned_a, aligned_b, aligned_c; /* of row-major operands, in bytes */
};

struct product_plan {
    struct product_plan *next; /* with the same slot */
    struct product_key key;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algorithm;
};

static cudaDataType_t data_type(enum op_dtype dtype)
{
    return dtype == OP_F32 ? CUDA_R_32F : CUDA_R_16BF;
}

static void plan_free(struct product_plan *plan)
{
    if (plan->a != NULL)
        (void)cublasLtMatrixLayoutDestroy(plan->a);
    if (plan->b != NULL)
        (void)cublasLtMatrixLayoutDestroy(plan->b);
    if (plan->c != NULL)
        (void)cublasLtMatrixLayoutDestroy(plan->c);
    if (plan->operation != NULL)
        (void)cublasLtMatmulDescDestroy(plan->operation);
    free(plan);
}

ls_status product_plans_open(struct op_device *device)
{
    device->plans = (struct product_plan **)calloc(PLAN_SLOTS, sizeof(struct product_plan *));
    return device->plans != NULL ? LS_OK : LS_FAIL(LS_NOMEM, "out of memory for product plans");
}

void product_plans_free(struct op_device *device)
{
    for (int i = 0; device->plans != NULL && i < PLAN_SLOTS; i++)
        for (struct product_plan *plan = device->plans[i], *next = NULL; plan != NULL;
             plan = next) {
            next = plan->next;
            plan_free(plan);
        }
    free(device->plans);
    device->plans = NULL;
}

/* FNV-1a over the key's 32-bit words. */
static struct product_plan **slot_of(struct op_device *device, const struct product_key *key)
{
    static_assert(sizeof *key % sizeof(uint32_t) == 0, "keys are hashed by words");
    uint32_t words[sizeof *key / sizeof(uint32_t)];
    uint64_t hash = 0xcbf29ce484222325U;
    memcpy(words, key, sizeof *key);
    for (uint32_t word : words)
        hash = (hash ^ word) * 0x100000001b3U;
    return &device->plans[(hash ^ hash >> 32) % PLAN_SLOTS];
}

/* The largest power of two up to 256 that divides an address.  Unless told otherwise cuBLASLt
 * chooses algorithms that count on 256. */
static uint32_t alignment_of(const void *pointer_dev)
{
    uint32_t alignment = 256;
    while ((uintptr_t)pointer_dev % alignment != 0)
        alignment /= 2;
    return alignment;
}

static ls_status set_preferences(cublasLtMatmulPreference_t preference,
                                 const struct product_plan *plan)
{
    ls_status st = LS_OK;
    size_t workspace = BLAS_WORKSPACE_BYTES;
    /* Not in place: parts would be added in the output's type, in the order in which they come. */
    uint32_t sums = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        const uint32_t *value;
    } set[] = {
        {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &sums},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &plan->key.aligned_b}, /* sides swapped */
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &plan->key.aligned_a},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &plan->key.aligned_c},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &plan->key.aligned_c},
    };
    BLAS_TRY(cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace));
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        BLAS_TRY(cublasLtMatmulPreferenceSetAttribute(preference, set[i].attribute, set[i].value,
                                                      sizeof *set[i].value));
done:
    return st;
}

/* The first algorithm that cuBLASLt proposes: it sorts by expected time.  Split-k sums go through
 * the workspace, in a fixed order, in float32 also where the output is bf16. */
static ls_status choose_algorithm(struct op_device *device, struct product_plan *plan)
{
    ls_status st = LS_OK;
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t result;
    int found = 0;
    BLAS_TRY(cublasLtMatmulPreferenceCreate(&preference));
    LS_TRY(set_preferences(preference, plan));
    BLAS_TRY(cublasLtMatmulAlgoGetHeuristic(device->lt, plan->operation, plan->a, plan->b, plan->c,
                                            plan->c, preference, 1, &result, &found));
    if (found < 1) {
        st = LS_FAIL(LS_DEVICE, "cuBLASLt has no algorithm for a product of %lld x %lld x %lld",
                     (long long)plan->key.m, (long long)plan->key.n, (long long)plan->key.k);
        goto done;
    }
    plan->algorithm = result.algo;
done:
    if (preference != NULL)
        (void)cublasLtMatmulPreferenceDestroy(preference);
    return st;
}

static ls_status plan_make(struct op_device *device, struct product_plan *plan)
{
    ls_status st = LS_OK;
    cublasOperation_t side_a =
        plan->key.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N; /* sides swapped */
    cublasOperation_t side_b = plan->key.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    cudaDataType_t in = data_type((enum op_dtype)plan->key.in);
    cudaDataType_t out = data_type((enum op_dtype)plan->key.out);
    uint64_t m = (uint64_t)plan->key.m;
    uint64_t n = (uint64_t)plan->key.n;
    uint64_t k = (uint64_t)plan->key.k;
    BLAS_TRY(cublasLtMatmulDescCreate(&plan->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    BLAS_TRY(cublasLtMatmulDescSetAttribute(plan->operation, CUBLASLT_MATMUL_DESC_TRANSA, &side_a,
                                            sizeof side_a));
    BLAS_TRY(cublasLtMatmulDescSetAttribute(plan->operation, CUBLASLT_MATMUL_DESC_TRANSB, &side_b,
                                            sizeof side_b));
    if (plan->key.bias) {
        cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
        BLAS_TRY(cublasLtMatmulDescSetAttribute(plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE,
                                                &epilogue, sizeof epilogue));
        /* Stands in for the bias while an algorithm is chosen: no better aligned than biases are.
         */
        const void *bias_dev = (const char *)device->blas_workspace_dev + BIAS_ALIGNMENT;
        BLAS_TRY(cublasLtMatmulDescSetAttribute(plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                &bias_dev, sizeof bias_dev));
    }
    if (plan->key.transpose_b)
        BLAS_TRY(cublasLtMatrixLayoutCreate(&plan->a, in, k, n, (int64_t)k));
    else
        BLAS_TRY(cublasLtMatrixLayoutCreate(&plan->a, in, n, k, (int64_t)n));
    if (plan->key.transpose_a)
        BLAS_TRY(cublasLtMatrixLayoutCreate(&plan->b, in, m, k, (int64_t)m));
    else
        BLAS_TRY(cublasLtMatrixLayoutCreate(&plan->b, in, k, m, (int64_t)k));
    BLAS_TRY(cublasLtMatrixLayoutCreate(&plan->c, out, n, m, (int64_t)n));
    LS_TRY(choose_algorithm(device, plan));
done:
    return st;
}

static struct product_key key_of(const struct product *product)
{
    struct product_key key;
    memset(&key, 0, sizeof key);
    key.m = product->c.rows;
    key.n = product->c.columns;
    key.k = product->transpose_a ? product->a.rows : product->a.columns;
    key.in = product->a.dtype;
    key.out = product->c.dtype;
    key.transpose_a = product->transpose_a;
    key.transpose_b = product->transpose_b;
    key.bias = product->bias_dev != NULL;
    key.aligned_a = alignment_of(product->a.data_dev);
    key.aligned_b = alignment_of(product->b.data_dev);
    key.aligned_c = alignment_of(product->c.data_dev);
    return key;
}

/* The plan of a product, made when it is new: *made says so. */
static ls_status plan_find(struct op_device *device, struct product_plan **out, bool *made,
                           const struct product *product)
{
    ls_status st = LS_OK;
    struct product_plan *plan = NULL;
    const struct product_key key = key_of(product);
    struct product_plan **slot = slot_of(device, &key);
    *made = false;
    for (struct product_plan *p = *slot; p != NULL; p = p->next)
        if (memcmp(&p->key, &key, sizeof key) == 0) {
            *out = p;
            return LS_OK;
        }
    plan = (struct product_plan *)calloc(1, sizeof *plan);
    if (plan == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for a product plan");
    plan->key = key;
    LS_TRY(plan_make(device, plan));
    plan->next = *slot;
    *slot = plan;
    *out = plan;
    *made = true;
    plan = NULL;
done:
    if (plan != NULL)
        plan_free(plan);
    return st;
}

ls_status product_prepare(struct op_device *device, const struct product *product)
{
    ls_status st = LS_OK;
    struct product_plan *plan = NULL;
    bool made = false;
    if (product->c.rows > 0)
        LS_TRY(plan_find(device, &plan, &made, product));
    device->counts.prepared += made;
done:
    return st;
}

ls_status product_run(struct op_device *device, const struct product *product)
{
    ls_status st = LS_OK;
    struct product_plan *plan = NULL;
    bool made = false;
    float alpha = 1.0F;
    if (product->c.rows == 0)
        return LS_OK;
    if (product->a.dtype != product->b.dtype)
        return LS_FAIL(LS_USAGE, "a product of two dtypes");
    LS_TRY(plan_find(device, &plan, &made, product));
    device->counts.hits += !made;
    device->counts.misses += made;
    if (product->bias_dev != NULL)
        BLAS_TRY(cublasLtMatmulDescSetAttribute(plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                &product->bias_dev, sizeof product->bias_dev));
    BLAS_TRY(cublasLtMatmul(device->lt, plan->operation, &alpha, product->b.data_dev, plan->a,
                            product->a.data_dev, plan->b, &product->beta, product->c.data_dev,
                            plan->c, product->c.data_dev, plan->c, &plan->algorithm,
                            device->blas_workspace_dev, BLAS_WORKSPACE_BYTES, device->stream));
done:
    return st;
}

/* The bias in c's dtype, aligned as the epilogue's vector loads want it: itself, or a copy in
 * scratch. */
static ls_status bias_of(struct op_device *device, const void **out_dev, const float *b_dev,
                         int64_t n, enum op_dtype dtype)
{
    ls_status st = LS_OK;
    float *scratch_dev = NULL;
    *out_dev = b_dev;
    if (b_dev == NULL || (dtype == OP_F32 && alignment_of(b_dev) >= BIAS_ALIGNMENT))
        return LS_OK;
    LS_TRY(cuda_scratch(device, &scratch_dev, (size_t)n * sizeof(float)));
    LS_TRY(cast_cuda(device, (struct op_matrix){scratch_dev, 1, n, dtype},
                     (struct op_matrix){(void *)b_dev, 1, n, OP_F32}));
    *out_dev = scratch_dev;
done:
    return st;
}

ls_status linear_fwd_cuda(struct op_device *device, struct op_matrix y, struct op_matrix x,
                          struct op_matrix w, const float *b_dev, bool accumulate)
{
    ls_status st = LS_OK;
    struct product product = {y, x, w, false, true, accumulate ? 1.0F : 0.0F, NULL};
    if (x.columns != w.columns || y.columns != w.rows || x.rows != y.rows)
        return LS_FAIL(LS_USAGE, "linear: shapes do not fit");
    LS_TRY(bias_of(device, &product.bias_dev, b_dev, y.columns, y.dtype));
    LS_TRY(product_run(device, &product));
done:
    return st;
}

ls_status linear_bwd_data_cuda(struct op_device *device, struct op_matrix dx, struct op_matrix dy,
                               struct op_matrix w, bool accumulate)
{
    struct product product = {dx, dy, w, false, false, accumulate ? 1.0F : 0.0F, NULL};
    if (dx.columns != w.columns || dy.columns != w.rows || dx.rows != dy.rows)
        return LS_FAIL(LS_USAGE, "linear backward: shapes do not fit");
    return product_run(device, &product);
}

ls_status linear_bwd_weight_cuda(struct op_device *device, float *dw_dev, float *db_dev,
                                 struct op_matrix dy, struct op_matrix x)
{
    ls_status st = LS_OK;
    struct op_matrix dw = {dw_dev, dy.columns, x.columns, OP_F32};
    struct product product = {dw, dy, x, true, false, 1.0F, NULL};
    if (dy.rows != x.rows)
        return LS_FAIL(LS_USAGE, "linear backward: shapes do not fit");
    if (dy.rows == 0)
        return LS_OK;
    LS_TRY(product_run(device, &product));
    if (db_dev != NULL)
        LS_TRY(column_sums(device, db_dev, dy, NULL));
done:
    return st;
}

ls_status gram_cuda(struct op_device *device, float *gram_dev, struct op_matrix x)
{
    return linear_bwd_weight_cuda(device, gram_dev, NULL, x, x);
}
