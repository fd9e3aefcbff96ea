/* All index arrays of a micro-batch lie in one block of pinned host memory, which is filled in one
 * go and uploaded in one copy; where device memory is the host's, it is used as it is. */
#include "model/layout.h"

#include <stdlib.h>
#include <string.h>

enum { PADDING = -2, MASK_TOKEN = -1 };

/* Offsets of the arrays in the block, in elements. */
struct places {
    int64_t target_position, target_patches;
    int64_t query_position, query_index;
    int64_t context_position, context_patches;
    int64_t predictor_position, predictor_index;
    int64_t prediction_position, prediction_index, goal_index;
    int64_t target_start, target_length, query_start, query_length;
    int64_t context_start, context_length, predictor_start, predictor_length;
    int64_t prediction_start, prediction_length, group_start, group_length;
};

struct layout_builder {
    struct layout_limits limits;
    const struct op_table *ops;
    struct op_device *device;
    struct places at;
    int64_t count; /* elements of the block */
    int32_t *host;
    int32_t *block_dev;
    int32_t *query_row; /* [clips * tokens] host: row of the query matrix, -1: nobody predicts it */
};

static int64_t padded(int64_t rows, int multiple)
{
    return (rows + multiple - 1) / multiple * multiple;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void layout_limits_complete(struct layout_limits *l)
{
    int64_t contexts = 0;
    int64_t predictions = 0;
    int64_t both = 0;
    for (int g = 0; g < l->groups; g++) {
        contexts += l->max_context[g];
        predictions += l->max_predicted[g];
        both += smaller(l->tokens, (int64_t)l->max_context[g] + l->max_predicted[g]);
    }
    const int64_t clips = l->clips;
    const int64_t queries = l->whole_target ? l->tokens : smaller(l->tokens, predictions);
    l->target_rows = padded(clips * l->tokens, l->row_multiple);
    l->query_rows = padded(clips * queries, l->row_multiple);
    l->context_rows = padded(clips * contexts, l->row_multiple);
    l->predictor_rows = padded(clips * both, l->row_multiple);
    l->prediction_rows = padded(clips * predictions, l->row_multiple);
}

/* Arrays start at multiples of 64 elements. */
static int64_t take(int64_t *used, int64_t count)
{
    const int64_t at = *used;
    *used += padded(count, 64);
    return at;
}

static int64_t place(struct places *at, const struct layout_limits *l)
{
    int64_t used = 0;
    const int64_t sequences = (int64_t)l->clips * l->groups;
    at->target_position = take(&used, l->target_rows);
    at->target_patches = take(&used, l->target_rows);
    at->query_position = take(&used, l->query_rows);
    at->query_index = take(&used, l->query_rows);
    at->context_position = take(&used, l->context_rows);
    at->context_patches = take(&used, l->context_rows);
    at->predictor_position = take(&used, l->predictor_rows);
    at->predictor_index = take(&used, l->predictor_rows);
    at->prediction_position = take(&used, l->prediction_rows);
    at->prediction_index = take(&used, l->prediction_rows);
    at->goal_index = take(&used, l->prediction_rows);
    at->target_start = take(&used, l->clips);
    at->target_length = take(&used, l->clips);
    at->query_start = take(&used, l->clips);
    at->query_length = take(&used, l->clips);
    at->context_start = take(&used, sequences);
    at->context_length = take(&used, sequences);
    at->predictor_start = take(&used, sequences);
    at->predictor_length = take(&used, sequences);
    at->prediction_start = take(&used, sequences);
    at->prediction_length = take(&used, sequences);
    at->group_start = take(&used, l->groups);
    at->group_length = take(&used, l->groups);
    return used;
}

ls_status layout_open(struct layout_builder **out, const struct layout_limits *limits,
                      const struct op_table *ops, struct op_device *device)
{
    ls_status st = LS_OK;
    *out = NULL;
    struct layout_builder *b = calloc(1, sizeof *b);
    const size_t tokens = (size_t)limits->clips * (size_t)limits->tokens;
    if (b != NULL)
        b->query_row = malloc(tokens * sizeof *b->query_row);
    if (b == NULL || b->query_row == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for the rows of %zu tokens", tokens);
        goto done;
    }
    b->limits = *limits;
    b->ops = ops;
    b->device = device;
    b->count = place(&b->at, limits);
    const size_t bytes = (size_t)b->count * sizeof *b->host;
    void *memory = NULL;
    LS_TRY(ops->host_allocate(device, &memory, bytes));
    b->host = memory;
    b->block_dev = memory;
    if (!ops->host_memory) {
        b->block_dev = NULL;
        LS_TRY(ops->allocate(device, &memory, bytes));
        b->block_dev = memory;
    }
    *out = b;
    b = NULL;
done:
    layout_close(&b);
    return st;
}

void layout_close(struct layout_builder **builder)
{
    struct layout_builder *b = *builder;
    if (b == NULL)
        return;
    if (b->block_dev != NULL && b->block_dev != b->host)
        b->ops->release(b->device, b->block_dev);
    if (b->host != NULL)
        b->ops->host_release(b->device, b->host);
    free(b->query_row);
    free(b);
    *builder = NULL;
}

int64_t layout_bytes(const struct layout_builder *builder)
{
    return builder->count * (int64_t)sizeof *builder->host;
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

/* Close a matrix of `true_rows` rows: pad its index and position arrays. */
static struct layout_rows close_rows(const struct layout_builder *b, int64_t true_rows, int count,
                                     int64_t position, int64_t index, int64_t start, int64_t length)
{
    struct layout_rows out = {.positions_dev = b->block_dev + position};
    const int64_t rows = padded(true_rows, b->limits.row_multiple);
    for (int64_t r = true_rows; r < rows; r++) {
        b->host[position + r] = 0;
        b->host[index + r] = PADDING;
    }
    int32_t longest = 0;
    for (int s = 0; s < count; s++)
        if (b->host[length + s] > longest)
            longest = b->host[length + s];
    out.sequences = (struct op_sequences){
        .count = count,
        .rows = rows,
        .true_rows = true_rows,
        .max_length = (int)padded(longest, b->limits.row_multiple),
        .start = b->host + start,
        .length = b->host + length,
        .start_dev = b->block_dev + start,
        .length_dev = b->block_dev + length,
    };
    return out;
}

static void build_target(struct layout *out, struct layout_builder *b,
                         const struct jepa_batch *batch)
{
    const struct places *at = &b->at;
    int64_t queries = 0;
    memset(b->query_row, 0, (size_t)batch->clips * (size_t)out->tokens * sizeof *b->query_row);
    for (int g = 0; g < out->groups; g++)
        for (int c = 0; c < batch->clips; c++)
            for (int i = 0; i < batch->predicted_count[g]; i++)
                b->query_row[(int64_t)c * out->tokens +
                             batch->predicted[g][(int64_t)c * batch->predicted_count[g] + i]] = 1;
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
    }
    out->target =
        close_rows(b, (int64_t)batch->clips * out->tokens, batch->clips, at->target_position,
                   at->target_patches, at->target_start, at->target_length);
    out->queries = close_rows(b, queries, batch->clips, at->query_position, at->query_index,
                              at->query_start, at->query_length);
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

static void build_groups(struct layout *out, struct layout_builder *b,
                         const struct jepa_batch *batch)
{
    const struct places *at = &b->at;
    const int sequences = out->groups * batch->clips;
    struct cursor row = {0, 0, 0};
    for (int g = 0; g < out->groups; g++) {
        out->context_first[g] = row.context;
        out->group_first[g] = row.prediction;
        for (int c = 0; c < batch->clips; c++)
            build_sequence(b, &row, g * batch->clips + c, c, out->tokens, batch, g);
    }
    out->context = close_rows(b, row.context, sequences, at->context_position, at->context_patches,
                              at->context_start, at->context_length);
    out->predictor = close_rows(b, row.predictor, sequences, at->predictor_position,
                                at->predictor_index, at->predictor_start, at->predictor_length);
    out->predictions =
        close_rows(b, row.prediction, sequences, at->prediction_position, at->prediction_index,
                   at->prediction_start, at->prediction_length);
    for (int64_t r = row.prediction; r < out->predictions.sequences.rows; r++)
        b->host[at->goal_index + r] = PADDING;
    out->context_patches_dev = b->block_dev + at->context_patches;
    out->predictor_index_dev = b->block_dev + at->predictor_index;
    out->prediction_index_dev = b->block_dev + at->prediction_index;
    out->goal_index_dev = b->block_dev + at->goal_index;
}

/* The last group's view takes the padding rows with it, so that every row of dz is written. */
static void build_views(struct layout *out, struct layout_builder *b)
{
    const int64_t all = out->predictions.sequences.rows;
    for (int g = 0; g < out->groups; g++) {
        const bool last = g + 1 == out->groups;
        const int64_t true_end =
            last ? out->predictions.sequences.true_rows : out->group_first[g + 1];
        const int64_t length = true_end - out->group_first[g];
        b->host[b->at.group_start + g] = 0;
        b->host[b->at.group_length + g] = (int32_t)length;
        out->group_rows[g] = (struct op_sequences){
            .count = 1,
            .rows = last ? all - out->group_first[g] : length,
            .true_rows = length,
            .max_length = (int)length,
            .start = b->host + b->at.group_start + g,
            .length = b->host + b->at.group_length + g,
            .start_dev = b->block_dev + b->at.group_start + g,
            .length_dev = b->block_dev + b->at.group_length + g,
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
    build_views(out, builder);
    if (builder->block_dev != builder->host)
        LS_TRY(builder->ops->upload(builder->device, builder->block_dev, builder->host,
                                    (size_t)builder->count * sizeof *builder->host));
done:
    return st;
}
