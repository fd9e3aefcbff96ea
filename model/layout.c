/* Fills the index arrays of a micro-batch in one go. */
#include <string.h>

#include "model/layout_parts.h"

enum { PADDING = -2, MASK_TOKEN = -1 };

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static ls_status check_list(const int32_t *list, int clips, int count, int limit, int tokens,
                            int group, const char *what)
{
    if (list == NULL || count < 1 || count > limit)
        return LS_FAIL(LS_USAGE, "mask group %d: %d %s tokens a clip, but the limits are 1 and %d",
                       group, count, what, limit);
    for (int64_t i = 0; i < (int64_t)clips * count; i++)
        if (list[i] < 0 || list[i] >= tokens)
            return LS_FAIL(LS_USAGE, "mask group %d: %s token %d of a clip of %d", group, what,
                           (int)list[i], tokens);
    return LS_OK;
}

static ls_status check_batch(const struct layout_limits *limits, const struct jepa_batch *batch,
                             int tokens)
{
    ls_status st = LS_OK;
    if (batch->clips < 1 || batch->clips > limits->clips || tokens < 1 || tokens > limits->tokens)
        return LS_FAIL(LS_USAGE, "a batch of %d clips of %d tokens, but the limits are %d and %d",
                       batch->clips, tokens, limits->clips, limits->tokens);
    for (int g = 0; g < limits->groups; g++) {
        const int context = batch->context_count[g];
        const int predicted = batch->predicted_count[g];
        LS_TRY(check_list(batch->context[g], batch->clips, context, limits->max_context[g], tokens,
                          g, "context"));
        LS_TRY(check_list(batch->predicted[g], batch->clips, predicted, limits->max_predicted[g],
                          tokens, g, "predicted"));
        if (context + predicted > tokens)
            return LS_FAIL(LS_USAGE, "mask group %d: %d context and %d predicted tokens of %d", g,
                           context, predicted, tokens);
    }
done:
    return st;
}

/* Where a matrix's arrays are in the block. */
struct matrix_places {
    int64_t position, index, start, length;
};

/* Rows [from, to) belong to no token. */
static void pad_rows(const struct layout_builder *b, struct matrix_places at, int64_t from,
                     int64_t to)
{
    for (int64_t r = from; r < to; r++) {
        b->host[at.position + r] = 0;
        b->host[at.index + r] = PADDING;
    }
}

/* Close a matrix of `used` rows, padding between sequences included.  `bound`: the planned length
 * of a sequence, or 0: the longest, padded to the device's multiple. */
static struct layout_rows close_rows(const struct layout_builder *b, struct matrix_places at,
                                     int64_t used, int count, int64_t bound, int64_t head_rows)
{
    struct layout_rows out = {.positions_dev = b->block_dev + at.position};
    const int64_t rows = layout_padded(used, b->limits.row_multiple);
    int64_t true_rows = 0;
    int32_t longest = 0;
    pad_rows(b, at, used, rows);
    for (int s = 0; s < count; s++) {
        true_rows += b->host[at.length + s];
        if (b->host[at.length + s] > longest)
            longest = b->host[at.length + s];
    }
    out.sequences = (struct op_sequences){
        .count = count,
        .rows = rows,
        .true_rows = true_rows,
        .head_rows = head_rows,
        .max_length = (int)(bound > 0 ? bound : layout_padded(longest, b->limits.row_multiple)),
        .start = b->host + at.start,
        .length = b->host + at.length,
        .start_dev = b->block_dev + at.start,
        .length_dev = b->block_dev + at.length,
    };
    return out;
}

/* query_row: 1 for every token that a group predicts, or all.  The most such tokens of a clip. */
static int64_t mark_queries(struct layout_builder *b, const struct jepa_batch *batch, int tokens)
{
    const size_t all = (size_t)batch->clips * (size_t)tokens;
    int64_t most = 0;
    memset(b->query_row, 0, all * sizeof *b->query_row);
    for (int g = 0; g < b->limits.groups; g++)
        for (int c = 0; c < batch->clips; c++)
            for (int i = 0; i < batch->predicted_count[g]; i++)
                b->query_row[(int64_t)c * tokens +
                             batch->predicted[g][(int64_t)c * batch->predicted_count[g] + i]] = 1;
    for (int c = 0; c < batch->clips; c++) {
        int64_t marked = 0;
        for (int t = 0; t < tokens; t++)
            marked += b->query_row[(int64_t)c * tokens + t];
        most = marked > most ? marked : most;
    }
    return most;
}

