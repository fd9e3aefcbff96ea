/* The inside of a layout builder, shared by layout*.c and nobody else. */
#ifndef LOCKSTEP_MODEL_LAYOUT_PARTS_H
#define LOCKSTEP_MODEL_LAYOUT_PARTS_H

#include "model/layout.h"

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

/* `rows` up to a multiple. */
int64_t layout_padded(int64_t rows, int multiple);

#endif
