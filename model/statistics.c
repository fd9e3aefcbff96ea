/* What shows a collapse: spread and rank of the targets, likeness of the predictions; and the loss
 * by token.
 *
 * Devices gather sums only; means, variances and ratios are made here, in double, from the sums of
 * all ranks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "model/jepa_parts.h"

enum { ARRAYS = 4 }; /* target sum, target square sum, prediction sum, prediction unit sum */

int64_t jepa_statistics_count(const struct jepa *jepa)
{
    return ARRAYS * (int64_t)jepa->options.shape.dim + 1;
}

ls_status jepa_statistics(struct jepa *jepa, double *out)
{
    ls_status st = LS_OK;
    const size_t bytes = ARRAYS * (size_t)jepa->options.shape.dim * sizeof(double);
    LS_TRY(jepa->on.ops->download(jepa->on.device, jepa->sums.host, jepa->sums.target_dev, bytes));
    LS_TRY(jepa->on.ops->synchronize(jepa->on.device));
    memcpy(out, jepa->sums.host, bytes);
    out[jepa_statistics_count(jepa) - 1] = (double)jepa->target_rows;
done:
    return st;
}

void jepa_statistics_reduce(const struct jepa *jepa, const double *summed, double *target_std,
                            double *prediction_cosine)
{
    const int64_t dim = jepa->options.shape.dim;
    const double *sum = summed;
    const double *square = sum + dim;
    const double *prediction = square + dim;
    const double *unit = prediction + dim;
    const double rows = summed[ARRAYS * dim];
    *target_std = 0.0;
    *prediction_cosine = 0.0;
    if (rows < 1.0)
        return;
    double length = 0.0;
    for (int64_t c = 0; c < dim; c++) {
        const double mean = sum[c] / rows;
        const double variance = square[c] / rows - mean * mean;
        *target_std += sqrt(variance > 0.0 ? variance : 0.0) / (double)dim;
        length += prediction[c] * prediction[c];
        *prediction_cosine += unit[c] / rows * prediction[c];
    }
    *prediction_cosine = length > 0.0 ? *prediction_cosine / sqrt(length) : 0.0;
}

ls_status jepa_gram(struct jepa *jepa, float *out)
{
    ls_status st = LS_OK;
    const size_t dim = (size_t)jepa->options.shape.dim;
    if (!jepa->want_gram) {
        st = LS_FAIL(LS_USAGE, "jepa_want_gram was not called in this step");
        goto done;
    }
    LS_TRY(jepa->on.ops->download(jepa->on.device, out, jepa->sums.gram_dev,
                                  dim * dim * sizeof(float)));
    LS_TRY(jepa->on.ops->synchronize(jepa->on.device));
done:
    return st;
}

/* Adds `count` rows to sum[dim]. */
static void add_rows(float *sum, const float *rows, int count, int64_t dim)
{
    for (int r = 0; r < count; r++)
        for (int64_t c = 0; c < dim; c++)
            sum[c] += rows[r * dim + c];
}

ls_status jepa_goal_means(struct jepa *jepa, float *out, float *scratch)
{
    ls_status st = LS_OK;
    const struct op_table *ops = jepa->on.ops;
    const struct op_sequences *rows = &jepa->layout.predictions.sequences;
    const int64_t dim = jepa->options.shape.dim;
    const int clips = jepa->layout.clips;
    if (jepa->layout.groups == 0)
        return LS_FAIL(LS_USAGE, "no micro-batch has run yet");
    memset(out, 0, (size_t)(clips * dim) * sizeof *out);
    for (int s = 0; s < rows->count; s++)
        for (int first = 0; first < rows->length[s]; first += JEPA_MEAN_ROWS) {
            int left = rows->length[s] - first;
            int count = left < JEPA_MEAN_ROWS ? left : JEPA_MEAN_ROWS;
            LS_TRY(ops->download(jepa->on.device, scratch,
                                 jepa->goals + (rows->start[s] + first) * dim,
                                 (size_t)(count * dim) * sizeof *scratch));
            LS_TRY(ops->synchronize(jepa->on.device));
            add_rows(out + s % clips * dim, scratch, count, dim);
        }
    for (int b = 0; b < clips; b++) {
        int tokens = 0;
        for (int s = b; s < rows->count; s += clips)
            tokens += rows->length[s];
        for (int64_t c = 0; c < dim && tokens > 0; c++)
            out[b * dim + c] /= (float)tokens;
    }
done:
    return st;
}

static double token_loss(const float *z, const float *h, int64_t dim, double p)
{
    double sum = 0.0;
    for (int64_t c = 0; c < dim; c++)
        sum += pow(fabs((double)z[c] - (double)h[c]), p);
    return sum / p / (double)dim;
}

ls_status jepa_token_losses(struct jepa *jepa, int group, double *out)
{
    ls_status st = LS_OK;
    const struct op_table *ops = jepa->on.ops;
    const struct op_sequences *rows = &jepa->layout.predictions.sequences;
    const int64_t dim = jepa->options.shape.dim;
    const int clips = jepa->layout.clips;
    float *z = NULL;
    float *h = NULL;
    if (group < 0 || group >= jepa->layout.groups)
        return LS_FAIL(LS_USAGE, "mask group %d of %d", group, jepa->layout.groups);
    LS_TRY(core_alloc(&z, rows->max_length * dim));
    LS_TRY(core_alloc(&h, rows->max_length * dim));
    for (int s = group * clips; s < (group + 1) * clips; s++) {
        const int64_t first = rows->start[s] * dim;
        const size_t bytes = (size_t)(rows->length[s] * dim) * sizeof *z;
        LS_TRY(
            ops->download(jepa->on.device, z, jepa->predictor_memory.predictions + first, bytes));
        LS_TRY(ops->download(jepa->on.device, h, jepa->goals + first, bytes));
        LS_TRY(ops->synchronize(jepa->on.device));
        for (int k = 0; k < rows->length[s]; k++)
            *out++ = token_loss(z + k * dim, h + k * dim, dim, jepa->options.loss_exponent);
    }
done:
    free(z);
    free(h);
    return st;
}

double jepa_target_rank(const struct jepa *jepa, const double *summed, const float *gram)
{
    const int64_t dim = jepa->options.shape.dim;
    const double rows = summed[ARRAYS * dim];
    double trace = 0.0;
    double trace_square = 0.0; /* of C^2: the sum of the squares of C's elements */
    if (rows < 1.0)
        return 0.0;
    for (int64_t i = 0; i < dim; i++)
        for (int64_t k = 0; k < dim; k++) {
            const double c =
                (double)gram[i * dim + k] / rows - summed[i] / rows * (summed[k] / rows);
            trace_square += c * c;
            if (i == k)
                trace += c;
        }
    return trace_square > 0.0 ? trace * trace / trace_square : 0.0;
}
