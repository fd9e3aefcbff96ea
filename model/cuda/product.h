/* Matrix products on cuBLASLt, with plans kept by shape. */
#ifndef LOCKSTEP_MODEL_CUDA_PRODUCT_H
#define LOCKSTEP_MODEL_CUDA_PRODUCT_H

#include "model/cuda/internal.h"

enum { ATTENTION_ROWS = 256, SUM_BLOCKS = 64 };

struct product { /* row-major: c[m,n] = beta c + op(a)[m,k] op(b)[k,n] (+ bias[n]) */
    struct op_matrix c, a, b;
    bool transpose_a, transpose_b;
    float beta;
    const void *bias_dev; /* of c's dtype, or NULL */
};

/* Blocks side by side over the rows of a matrix, at most SUM_BLOCKS: partial sums of a column. */
static inline int sum_blocks(int64_t rows)
{
    return rows >= 32 * SUM_BLOCKS ? SUM_BLOCKS : (int)blocks_of(rows, 32);
}

/* A plan that nobody prepared is made, and counted as a miss. */
ls_status product_run(struct op_device *device, const struct product *product) LS_MUST_CHECK;
/* See that the product's plan is there; runs nothing.  Only shapes, dtypes and alignments of the
 * operands count. */
ls_status product_prepare(struct op_device *device, const struct product *product) LS_MUST_CHECK;
ls_status product_plans_open(struct op_device *device) LS_MUST_CHECK;
void product_plans_free(struct op_device *device);

/* sums[c] += sum of x[r][c] over the rows, or over those whose index is -1, float32, in a fixed
 * order.  Takes scratch. */
ls_status column_sums(struct op_device *device, float *sums_dev, struct op_matrix x,
                      const int32_t *index_dev) LS_MUST_CHECK;

#endif
