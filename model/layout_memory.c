/* Limits, and the memory of the index arrays: all of a micro-batch's lie in one block of pinned
 * host memory, which is uploaded in one copy; where device memory is the host's, it is used as it
 * is. */
#include <stdlib.h>

#include "model/layout_parts.h"

int64_t layout_padded(int64_t rows, int multiple)
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
    int64_t predicted = 0;
    for (int g = 0; g < l->groups; g++) {
        contexts += layout_padded(l->max_context[g], l->bucket);
        predictions += layout_padded(l->max_predicted[g], l->bucket);
        both += layout_padded(smaller(l->tokens, (int64_t)l->max_context[g] + l->max_predicted[g]),
                              l->bucket);
        predicted += l->max_predicted[g];
    }
    const int64_t clips = l->clips;
    const int64_t queries =
        l->whole_target ? l->tokens : layout_padded(smaller(l->tokens, predicted), l->bucket);
    l->target_rows = layout_padded(clips * l->tokens, l->row_multiple);
    l->query_rows = layout_padded(clips * queries, l->row_multiple);
    l->context_rows = layout_padded(clips * contexts, l->row_multiple);
    l->predictor_rows = layout_padded(clips * both, l->row_multiple);
    l->prediction_rows = layout_padded(clips * predictions, l->row_multiple);
}

int layout_bound(const struct layout_limits *l, int64_t length)
{
    enum { LEVELS = 8 };
    const int64_t level = layout_padded((l->tokens + LEVELS - 1) / LEVELS, l->bucket);
    return (int)smaller((length + level - 1) / level * level, layout_padded(l->tokens, l->bucket));
}

/* Arrays start at multiples of 64 elements. */
static int64_t take(int64_t *used, int64_t count)
{
    const int64_t at = *used;
    *used += layout_padded(count, 64);
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
    at->group_start = take(&used, sequences);
    at->group_length = take(&used, sequences);
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