static void build_target(struct layout *out, struct layout_builder *b,
                         const struct jepa_batch *batch)
{
    const struct places *at = &b->at;
    const struct matrix_places target = {at->target_position, at->target_patches, at->target_start,
                                         at->target_length};
    const struct matrix_places query = {at->query_position, at->query_index, at->query_start,
                                        at->query_length};
    const int64_t most = mark_queries(b, batch, out->tokens);
    const bool steps = b->limits.bucket > 1 && !b->limits.whole_target;
    const int64_t step = steps ? layout_padded(most, b->limits.bucket) : 0;
    int64_t queries = 0;
    for (int c = 0; c < batch->clips; c++) {
        b->host[at->target_start + c] = c * out->tokens;
        b->host[at->target_length + c] = out->tokens;
        b->host[at->query_start + c] = (int32_t)queries;
        for (int t = 0; t < out->tokens; t++) {
            const int64_t row = (int64_t)c * out->tokens + t;
            b->host[at->target_position + row] = t;
            b->host[at->target_patches + row] = (int32_t)row;
            if (!b->limits.whole_target && b->query_row[row] == 0)
                continue;
            b->host[at->query_position + queries] = t;
            b->host[at->query_index + queries] = (int32_t)row;
            b->query_row[row] = (int32_t)queries++;
        }
        b->host[at->query_length + c] = (int32_t)(queries - b->host[at->query_start + c]);
        if (steps) {
            pad_rows(b, query, queries, (c + 1) * step);
            queries = (c + 1) * step;
        }
    }
    out->target = close_rows(b, target, (int64_t)batch->clips * out->tokens, batch->clips,
                             out->tokens, b->limits.target_rows);
    out->target.sequences.step = out->tokens;
    out->queries =
        close_rows(b, query, queries, batch->clips,
                   steps ? layout_bound(&b->limits, b->limits.tokens) : 0, b->limits.query_rows);
    if (b->limits.whole_target)
        out->queries.sequences.step = out->tokens;
    out->target_patches_dev = b->block_dev + at->target_patches;
    out->query_index_dev = b->block_dev + at->query_index;
}

/* Rows used so far in the matrices of the context and the predictor. */
struct cursor {
    int64_t context, predictor, prediction;
};

static void build_sequence(struct layout_builder *b, struct cursor *row, int sequence, int clip,
                           int tokens, const struct jepa_batch *batch, int group)
{
    const struct places *at = &b->at;
    int32_t *const host = b->host;
    const int contexts = batch->context_count[group];
    const int predicted = batch->predicted_count[group];
    const int32_t *context = batch->context[group] + (int64_t)clip * contexts;
    const int32_t *prediction = batch->predicted[group] + (int64_t)clip * predicted;
    host[at->context_start + sequence] = (int32_t)row->context;
    host[at->context_length + sequence] = contexts;
    host[at->predictor_start + sequence] = (int32_t)row->predictor;
    host[at->predictor_length + sequence] = contexts + predicted;
    host[at->prediction_start + sequence] = (int32_t)row->prediction;
    host[at->prediction_length + sequence] = predicted;
    for (int i = 0; i < contexts; i++, row->context++, row->predictor++) {
        host[at->context_position + row->context] = context[i];
        host[at->context_patches + row->context] = clip * tokens + context[i];
        host[at->predictor_position + row->predictor] = context[i];
        host[at->predictor_index + row->predictor] = (int32_t)row->context;
    }
    for (int i = 0; i < predicted; i++, row->prediction++, row->predictor++) {
        host[at->predictor_position + row->predictor] = prediction[i];
        host[at->predictor_index + row->predictor] = MASK_TOKEN;
        host[at->prediction_position + row->prediction] = prediction[i];
        host[at->prediction_index + row->prediction] = (int32_t)row->predictor;
        host[at->goal_index + row->prediction] =
            b->query_row[(int64_t)clip * tokens + prediction[i]];
    }
}

/* The matrices of the context and the predictor, while they are built. */
struct group_matrices {
    struct matrix_places context, predictor, prediction;
    struct cursor row;
    int64_t longest_context, longest; /* sequence of the context, of the predictor */
};

