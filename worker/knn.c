/* Every test row is held against all training rows; the k best are kept in a short sorted list. */
#include "worker/knn.h"

#include <math.h>
#include <stdlib.h>

#include "core/files.h"

static void scale_rows(const struct knn_set *set, const double *mean, const double *factor)
{
    for (int64_t r = 0; r < set->count; r++) {
        float *row = set->rows + r * set->dim;
        double square = 0.0;
        for (int c = 0; c < set->dim; c++) {
            row[c] = (float)((row[c] - mean[c]) * factor[c]);
            square += (double)row[c] * (double)row[c];
        }
        const double length = square > 0.0 ? sqrt(square) : 1.0;
        for (int c = 0; c < set->dim; c++)
            row[c] = (float)(row[c] / length);
    }
}

ls_status knn_standardize(const struct knn_set *train, const struct knn_set *test)
{
    ls_status st = LS_OK;
    double *mean = NULL;
    double *factor = NULL;
    int64_t labelled = 0;
    LS_TRY(core_alloc(&mean, train->dim));
    LS_TRY(core_alloc(&factor, train->dim));
    for (int64_t r = 0; r < train->count; r++) {
        if (train->labels[r] < 0)
            continue;
        labelled++;
        for (int c = 0; c < train->dim; c++)
            mean[c] += (double)train->rows[r * train->dim + c];
    }
    for (int c = 0; c < train->dim && labelled > 0; c++)
        mean[c] /= (double)labelled;
    for (int64_t r = 0; r < train->count; r++)
        for (int c = 0; c < train->dim && train->labels[r] >= 0; c++)
            factor[c] += pow((double)train->rows[r * train->dim + c] - mean[c], 2);
    for (int c = 0; c < train->dim; c++)
        factor[c] = factor[c] > 0.0 ? sqrt((double)labelled / factor[c]) : 0.0;
    scale_rows(train, mean, factor);
    scale_rows(test, mean, factor);
done:
    free(mean);
    free(factor);
    return st;
}

struct neighbour {
    double cosine;
    int32_t label;
};

/* Insert behind those that are as near, so that the lower row stays first. */
static void take(struct neighbour *nearest, int *count, int k, struct neighbour next)
{
    int at = *count < k ? *count : k;
    if (at == k && !(next.cosine > nearest[k - 1].cosine))
        return;
    at = at == k ? k - 1 : at;
    while (at > 0 && next.cosine > nearest[at - 1].cosine) {
        nearest[at] = nearest[at - 1];
        at--;
    }
    nearest[at] = next;
    *count += *count < k ? 1 : 0;
}

static int32_t vote(const struct neighbour *nearest, int count, double *votes, int classes)
{
    int32_t best = 0;
    for (int c = 0; c < classes; c++)
        votes[c] = 0.0;
    for (int i = 0; i < count; i++)
        votes[nearest[i].label] += nearest[i].cosine;
    /* Far neighbours may have negative cosines: a class that none has is no answer. */
    double most = -INFINITY;
    for (int i = 0; i < count; i++) {
        const int32_t label = nearest[i].label;
        if (votes[label] > most || (label < best && votes[label] == most)) {
            most = votes[label];
            best = label;
        }
    }
    return best;
}

ls_status knn_predict(int32_t *predicted, const struct knn_set *train, const struct knn_set *test,
                      int k, int classes)
{
    ls_status st = LS_OK;
    struct neighbour *nearest = NULL;
    double *votes = NULL;
    LS_TRY(core_alloc(&nearest, k));
    LS_TRY(core_alloc(&votes, classes));
    for (int64_t t = 0; t < test->count; t++) {
        const float *row = test->rows + t * test->dim;
        int count = 0;
        predicted[t] = -1;
        for (int64_t r = 0; r < train->count && test->labels[t] >= 0; r++) {
            const float *other = train->rows + r * train->dim;
            struct neighbour next = {.label = train->labels[r]};
            if (next.label < 0)
                continue;
            for (int c = 0; c < train->dim; c++)
                next.cosine += (double)row[c] * (double)other[c];
            take(nearest, &count, k, next);
        }
        if (count > 0)
            predicted[t] = vote(nearest, count, votes, classes);
    }
done:
    free(nearest);
    free(votes);
    return st;
}
