/* Multi-block masks of V-JEPA: which tokens are context and which are to be predicted. */
#ifndef LOCKSTEP_DATA_MASK_H
#define LOCKSTEP_DATA_MASK_H

#include <stdint.h>

#include "core/config.h"
#include "core/status.h"

/* Tokens of a clip along time, rows and columns, or the size of a block of them.  A token's number
 * is (time * rows + row) * columns + column. */
struct mask_grid {
    int times, rows, columns;
};

/* Token lists of one mask group for the clips of a micro-batch. */
struct mask_lists {
    int context_count, predicted_count;
    int32_t *context;   /* [B, context_count], each row ascending; room for B * N */
    int32_t *predicted; /* [B, predicted_count], likewise */
};

/* Tokens of clips of `frames` frames under a config.  Local. */
struct mask_grid mask_grid_of(const struct config_data *data, int frames);
int64_t mask_grid_tokens(struct mask_grid grid);

/* Refuse mask groups that cannot serve a grid: blocks without a token, or blocks that (nearly)
 * always cover all of it and leave no context.  Every block size that the group can draw at its
 * largest scale is tried.  Local.  Errors: LS_USAGE naming the group and what to change. */
ls_status mask_check(const struct config_mask *masks, int mask_count,
                     struct mask_grid grid) LS_MUST_CHECK;

/* The size of all blocks of a mask group in a step: the same on all ranks, and drawn from the same
 * random numbers by every group.
 *
 *     times   = max(1, int(grid.times * t))                    t, s, a uniform in temporal_scale,
 *     rows    = min(grid.rows, round(sqrt(keep * a)))          spatial_scale and aspect_ratio, in
 *     columns = min(grid.columns, round(sqrt(keep / a)))       this order of drawing
 *     keep    = int(grid.rows * grid.columns * s)
 *
 * Local, pure.  Source: design section 4. */
struct mask_grid mask_block_size(const struct config_mask *mask, struct mask_grid grid,
                                 uint64_t seed, uint64_t step);

/* Draw the masks of a micro-batch.
 *
 *   lists     out [mask_count]   memory for batch_size * N numbers in each list is the caller's;
 *                                inv_block exchanges the two pointers of its group
 *   step      the step whose draws are used
 *
 * Per clip and group: `num_blocks` blocks at positions uniform over all that fit.  Predicted =
 * their union (and every time step from max_temporal_keep on), context = the rest; drawn again
 * while the context is empty.  Then both lists are cut to the micro-batch's shortest (the context
 * also to max_keep) by dropping the highest token numbers.  full_complement: predicted becomes all
 * that the cut context is not; pred_full_complement: the other way round; inv_block: lists
 * exchanged.
 *
 * Local, any thread, pure.  Errors: LS_USAGE when no context could be drawn (mask_check refuses
 * such groups beforehand). */
ls_status mask_draw(struct mask_lists *lists, const struct config_mask *masks, int mask_count,
                    struct mask_grid grid, int batch_size, uint64_t seed, uint64_t step,
                    uint32_t micro_batch) LS_MUST_CHECK;

/* Most tokens of a clip that a group can ever list: what memory is planned for.  A context misses
 * at least one block of the smallest size; predicted tokens lie in num_blocks blocks of the largest
 * size at most.  Local, pure. */
void mask_limits(int *max_context, int *max_predicted, const struct config_mask *mask,
                 struct mask_grid grid);

#endif
