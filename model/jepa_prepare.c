/* What depends on shapes is made before the first step.
 *
 * Every product belongs to one of five matrices, whose row count is a multiple of clips * bucket
 * within bounds that the mask config gives; attention looks at a bound on lengths, of which there
 * are few.  So the model's own code is walked through with each possible row count and bound, on
 * the device's `prepare` operators, which make plans and compute nothing: the list of shapes cannot
 * drift from what a step asks for. */
#include "model/jepa.h"

#include "model/jepa_parts.h"

/* Buckets of all sequences of a clip, over its groups. */
struct bucket_range {
    int fewest, most;
};

struct bucket_ranges {
    struct bucket_range query, context, predictor, prediction;
};

static int buckets_of(int64_t tokens, int bucket)
{
    return (int)((tokens + bucket - 1) / bucket);
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static struct bucket_ranges ranges_of(const struct layout_limits *l, int tokens)
{
    const struct bucket_range none = {l->groups, 0};
    struct bucket_ranges out = {{1, 0}, none, none, none};
    int64_t all_predicted = 0;
    for (int g = 0; g < l->groups; g++) {
        const int64_t context = smaller(l->max_context[g], tokens);
        const int64_t predicted = smaller(l->max_predicted[g], tokens);
        all_predicted += predicted;
        out.context.most += buckets_of(context, l->bucket);
        out.prediction.most += buckets_of(predicted, l->bucket);
        out.predictor.most += buckets_of(smaller(tokens, context + predicted), l->bucket);
    }
    out.query.most = buckets_of(smaller(tokens, all_predicted), l->bucket);
    return out;
}

static int64_t whole(int64_t rows, int64_t multiple)
{
    return (rows + multiple - 1) / multiple * multiple;
}

/* Rows of the `i`-th size of a matrix; beyond the last the last. */
static struct layout_rows rows_of(const struct jepa *jepa, struct bucket_range range, int i,
                                  int *sizes)
{
    const struct layout_limits *l = &jepa->limits;
    const int count = range.fewest + i < range.most ? range.fewest + i : range.most;
    const int64_t rows = (int64_t)l->clips * l->bucket * count;
    if (range.most - range.fewest + 1 > *sizes)
        *sizes = range.most - range.fewest + 1;
    return (struct layout_rows){
        .sequences = {.rows = whole(rows, l->row_multiple), .true_rows = rows}};
}

/* What attention looks at: the `i`-th bound on lengths of which `most` is the largest. */
static void bound(struct layout_rows *rows, const struct jepa *jepa, int i, int64_t most,
                  int64_t head_rows)
{
    const struct layout_limits *l = &jepa->limits;
    const int64_t length = (int64_t)l->bucket * (i + 1);
    rows->sequences.count = l->groups * l->clips;
    rows->sequences.head_rows = head_rows;
    rows->sequences.max_length = layout_bound(l, smaller(length, most));
}

/* A layout of which only row counts, and whether rows are selected, are looked at. */
static struct layout layout_of(const struct jepa *jepa, const struct bucket_ranges *ranges,
                               int tokens, int i, int *sizes)
{
    static const int32_t somewhere = 0;
    const struct layout_limits *l = &jepa->limits;
    const int64_t all = (int64_t)l->clips * tokens;
    int64_t context = 0;
    int64_t both = 0;
    for (int g = 0; g < l->groups; g++) {
        const int64_t here = smaller(l->max_context[g], tokens);
        context = here > context ? here : context;
        both = smaller(tokens, here + l->max_predicted[g]) > both
                   ? smaller(tokens, here + l->max_predicted[g])
                   : both;
    }
    struct layout out = {
        .clips = l->clips,
        .groups = l->groups,
        .tokens = tokens,
        .target = {.sequences = {.count = l->clips,
                                 .rows = whole(all, l->row_multiple),
                                 .true_rows = all,
                                 .head_rows = l->target_rows,
                                 .step = tokens,
                                 .max_length = tokens}},
        .queries = rows_of(jepa, ranges->query, i, sizes),
        .context = rows_of(jepa, ranges->context, i, sizes),
        .predictor = rows_of(jepa, ranges->predictor, i, sizes),
        .predictions = rows_of(jepa, ranges->prediction, i, sizes),
        .query_index_dev = &somewhere,
        .prediction_index_dev = &somewhere,
    };
    bound(&out.queries, jepa, i, l->tokens, l->query_rows);
    out.queries.sequences.count = l->clips;
    out.queries.sequences.max_length = layout_bound(l, l->tokens);
    bound(&out.context, jepa, i, context, l->context_rows);
    bound(&out.predictor, jepa, i, both, l->predictor_rows);
    bound(&out.predictions, jepa, i, both, l->prediction_rows);
    if (l->whole_target)
        out.queries = out.target;
    return out;
}

ls_status jepa_prepare(struct jepa *jepa, int frames)
{
    ls_status st = LS_OK;
    const struct jepa_options *o = &jepa->options;
    const int tokens =
        frames / o->shape.tubelet * (o->height / o->shape.patch) * (o->width / o->shape.patch);
    const struct layer_device on = jepa->on;
    if (on.ops->prepare == NULL || jepa->limits.bucket == 1)
        return LS_OK;
    if (frames < 1 || frames > o->frames)
        return LS_FAIL(LS_USAGE, "clips of %d frames: at most %d", frames, o->frames);
    const struct bucket_ranges ranges = ranges_of(&jepa->limits, tokens);
    const struct op_clips no_clips = {0};
    jepa->on.ops = on.ops->prepare;
    jepa->want_gram = true;
    int sizes = 1;
    for (int i = 0; i < sizes; i++) {
        struct layer_report report = {.end = jepa->parameters->flat_count};
        jepa->layout = layout_of(jepa, &ranges, tokens, i, &sizes);
        LS_TRY(jepa_run(jepa, no_clips, 0, 1.0, &report));
    }
done:
    jepa->layout = (struct layout){0};
    jepa->want_gram = false;
    jepa->on = on;
    return st;
}
