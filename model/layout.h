/* Which token lies in which row: the index arrays of one micro-batch.
 *
 * Five ragged matrices follow from the mask lists, all with sequences one after another:
 *
 *   target          every token of every clip                          B sequences
 *   target queries  tokens that any group predicts, each once, in token order (or all)     B
 *   context         the context tokens of group 0's clips, then of group 1's, ...          G * B
 *   predictor       context tokens, then predicted tokens, of each context sequence        G * B
 *   predictions     the predicted tokens of each context sequence                          G * B
 *
 * A token predicted by both groups is computed once by the target's last block: the union of the
 * lists is at most the clip, their sum half as much again (8 x 0.15 and 2 x 0.7).
 *
 * Mask lengths differ from step to step.  With a bucket, each sequence of all but the target matrix
 * begins a multiple of `bucket` rows behind the one before it, so that few shapes occur and what is
 * made for a shape can be made before the first step; the rows between are padding.  Rows are
 * padded to the device's multiple at the end of a matrix.  What lies head by head has room for the
 * most rows that can occur, so that its strides never change. */
#ifndef LOCKSTEP_MODEL_LAYOUT_H
#define LOCKSTEP_MODEL_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "model/jepa.h"
#include "model/ops.h"

struct layout_limits {
    int clips, groups;
    int tokens; /* of the longest clip */
    /* Of a sequence, by group. */
    int max_context[CONFIG_MASK_GROUPS_MAX], max_predicted[CONFIG_MASK_GROUPS_MAX];
    int row_multiple;
    int bucket; /* tokens; 1: sequences lie close */
    bool whole_target;
    /* Rows at most, padding included. */
    int64_t target_rows, query_rows, context_rows, predictor_rows, prediction_rows;
};

struct layout_rows {
    struct op_sequences sequences;
    const int32_t *positions_dev; /* [rows] token numbers */
};

struct layout {
    int clips, groups, tokens; /* of this micro-batch */
    struct layout_rows target, queries, context, predictor, predictions;
    const int32_t *target_patches_dev;  /* [target rows] what patchify takes */
    const int32_t *context_patches_dev; /* [context rows] likewise */
    const int32_t *query_index_dev;     /* [query rows] row of the target matrix */
    const int32_t *goal_index_dev;      /* [prediction rows] row of the query matrix */
    const int32_t *predictor_index_dev; /* [predictor rows] row of the context matrix, -1 mask token
                                         */
    const int32_t *prediction_index_dev; /* [prediction rows] row of the predictor matrix */
    /* The predictions of each group in a view of its rows: one sequence where they lie close, else
     * one a clip. */
    struct op_sequences group_rows[CONFIG_MASK_GROUPS_MAX];
    int64_t group_first[CONFIG_MASK_GROUPS_MAX]; /* first prediction row of the group */
};

/* Owns the memory that a layout points into. */
struct layout_builder;

/* Fill the row limits from the others.  Local. */
void layout_limits_complete(struct layout_limits *limits);

/* What attention is planned for where sequences are padded and the longest has `length` tokens: one
 * of few lengths, eighths of the longest clip.  Local. */
int layout_bound(const struct layout_limits *limits, int64_t length);

/* Local.  Errors: LS_NOMEM, LS_DEVICE. */
ls_status layout_open(struct layout_builder **out, const struct layout_limits *limits,
                      const struct op_table *ops, struct op_device *device) LS_MUST_CHECK;
void layout_close(struct layout_builder **builder);

/* Index arrays of `batch`, whose clips have `tokens` tokens; queued to the device.  *out is valid
 * until the next call, which must not come before the device has taken the arrays.  Local.
 * Errors: LS_USAGE when the batch is beyond the limits or names a token that is not there. */
ls_status layout_build(struct layout *out, struct layout_builder *builder,
                       const struct jepa_batch *batch, int tokens) LS_MUST_CHECK;

#endif
