/* data/mask: what memory is planned for is never exceeded, and is not everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "data/mask.h"

enum { STEPS = 300, CLIPS = 2 };

static const struct config_mask plain = {.num_blocks = 8,
                                         .spatial_scale = {0.15, 0.15},
                                         .temporal_scale = {1, 1},
                                         .aspect_ratio = {0.75, 1.5},
                                         .max_temporal_keep = 1};

/* Draw many steps; the counts stay within the limits. */
static void draw(const struct config_mask *mask, struct mask_grid grid)
{
    const int64_t tokens = mask_grid_tokens(grid);
    int max_context = 0;
    int max_predicted = 0;
    mask_limits(&max_context, &max_predicted, mask, grid);
    assert_in_range(max_context, 1, tokens);
    assert_in_range(max_predicted, 1, tokens);
    int32_t *memory = calloc((size_t)(2 * CLIPS * tokens), sizeof *memory);
    assert_non_null(memory);
    for (uint64_t step = 0; step < STEPS; step++) {
        struct mask_lists lists = {.context = memory, .predicted = memory + CLIPS * tokens};
        assert_int_equal(mask_draw(&lists, mask, 1, grid, CLIPS, 5, step, 0), LS_OK);
        assert_true(lists.context_count <= max_context);
        assert_true(lists.predicted_count <= max_predicted);
    }
    free(memory);
}

static void draws_stay_within_the_limits(void **state)
{
    (void)state;
    static const struct mask_grid grids[] = {{4, 8, 8}, {8, 14, 14}, {2, 5, 9}, {1, 16, 16}};
    for (size_t g = 0; g < sizeof grids / sizeof *grids; g++) {
        struct config_mask mask = plain;
        draw(&mask, grids[g]);
        mask.num_blocks = 2;
        mask.spatial_scale[0] = mask.spatial_scale[1] = 0.7;
        draw(&mask, grids[g]);
        mask.spatial_scale[0] = 0.2;
        mask.temporal_scale[0] = 0.4;
        draw(&mask, grids[g]);
        mask.max_keep = 9;
        draw(&mask, grids[g]);
        mask.full_complement = true;
        draw(&mask, grids[g]);
        mask.full_complement = false;
        mask.pred_full_complement = true;
        draw(&mask, grids[g]);
        mask.pred_full_complement = false;
        mask.inv_block = true;
        draw(&mask, grids[g]);
        mask.inv_block = false;
        mask.max_temporal_keep = 0.5;
        draw(&mask, grids[g]);
    }
}

/* The public masks at 16 x 256: 8 x 16 x 16 tokens. */
static void public_masks_leave_much_out(void **state)
{
    (void)state;
    const struct mask_grid grid = {8, 16, 16};
    int context = 0;
    int predicted = 0;
    struct config_mask mask = plain;
    mask_limits(&context, &predicted, &mask, grid);
    assert_int_equal(context, 2048 - 8 * 5 * 7); /* blocks of 5 x 7 to 8 x 5; 5 x 7 = 35 */
    assert_int_equal(predicted, 2048);
    mask.num_blocks = 2;
    mask.spatial_scale[0] = mask.spatial_scale[1] = 0.7;
    mask_limits(&context, &predicted, &mask, grid);
    assert_true(context < 2048 * 4 / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_stay_within_the_limits),
        cmocka_unit_test(public_masks_leave_much_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
