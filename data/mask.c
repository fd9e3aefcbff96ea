/* Multi-block masks.  A clip's map of tokens is built in the row of its predicted list and squeezed
 * into numbers in place, rows first stand N apart and move together once the micro-batch's shortest
 * lists are known: so no memory beside the lists is needed. */
#include "data/mask.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/random.h"

/* mask_check asks for `CHECK_HITS` contexts in `CHECK_TRIES` draws, 1 in 400; then `DRAW_TRIES`
 * failures in a row have a probability below 1e-70. */
enum { CHECK_HITS = 10, CHECK_TRIES = 4000, DRAW_TRIES = 65536 };

struct mask_grid mask_grid_of(const struct config_data *data, int frames)
{
    return (struct mask_grid){.times = frames / data->tubelet_size,
                              .rows = data->crop_height / data->patch_size,
                              .columns = data->crop_width / data->patch_size};
}

int64_t mask_grid_tokens(struct mask_grid grid)
{
    return (int64_t)grid.times * grid.rows * grid.columns;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static struct mask_grid block_size(struct mask_grid grid, double temporal, double spatial,
                                   double aspect)
{
    int times = (int)(grid.times * temporal);
    double keep = floor(grid.rows * grid.columns * spatial);
    /* rint: halves to even, as Python rounds. */
    return (struct mask_grid){
        .times = smaller(grid.times, times > 1 ? times : 1),
        .rows = (int)fmin(grid.rows, rint(sqrt(keep * aspect))),
        .columns = (int)fmin(grid.columns, rint(sqrt(keep / aspect))),
    };
}

struct mask_grid mask_block_size(const struct config_mask *mask, struct mask_grid grid,
                                 uint64_t seed, uint64_t step)
{
    struct random_stream stream;
    random_open(&stream, seed, RANDOM_MASK_SIZE, step, 0, 0);
    double temporal = random_uniform(&stream, mask->temporal_scale[0], mask->temporal_scale[1]);
    double spatial = random_uniform(&stream, mask->spatial_scale[0], mask->spatial_scale[1]);
    double aspect = random_uniform(&stream, mask->aspect_ratio[0], mask->aspect_ratio[1]);
    return block_size(grid, temporal, spatial, aspect);
}

/* Time steps that the context may span. */
static int context_times(const struct config_mask *mask, struct mask_grid grid)
{
    int times = (int)(grid.times * mask->max_temporal_keep);
    return smaller(grid.times, times > 1 ? times : 1);
}

/* Fill `map` [N] with 1 where a token is predicted.  Returns how many are. */
static int64_t draw_map(int32_t *map, const struct config_mask *mask, struct mask_grid grid,
                        struct mask_grid block, struct random_stream *stream)
{
    const int64_t plane = (int64_t)grid.rows * grid.columns;
    const int spanned = context_times(mask, grid);
    memset(map, 0, (size_t)(spanned * plane) * sizeof *map);
    for (int64_t n = spanned * plane; n < grid.times * plane; n++)
        map[n] = 1;
    for (int k = 0; k < mask->num_blocks; k++) {
        int64_t top = (int64_t)random_below(stream, (uint64_t)(grid.rows - block.rows) + 1);
        int64_t left = (int64_t)random_below(stream, (uint64_t)(grid.columns - block.columns) + 1);
        int64_t start = (int64_t)random_below(stream, (uint64_t)(grid.times - block.times) + 1);
        for (int64_t time = start; time < start + block.times; time++)
            for (int64_t row = top; row < top + block.rows; row++) {
                int32_t *first = map + time * plane + row * grid.columns + left;
                for (int column = 0; column < block.columns; column++)
                    first[column] = 1;
            }
    }
    int64_t predicted = 0;
    for (int64_t n = 0; n < grid.times * plane; n++)
        predicted += map[n];
    return predicted;
}

static ls_status check_size(const struct config_mask *mask, int group, struct mask_grid grid,
                            struct mask_grid block, int32_t *map)
{
    struct random_stream stream;
    random_open(&stream, 0, RANDOM_MASK_POSITION, 0, 0, 0);
    int hits = 0;
    for (int i = 0; i < CHECK_TRIES && hits < CHECK_HITS; i++)
        hits += draw_map(map, mask, grid, block, &stream) < mask_grid_tokens(grid);
    if (hits < CHECK_HITS)
        return LS_FAIL(
            LS_USAGE,
            "mask[%d]: %d blocks of %d x %d x %d tokens leave no context in a grid of %d "
            "x %d x %d: lower spatial_scale or num_blocks",
            group, mask->num_blocks, block.times, block.rows, block.columns, grid.times, grid.rows,
            grid.columns);
    return LS_OK;
}

/* All block sizes at the largest scale: rows and columns change only where keep * a or keep / a
 * passes the square of a half, so trying both sides of each such aspect tries them all. */
static ls_status check_aspects(const struct config_mask *mask, int group, struct mask_grid grid,
                               int32_t *map)
{
    ls_status st = LS_OK;
    const double low = mask->aspect_ratio[0];
    const double high = mask->aspect_ratio[1];
    const double keep = floor(grid.rows * grid.columns * mask->spatial_scale[1]);
    struct mask_grid last = {0, 0, 0};
    for (int i = 0; i < 2 * (grid.rows + grid.columns) + 2; i++) {
        int n = i / 2;
        double side = (n < grid.rows ? n : n - grid.rows) + 0.5;
        double aspect = n < grid.rows ? side * side / keep : keep / (side * side);
        aspect *= i % 2 == 0 ? 1 - 1e-9 : 1 + 1e-9;
        if (n == grid.rows + grid.columns)
            aspect = i % 2 == 0 ? low : high;
        if (aspect < low || aspect > high)
            continue;
        struct mask_grid block =
            block_size(grid, mask->temporal_scale[1], mask->spatial_scale[1], aspect);
        if (memcmp(&block, &last, sizeof block) != 0)
            LS_TRY(check_size(mask, group, grid, block, map));
        last = block;
    }
done:
    return st;
}

ls_status mask_check(const struct config_mask *masks, int mask_count, struct mask_grid grid)
{
    ls_status st = LS_OK;
    int32_t *map = NULL;
    if (grid.times < 1 || grid.rows < 1 || grid.columns < 1)
        return LS_FAIL(LS_USAGE,
                       "a clip has no token: grid of %d x %d x %d; frames per clip, crop_size, "
                       "tubelet_size and patch_size do not fit together",
                       grid.times, grid.rows, grid.columns);
    LS_TRY(core_alloc(&map, mask_grid_tokens(grid)));
    for (int group = 0; group < mask_count; group++) {
        const struct config_mask *mask = &masks[group];
        struct mask_grid low = block_size(grid, 0.0, mask->spatial_scale[0], mask->aspect_ratio[0]);
        struct mask_grid high =
            block_size(grid, 0.0, mask->spatial_scale[0], mask->aspect_ratio[1]);
        if (mask->num_blocks < 1 || low.rows < 1 || high.columns < 1) {
            st = LS_FAIL(LS_USAGE,
                         "mask[%d]: a block can be empty in a grid of %d x %d x %d: raise "
                         "spatial_scale or num_blocks",
                         group, grid.times, grid.rows, grid.columns);
            goto done;
        }
        LS_TRY(check_aspects(mask, group, grid, map));
    }
done:
    free(map);
    return st;
}

/* Tokens of the smallest (`largest` false) or largest block at the given scales.  Rows grow with
 * the aspect and columns shrink, so of all aspects that give a number of rows one end has the
 * fewest columns and the other the most; a little beyond the ends is allowed, which errs on the
 * safe side.
 */
static int64_t extreme_block(const struct config_mask *mask, struct mask_grid grid, double temporal,
                             double spatial, bool largest)
{
    const double keep = floor(grid.rows * grid.columns * spatial);
    int64_t extreme = largest ? 0 : mask_grid_tokens(grid);
    for (int rows = 1; rows <= grid.rows; rows++) {
        double first = (rows - 0.5) * (rows - 0.5) / keep * (1 - 1e-9);
        double last = rows == grid.rows ? mask->aspect_ratio[1]
                                        : (rows + 0.5) * (rows + 0.5) / keep * (1 + 1e-9);
        if (last < mask->aspect_ratio[0] || first > mask->aspect_ratio[1])
            continue;
        double aspect =
            largest ? fmax(first, mask->aspect_ratio[0]) : fmin(last, mask->aspect_ratio[1]);
        struct mask_grid block = block_size(grid, temporal, spatial, aspect);
        int64_t tokens = (int64_t)block.times * rows * block.columns;
        if (largest ? tokens > extreme : tokens < extreme)
            extreme = tokens;
    }
    return extreme;
}

void mask_limits(int *max_context, int *max_predicted, const struct config_mask *mask,
                 struct mask_grid grid)
{
    const int64_t tokens = mask_grid_tokens(grid);
    const int64_t plane = (int64_t)grid.rows * grid.columns;
    const int64_t spanned = context_times(mask, grid) * plane;
    /* A block may lie in the times that the context does not span anyway. */
    int64_t context = spanned < tokens ? spanned
                                       : tokens - extreme_block(mask, grid, mask->temporal_scale[0],
                                                                mask->spatial_scale[0], false);
    int64_t predicted = tokens - spanned +
                        mask->num_blocks * extreme_block(mask, grid, mask->temporal_scale[1],
                                                         mask->spatial_scale[1], true);
    if (mask->max_keep > 0 && context > mask->max_keep)
        context = mask->max_keep;
    if (predicted > tokens || mask->full_complement)
        predicted = tokens;
    if (mask->pred_full_complement)
        context = tokens;
    *max_context = (int)(mask->inv_block ? predicted : context);
    *max_predicted = (int)(mask->inv_block ? context : predicted);
}

/* Draw one clip's lists into rows of N; `predicted` is the map until it is squeezed. */
static ls_status draw_clip(int *context_count, int *predicted_count, int32_t *context,
                           int32_t *predicted, const struct config_mask *mask,
                           struct mask_grid grid, struct mask_grid block,
                           struct random_stream *stream)
{
    const int32_t tokens = (int32_t)mask_grid_tokens(grid);
    int tries = 0;
    while (draw_map(predicted, mask, grid, block, stream) == tokens)
        if (++tries == DRAW_TRIES)
            return LS_FAIL(LS_USAGE, "mask: no context left in %d draws", tries);
    int32_t kept = 0;
    int32_t covered = 0;
    for (int32_t n = 0; n < tokens; n++) {
        if (predicted[n] != 0)
            predicted[covered++] = n;
        else
            context[kept++] = n;
    }
    *context_count = kept;
    *predicted_count = covered;
    return LS_OK;
}

/* All tokens that an ascending list lacks. */
static void write_complement(int32_t *out, const int32_t *list, int count, int32_t tokens)
{
    int k = 0;
    for (int32_t n = 0; n < tokens; n++) {
        if (k < count && list[k] == n)
            k++;
        else
            *out++ = n;
    }
}

/* Rows that stand `from` numbers apart move together to stand `to` apart. */
static void close_rows(int32_t *list, int rows, int64_t from, int64_t to)
{
    for (int64_t b = 1; b < rows; b++)
        memmove(list + b * to, list + b * from, (size_t)to * sizeof *list);
}

/* Cut, complement and exchange the lists of one group, whose rows stand N apart. */
static void finish_group(struct mask_lists *lists, const struct config_mask *mask, int32_t tokens,
                         int batch_size)
{
    if (mask->max_keep > 0)
        lists->context_count = smaller(lists->context_count, mask->max_keep);
    for (int64_t b = 0; b < batch_size; b++) {
        int32_t *context = lists->context + b * tokens;
        int32_t *predicted = lists->predicted + b * tokens;
        if (mask->full_complement)
            write_complement(predicted, context, lists->context_count, tokens);
        else if (mask->pred_full_complement)
            write_complement(context, predicted, lists->predicted_count, tokens);
    }
    if (mask->full_complement)
        lists->predicted_count = tokens - lists->context_count;
    else if (mask->pred_full_complement)
        lists->context_count = tokens - lists->predicted_count;
    close_rows(lists->context, batch_size, tokens, lists->context_count);
    close_rows(lists->predicted, batch_size, tokens, lists->predicted_count);
    if (mask->inv_block) {
        struct mask_lists given = *lists;
        lists->context = given.predicted;
        lists->context_count = given.predicted_count;
        lists->predicted = given.context;
        lists->predicted_count = given.context_count;
    }
}

ls_status mask_draw(struct mask_lists *lists, const struct config_mask *masks, int mask_count,
                    struct mask_grid grid, int batch_size, uint64_t seed, uint64_t step,
                    uint32_t micro_batch)
{
    ls_status st = LS_OK;
    const int32_t tokens = (int32_t)mask_grid_tokens(grid);
    for (int group = 0; group < mask_count; group++)
        lists[group].context_count = lists[group].predicted_count = tokens;
    for (int b = 0; b < batch_size; b++) {
        struct random_stream stream;
        random_open(&stream, seed, RANDOM_MASK_POSITION, step, micro_batch, (uint32_t)b);
        for (int group = 0; group < mask_count; group++) {
            struct mask_lists *list = &lists[group];
            int context_count = 0;
            int predicted_count = 0;
            LS_TRY(draw_clip(&context_count, &predicted_count, list->context + (int64_t)b * tokens,
                             list->predicted + (int64_t)b * tokens, &masks[group], grid,
                             mask_block_size(&masks[group], grid, seed, step), &stream));
            list->context_count = smaller(list->context_count, context_count);
            list->predicted_count = smaller(list->predicted_count, predicted_count);
        }
    }
    for (int group = 0; group < mask_count; group++)
        finish_group(&lists[group], &masks[group], tokens, batch_size);
done:
    return st;
}
