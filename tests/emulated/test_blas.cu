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
        cmocka_unit_test(an_algorithm_counts_on_the_alignment_it_was_told),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
