/* Classes by nearest neighbours: what features tell without any training. */
#ifndef LOCKSTEP_WORKER_KNN_H
#define LOCKSTEP_WORKER_KNN_H

#include <stdint.h>

#include "core/status.h"

/* Labelled features, row after row. */
struct knn_set {
    float *rows;           /* [count, dim] */
    const int32_t *labels; /* [count]; -1: the row is passed over */
    int64_t count;
    int dim;
};

/* Each channel less its mean and over its deviation among the labelled rows of `train` (a channel
 * without deviation becomes 0), then each row over its length; `test` with the same numbers.  In
 * place.  Local.  Errors: LS_NOMEM. */
ls_status knn_standardize(const struct knn_set *train, const struct knn_set *test) LS_MUST_CHECK;

/* predicted[test->count]: the class with the largest sum of cosines among the k nearest rows of
 * `train`, both standardized; -1 for passed-over rows.  Equal cosines: the lower row first; equal
 * sums: the lower class.  Local.  Errors: LS_NOMEM. */
ls_status knn_predict(int32_t *predicted, const struct knn_set *train, const struct knn_set *test,
                      int k, int classes) LS_MUST_CHECK;

#endif
