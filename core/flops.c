/* Model FLOPs by counting: what the mathematics asks for, whatever a device pads or recomputes. */
#include "core/flops.h"

#include <stddef.h>

/* A linear map of `rows` rows. */
static double linear(double rows, double from, double to)
{
    return 2.0 * rows * from * to;
}

/* A block whose queries are `queries` of `rows` rows; `pairs` of a query and a key. */
static double block(double dim, double hidden, double rows, double queries, double pairs)
{
    return linear(queries, dim, dim) + linear(rows, dim, 2.0 * dim) + /* q; k and v */
           4.0 * pairs * dim +                                        /* scores and their values */
           linear(queries, dim, dim) + 2.0 * linear(queries, dim, hidden);
}

double flops_micro_batch(double *backward, const struct model_shape *s,
                         const struct flops_work *work)
{
    const double patch = 3.0 * s->tubelet * s->patch * s->patch;
    const double tokens = work->tokens;
    const double all = work->clips * tokens;
    const double queries = (double)work->target_queries;
    const double target = linear(all, patch, s->dim) +
                          (s->depth - 1) * block(s->dim, s->hidden, all, all, all * tokens) +
                          block(s->dim, s->hidden, all, queries, queries * tokens);
    double embed = 0.0;
    double trained = 0.0;
    for (int g = 0; g < work->groups; g++) {
        const double context = (double)work->clips * work->context_count[g];
        const double predicted = (double)work->clips * work->predicted_count[g];
        const double rows = context + predicted;
        const double length = work->context_count[g] + work->predicted_count[g];
        embed += linear(context, patch, s->dim);
        trained +=
            s->depth *
                block(s->dim, s->hidden, context, context, context * work->context_count[g]) +
            linear(context, s->dim, s->pred_dim) +
            (s->pred_depth - 1) * block(s->pred_dim, s->pred_hidden, rows, rows, rows * length) +
            block(s->pred_dim, s->pred_hidden, rows, predicted, predicted * length) +
            linear(predicted, s->pred_dim, s->dim);
    }
    /* Backward is two products for each of forward's; pixels need no gradient. */
    if (backward != NULL)
        *backward = embed + 2.0 * trained;
    return target + 2.0 * embed + 3.0 * trained;
}
