/* The stand-in for cuBLAS must refuse what the real library refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include <cublasLt.h>
#include <cublas_v2.h>

#include "tests/emulator/device.h"

enum { SIDE = 8 };

static float *device_floats(size_t count)
{
    float *memory = nullptr;
    assert_int_equal(cudaMalloc(reinterpret_cast<void **>(&memory), count * sizeof(float)),
                     cudaSuccess);
    (void)cudaMemset(memory, 0, count * sizeof(float));
    return memory;
}

static void a_leading_dimension_that_is_too_small_is_refused(void **)
{
    cublasHandle_t handle = nullptr;
    float *x = device_floats(SIDE * SIDE);
    float one = 1.0F;
    assert_int_equal(cublasCreate(&handle), CUBLAS_STATUS_SUCCESS);
    for (int lda : {int{SIDE}, SIDE - 1, 0})
        assert_int_equal(cublasGemmStridedBatchedEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, SIDE, SIDE,
                                                    SIDE, &one, x, CUDA_R_32F, lda, 0, x,
                                                    CUDA_R_32F, SIDE, 0, &one, x, CUDA_R_32F, SIDE,
                                                    0, 1, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                         lda == SIDE ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE);
    (void)cudaDeviceSynchronize();
    (void)cublasDestroy(handle);
    (void)cudaFree(x);
}

/* c = a b with `a` moved by `shift` elements, by an algorithm that was told `alignment` bytes, or
 * nothing. */
static cublasStatus_t multiply(float *memory, int shift, uint32_t alignment)
{
    cublasLtHandle_t handle = nullptr;
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t layout = nullptr;
    cublasLtMatmulPreference_t preference = nullptr;
    cublasLtMatmulHeuristicResult_t result;
    float one = 1.0F;
    float zero = 0.0F;
    int found = 0;
    (void)cublasLtCreate(&handle);
    (void)cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    (void)cublasLtMatrixLayoutCreate(&layout, CUDA_R_32F, SIDE, SIDE, SIDE);
    (void)cublasLtMatmulPreferenceCreate(&preference);
    if (alignment > 0)
        (void)cublasLtMatmulPreferenceSetAttribute(
            preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &alignment, sizeof alignment);
    (void)cublasLtMatmulAlgoGetHeuristic(handle, operation, layout, layout, layout, layout,
                                         preference, 1, &result, &found);
    assert_int_equal(found, 1);
    float *b = memory + 2 * SIDE * SIDE;
    float *c = memory + 4 * SIDE * SIDE;
    cublasStatus_t status =
        cublasLtMatmul(handle, operation, &one, memory + shift, layout, b, layout, &zero, c, layout,
                       c, layout, &result.algo, nullptr, 0, nullptr);
    (void)cudaDeviceSynchronize();
    (void)cublasLtMatmulPreferenceDestroy(preference);
    (void)cublasLtMatrixLayoutDestroy(layout);
    (void)cublasLtMatmulDescDestroy(operation);
    (void)cublasLtDestroy(handle);
    return status;
}

/* c += a b three times over, from the same start: whether all are equal bit by bit. */
static bool repeats_are_equal(uint32_t sums)
{
    enum { DEPTH = 96, REPEATS = 3 };
    cublasLtHandle_t handle = nullptr;
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t wide = nullptr;
    cublasLtMatrixLayout_t tall = nullptr;
    cublasLtMatrixLayout_t square = nullptr;
    cublasLtMatmulPreference_t preference = nullptr;
    cublasLtMatmulHeuristicResult_t result;
    float one = 1.0F;
    int found = 0;
    float *a = device_floats(SIDE * DEPTH);
    float *c[REPEATS];
    (void)cublasLtCreate(&handle);
    (void)cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    (void)cublasLtMatrixLayoutCreate(&wide, CUDA_R_32F, SIDE, DEPTH, SIDE);
    (void)cublasLtMatrixLayoutCreate(&tall, CUDA_R_32F, DEPTH, SIDE, DEPTH);
    (void)cublasLtMatrixLayoutCreate(&square, CUDA_R_32F, SIDE, SIDE, SIDE);
    (void)cublasLtMatmulPreferenceCreate(&preference);
    (void)cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &sums, sizeof sums);
    (void)cublasLtMatmulAlgoGetHeuristic(handle, operation, wide, tall, square, square, preference,
                                         1, &result, &found);
    assert_int_equal(found, 1);
    for (int i = 0; i < SIDE * DEPTH; i++)
        a[i] = 1.0F / (float)(i + 1);
    for (float *&to : c) {
        to = device_floats(SIDE * SIDE);
        assert_int_equal(cublasLtMatmul(handle, operation, &one, a, wide, a, tall, &one, to, square,
                                        to, square, &result.algo, nullptr, 0, nullptr),
                         CUBLAS_STATUS_SUCCESS);
        (void)cudaDeviceSynchronize();
    }
    const size_t bytes = SIDE * SIDE * sizeof(float);
    const bool equal = memcmp(c[0], c[1], bytes) == 0 && memcmp(c[0], c[2], bytes) == 0;
    for (float *made : c)
        (void)cudaFree(made);
    (void)cudaFree(a);
    (void)cublasLtMatmulPreferenceDestroy(preference);
    for (cublasLtMatrixLayout_t layout : {wide, tall, square})
        (void)cublasLtMatrixLayoutDestroy(layout);
    (void)cublasLtMatmulDescDestroy(operation);
    (void)cublasLtDestroy(handle);
    return equal;
}

static void sums_in_place_have_no_order(void **)
{
    assert_false(repeats_are_equal(CUBLASLT_REDUCTION_SCHEME_MASK));
    assert_true(repeats_are_equal(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
}

static void an_algorithm_counts_on_the_alignment_it_was_told(void **)
{
    float *memory = device_floats(6 * SIDE * SIDE);
    assert_int_equal(multiply(memory, 0, 0), CUBLAS_STATUS_SUCCESS);
    assert_int_equal(multiply(memory, 4, 0), CUBLAS_STATUS_INVALID_VALUE);
    assert_int_equal(multiply(memory, 4, 16), CUBLAS_STATUS_SUCCESS);
    assert_int_equal(multiply(memory, 1, 16), CUBLAS_STATUS_INVALID_VALUE);
    (void)cudaFree(memory);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leading_dimension_that_is_too_small_is_refused),
        cmocka_unit_test(sums_in_place_have_no_order),
        cmocka_unit_test(an_algorithm_counts_on_the_alignment_it_was_told),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