/* The sequences of one group, each padded to the bucket. */
static void build_group(struct layout *out, struct layout_builder *b, struct group_matrices *m,
                        const struct jepa_batch *batch, int g)
{
    const int bucket = b->limits.bucket;
    const int contexts = batch->context_count[g];
    const int predicted = batch->predicted_count[g];
    const struct cursor step = {layout_padded(contexts, bucket),
                                layout_padded(contexts + predicted, bucket),
                                layout_padded(predicted, bucket)};
    const struct cursor first = m->row;
    out->group_first[g] = first.prediction;
    for (int c = 0; c < batch->clips; c++) {
        build_sequence(b, &m->row, g * batch->clips + c, c, out->tokens, batch, g);
        const struct cursor end = {first.context + (c + 1) * step.context,
                                   first.predictor + (c + 1) * step.predictor,
                                   first.prediction + (c + 1) * step.prediction};
        pad_rows(b, m->context, m->row.context, end.context);
        pad_rows(b, m->predictor, m->row.predictor, end.predictor);
        pad_rows(b, m->prediction, m->row.prediction, end.prediction);
        for (int64_t r = m->row.prediction; r < end.prediction; r++)
            b->host[b->at.goal_index + r] = PADDING;
        m->row = end;
    }
    m->longest_context = larger(m->longest_context, contexts);
    m->longest = larger(m->longest, (int64_t)contexts + predicted);
}

static void build_groups(struct layout *out, struct layout_builder *b,
                         const struct jepa_batch *batch)
{
    const struct places *at = &b->at;
    const int sequences = out->groups * batch->clips;
    struct group_matrices m = {
        .context = {at->context_position, at->context_patches, at->context_start,
                    at->context_length},
        .predictor = {at->predictor_position, at->predictor_index, at->predictor_start,
                      at->predictor_length},
        .prediction = {at->prediction_position, at->prediction_index, at->prediction_start,
                       at->prediction_length},
    };
    for (int g = 0; g < out->groups; g++)
        build_group(out, b, &m, batch, g);
    const bool buckets = b->limits.bucket > 1;
    const int context = buckets ? layout_bound(&b->limits, m.longest_context) : 0;
    const int predictor = buckets ? layout_bound(&b->limits, m.longest) : 0;
    out->context =
        close_rows(b, m.context, m.row.context, sequences, context, b->limits.context_rows);
    out->predictor =
        close_rows(b, m.predictor, m.row.predictor, sequences, predictor, b->limits.predictor_rows);
    /* Bounded like the predictor's, so that both lengths of its last block go together. */
    out->predictions = close_rows(b, m.prediction, m.row.prediction, sequences, predictor,
                                  b->limits.prediction_rows);
    for (int64_t r = m.row.prediction; r < out->predictions.sequences.rows; r++)
        b->host[at->goal_index + r] = PADDING;
    out->context_patches_dev = b->block_dev + at->context_patches;
    out->predictor_index_dev = b->block_dev + at->predictor_index;
    out->prediction_index_dev = b->block_dev + at->prediction_index;
    out->goal_index_dev = b->block_dev + at->goal_index;
}

/* The last group's view takes the padding rows with it, so that every row of dz is written. */
static void build_views(struct layout *out, struct layout_builder *b,
                        const struct jepa_batch *batch)
{
    const int64_t all = out->predictions.sequences.rows;
    for (int g = 0; g < out->groups; g++) {
        const bool last = g + 1 == out->groups;
        const int predicted = batch->predicted_count[g];
        const int64_t step = layout_padded(predicted, b->limits.bucket);
        const bool close = step == predicted;
        const int count = close ? 1 : batch->clips;
        const int64_t true_rows = (int64_t)batch->clips * predicted;
        const int64_t at = (int64_t)g * b->limits.clips;
        for (int s = 0; s < count; s++) {
            b->host[b->at.group_start + at + s] = (int32_t)(s * step);
            b->host[b->at.group_length + at + s] = (int32_t)(close ? true_rows : predicted);
        }
        out->group_rows[g] = (struct op_sequences){
            .count = count,
            .rows = (last ? all : out->group_first[g + 1]) - out->group_first[g],
            .true_rows = true_rows,
            .max_length = (int)(close ? true_rows : step),
            .start = b->host + b->at.group_start + at,
            .length = b->host + b->at.group_length + at,
            .start_dev = b->block_dev + b->at.group_start + at,
            .length_dev = b->block_dev + b->at.group_length + at,
        };
    }
}

ls_status layout_build(struct layout *out, struct layout_builder *builder,
                       const struct jepa_batch *batch, int tokens)
{
    ls_status st = LS_OK;
    LS_TRY(check_batch(&builder->limits, batch, tokens));
    *out =
        (struct layout){.clips = batch->clips, .groups = builder->limits.groups, .tokens = tokens};
    build_target(out, builder, batch);
    build_groups(out, builder, batch);
    build_views(out, builder, batch);
    if (builder->block_dev != builder->host)
        LS_TRY(builder->ops->upload(builder->device, builder->block_dev, builder->host,
                                    (size_t)builder->count * sizeof *builder->host));
done:
    return st;
}
