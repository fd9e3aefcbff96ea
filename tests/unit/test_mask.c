/* Masks: their distribution against golden/mask_statistics.h5, their properties, and the keys of
 * the public config that change them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/mask.h"
#include "tests/support/golden.h"

enum { BATCH_MAX = 24, TOKENS_MAX = 8 * 16 * 16 };

static const struct config_mask short_range = {.num_blocks = 8,
                                               .spatial_scale = {0.15, 0.15},
                                               .temporal_scale = {1.0, 1.0},
                                               .aspect_ratio = {0.75, 1.5},
                                               .max_temporal_keep = 1.0};
static const struct config_mask long_range = {.num_blocks = 2,
                                              .spatial_scale = {0.7, 0.7},
                                              .temporal_scale = {1.0, 1.0},
                                              .aspect_ratio = {0.75, 1.5},
                                              .max_temporal_keep = 1.0};
static const struct mask_grid public_grid = {8, 16, 16};

static void lists_open(struct mask_lists *lists, int count)
{
    for (int g = 0; g < count; g++) {
        lists[g].context = calloc((size_t)BATCH_MAX * TOKENS_MAX, sizeof(int32_t));
        lists[g].predicted = calloc((size_t)BATCH_MAX * TOKENS_MAX, sizeof(int32_t));
        assert_non_null(lists[g].context);
        assert_non_null(lists[g].predicted);
    }
}

static void lists_close(struct mask_lists *lists, int count)
{
    for (int g = 0; g < count; g++) {
        free(lists[g].context);
        free(lists[g].predicted);
    }
}

static void draw_or_fail(struct mask_lists *lists, const struct config_mask *masks, int count,
                         struct mask_grid grid, int batch, uint64_t step, uint32_t micro_batch)
{
    assert_int_equal(mask_draw(lists, masks, count, grid, batch, 239, step, micro_batch), LS_OK);
}

static int compare_ints(const void *a, const void *b)
{
    const int32_t *x = a;
    const int32_t *y = b;
    return (*x > *y) - (*x < *y);
}

/* Two-sample Kolmogorov-Smirnov distance; sorts both. */
static double ks_distance(int32_t *a, int n, int32_t *b, int m)
{
    qsort(a, (size_t)n, sizeof *a, compare_ints);
    qsort(b, (size_t)m, sizeof *b, compare_ints);
    double worst = 0.0;
    int i = 0;
    int j = 0;
    while (i < n && j < m) {
        int32_t value = a[i] < b[j] ? a[i] : b[j];
        while (i < n && a[i] == value)
            i++;
        while (j < m && b[j] == value)
            j++;
        worst = fmax(worst, fabs((double)i / n - (double)j / m));
    }
    return worst;
}

enum { GOLDEN_STEPS = 400, OUR_STEPS = 3000, CELLS = 256 };

struct statistics {
    int32_t context[OUR_STEPS], predicted[OUR_STEPS];
    double sum[CELLS],
        sum_squares[CELLS]; /* over steps, of the share of (clip, time) that predicts a cell */
};

static void collect(struct statistics *out, const struct mask_lists *list, int step)
{
    double share[CELLS] = {0.0};
    out->context[step] = list->context_count;
    out->predicted[step] = list->predicted_count;
    for (int k = 0; k < BATCH_MAX * list->predicted_count; k++)
        share[list->predicted[k] % CELLS] += 1.0 / (BATCH_MAX * public_grid.times);
    for (int c = 0; c < CELLS; c++) {
        out->sum[c] += share[c];
        out->sum_squares[c] += share[c] * share[c];
    }
}

static void expect_same_lengths(const struct golden *golden, const char *what, int group,
                                int32_t *ours)
{
    char name[64];
    int32_t *theirs = NULL;
    struct golden_shape shape;
    (void)snprintf(name, sizeof name, "%s%d", what, group);
    assert_int_equal(golden_ints(&theirs, &shape, golden, name), LS_OK);
    assert_int_equal(shape.count, GOLDEN_STEPS);
    /* Kolmogorov's limit: P(D > c * sqrt(1/n + 1/m)) = 2 exp(-2 c^2), 1e-4 at c = 2.225. */
    double limit = 2.225 * sqrt(1.0 / GOLDEN_STEPS + 1.0 / OUR_STEPS);
    double distance = ks_distance(theirs, GOLDEN_STEPS, ours, OUR_STEPS);
    if (!(distance < limit))
        fail_msg("%s: distance %g, limit %g", name, distance, limit);
    free(theirs);
}

static void expect_same_places(const struct golden *golden, int group,
                               const struct statistics *ours)
{
    char name[64];
    double *theirs = NULL;
    struct golden_shape shape;
    (void)snprintf(name, sizeof name, "predicted_frequency%d", group);
    assert_int_equal(golden_doubles(&theirs, &shape, golden, name), LS_OK);
    assert_int_equal(shape.count, CELLS);
    for (int c = 0; c < CELLS; c++) {
        double mean = ours->sum[c] / OUR_STEPS;
        double variance = ours->sum_squares[c] / OUR_STEPS - mean * mean;
        /* 1e-4 over 2 x 256 cells, two-sided: 2e-7 a cell, 5.2 standard deviations. */
        double limit = 5.2 * sqrt(variance * (1.0 / GOLDEN_STEPS + 1.0 / OUR_STEPS));
        if (!(fabs(theirs[c] - mean) < limit))
            fail_msg("%s, row %d, column %d: %g instead of %g, limit %g", name, c / 16, c % 16,
                     mean, theirs[c], limit);
    }
    free(theirs);
}

static void distribution_equals_the_public_code(void **state)
{
    (void)state;
    char path[512];
    if (!golden_path(path, sizeof path, "mask_statistics.h5"))
        skip();
    struct golden *golden = NULL;
    assert_int_equal(golden_open(&golden, path), LS_OK);
    const struct config_mask masks[2] = {short_range, long_range};
    struct statistics *statistics = calloc(2, sizeof *statistics);
    struct mask_lists lists[2];
    assert_non_null(statistics);
    lists_open(lists, 2);
    for (int step = 0; step < OUR_STEPS; step++) {
        draw_or_fail(lists, masks, 2, public_grid, BATCH_MAX, (uint64_t)step, 3);
        for (int g = 0; g < 2; g++)
            collect(&statistics[g], &lists[g], step);
    }
    for (int g = 0; g < 2; g++) {
        expect_same_places(golden, g, &statistics[g]);
        expect_same_lengths(golden, "context_kept", g, statistics[g].context);
        expect_same_lengths(golden, "predicted_kept", g, statistics[g].predicted);
    }
    lists_close(lists, 2);
    free(statistics);
    golden_close(&golden);
}

/* Rows ascending and in range; returns how often each token is in either list of clip `b`. */
static void mark_tokens(int *seen, const int32_t *list, int count, int b, int64_t tokens)
{
    for (int k = 0; k < count; k++) {
        int32_t token = list[(int64_t)b * count + k];
        assert_true(token >= 0 && token < tokens);
        assert_true(k == 0 || token > list[(int64_t)b * count + k - 1]);
        seen[token]++;
    }
}

static void lists_are_disjoint_and_cover_before_the_cut(void **state)
{
    (void)state;
    static const struct mask_grid grids[] = {{8, 16, 16}, {4, 7, 12}, {1, 3, 3}, {3, 16, 8}};
    const struct config_mask masks[2] = {short_range, long_range};
    struct mask_lists lists[2];
    lists_open(lists, 2);
    for (size_t i = 0; i < sizeof grids / sizeof *grids; i++) {
        int64_t tokens = mask_grid_tokens(grids[i]);
        for (uint64_t step = 0; step < 50; step++)
            for (int batch = 1; batch <= 5; batch += 4) {
                draw_or_fail(lists, masks, 2, grids[i], batch, step, 0);
                for (int g = 0; g < 2; g++)
                    for (int b = 0; b < batch; b++) {
                        int seen[TOKENS_MAX] = {0};
                        mark_tokens(seen, lists[g].context, lists[g].context_count, b, tokens);
                        mark_tokens(seen, lists[g].predicted, lists[g].predicted_count, b, tokens);
                        int total = 0;
                        for (int64_t n = 0; n < tokens; n++) {
                            assert_true(seen[n] <= 1);
                            total += seen[n];
                        }
                        assert_true(lists[g].context_count > 0 && lists[g].predicted_count > 0);
                        if (batch == 1) /* nothing is cut */
                            assert_int_equal(total, tokens);
                    }
            }
    }
    lists_close(lists, 2);
}

/* One block of a known size a step: its place must reach every place, the last ones included. */
static void places_are_uniform_to_the_last_row_and_column(void **state)
{
    (void)state;
    struct config_mask mask = short_range;
    const struct mask_grid grid = {3, 6, 7};
    mask.num_blocks = 1;
    mask.spatial_scale[0] = mask.spatial_scale[1] = 0.22;  /* int(42 * 0.22) = 9 */
    mask.temporal_scale[0] = mask.temporal_scale[1] = 0.7; /* int(3 * 0.7) = 2 */
    mask.aspect_ratio[0] = mask.aspect_ratio[1] = 1.0;
    struct mask_grid block = mask_block_size(&mask, grid, 239, 0);
    assert_int_equal(block.times, 2);
    assert_int_equal(block.rows, 3);
    assert_int_equal(block.columns, 3);
    enum { PLACES = 2 * 4 * 5, N = 8000 };
    int seen[PLACES] = {0};
    struct mask_lists lists[1];
    lists_open(lists, 1);
    for (int i = 0; i < N; i++) {
        draw_or_fail(lists, &mask, 1, grid, 1, (uint64_t)i, 0);
        assert_int_equal(lists[0].predicted_count, 18);
        int first = lists[0].predicted[0];
        seen[(first / 42 * 4 + first / 7 % 6) * 5 + first % 7]++;
    }
    double chi_square = 0.0;
    for (int p = 0; p < PLACES; p++)
        chi_square += (seen[p] - (double)N / PLACES) * (seen[p] - (double)N / PLACES) * PLACES / N;
    assert_true(chi_square < 82.06); /* 39 degrees of freedom, 1e-4 */
    lists_close(lists, 1);
}

static void size_is_shared_by_groups_and_changes_by_step(void **state)
{
    (void)state;
    struct config_mask ranges = short_range;
    ranges.spatial_scale[1] = 0.6;
    ranges.temporal_scale[0] = 0.25;
    int changes = 0;
    struct mask_grid last = {0, 0, 0};
    for (uint64_t step = 0; step < 100; step++) {
        struct mask_grid a = mask_block_size(&ranges, public_grid, 239, step);
        struct mask_grid b = mask_block_size(&ranges, public_grid, 239, step);
        assert_memory_equal(&a, &b, sizeof a);
        assert_true(a.times >= 2 && a.times <= 8);
        changes += memcmp(&a, &last, sizeof a) != 0;
        last = a;
        /* The same random numbers in both public groups: tall in one is tall in the other. */
        struct mask_grid small = mask_block_size(&short_range, public_grid, 239, step);
        struct mask_grid large = mask_block_size(&long_range, public_grid, 239, step);
        if (small.rows > small.columns + 1)
            assert_true(large.rows > large.columns);
        if (small.columns > small.rows + 1)
            assert_true(large.columns > large.rows);
    }
    assert_true(changes > 60);
}

static void draws_depend_on_step_micro_batch_and_sample_only(void **state)
{
    (void)state;
    const struct config_mask masks[2] = {short_range, long_range};
    struct mask_lists a[2];
    struct mask_lists b[2];
    lists_open(a, 2);
    lists_open(b, 2);
    draw_or_fail(a, masks, 2, public_grid, 4, 7, 2);
    draw_or_fail(b, masks, 2, public_grid, 4, 8, 2);
    draw_or_fail(b, masks, 2, public_grid, 4, 7, 2);
    for (int g = 0; g < 2; g++) {
        size_t bytes = (size_t)a[g].context_count * 4 * sizeof(int32_t);
        assert_int_equal(a[g].context_count, b[g].context_count);
        assert_memory_equal(a[g].context, b[g].context, bytes);
        assert_memory_not_equal(a[g].context, a[g].context + a[g].context_count,
                                (size_t)a[g].context_count * sizeof(int32_t));
    }
    draw_or_fail(b, masks, 2, public_grid, 4, 7, 1);
    assert_true(a[0].context_count != b[0].context_count ||
                memcmp(a[0].context, b[0].context, (size_t)a[0].context_count * 4) != 0);
    lists_close(a, 2);
    lists_close(b, 2);
}

static void public_keys_change_the_lists(void **state)
{
    (void)state;
    struct mask_lists plain[1];
    struct mask_lists keyed[1];
    struct config_mask mask = short_range;
    const int64_t tokens = mask_grid_tokens(public_grid);
    const int batch = 6;
    lists_open(plain, 1);
    lists_open(keyed, 1);
    draw_or_fail(plain, &mask, 1, public_grid, batch, 11, 0);
    const int context = plain[0].context_count;
    const int predicted = plain[0].predicted_count;
    assert_true(context + predicted < tokens); /* the cut drops some */

    mask.max_keep = 100;
    draw_or_fail(keyed, &mask, 1, public_grid, batch, 11, 0);
    assert_int_equal(keyed[0].context_count, 100);
    for (int b = 0; b < batch; b++)
        assert_memory_equal(keyed[0].context + (ptrdiff_t)b * 100,
                            plain[0].context + (ptrdiff_t)b * context, 100 * sizeof(int32_t));

    mask.full_complement = true; /* all that the 100 are not */
    draw_or_fail(keyed, &mask, 1, public_grid, batch, 11, 0);
    assert_int_equal(keyed[0].context_count, 100);
    assert_int_equal(keyed[0].predicted_count, tokens - 100);
    for (int b = 0; b < batch; b++) {
        int seen[TOKENS_MAX] = {0};
        mark_tokens(seen, keyed[0].context, keyed[0].context_count, b, tokens);
        mark_tokens(seen, keyed[0].predicted, keyed[0].predicted_count, b, tokens);
        for (int64_t n = 0; n < tokens; n++)
            assert_int_equal(seen[n], 1);
    }

    mask = short_range;
    mask.pred_full_complement = true;
    draw_or_fail(keyed, &mask, 1, public_grid, batch, 11, 0);
    assert_int_equal(keyed[0].predicted_count, predicted);
    assert_int_equal(keyed[0].context_count, tokens - predicted);

    mask = short_range;
    mask.inv_block = true;
    draw_or_fail(keyed, &mask, 1, public_grid, batch, 11, 0);
    assert_int_equal(keyed[0].context_count, predicted);
    assert_int_equal(keyed[0].predicted_count, context);
    assert_memory_equal(keyed[0].context, plain[0].predicted,
                        (size_t)batch * (size_t)predicted * sizeof(int32_t));
    lists_close(plain, 1);
    lists_close(keyed, 1);
}

static void context_spans_only_the_first_times(void **state)
{
    (void)state;
    struct config_mask mask = short_range;
    struct mask_lists lists[1];
    mask.max_temporal_keep = 0.4; /* int(8 * 0.4) = 3 time steps */
    lists_open(lists, 1);
    for (uint64_t step = 0; step < 20; step++) {
        draw_or_fail(lists, &mask, 1, public_grid, 1, step, 0);
        for (int k = 0; k < lists[0].context_count; k++)
            assert_true(lists[0].context[k] < 3 * 256);
        assert_int_equal(lists[0].context_count + lists[0].predicted_count, 2048);
    }
    lists_close(lists, 1);
}

static void refuses_masks_that_leave_nothing(void **state)
{
    (void)state;
    struct config_mask mask = long_range;
    assert_int_equal(mask_check(&short_range, 1, public_grid), LS_OK);
    assert_int_equal(mask_check(&long_range, 1, public_grid), LS_OK);
    mask.spatial_scale[1] = 1.0; /* 16 x 16 blocks happen at aspects near 1 only */
    assert_int_equal(mask_check(&mask, 1, public_grid), LS_USAGE);
    assert_non_null(strstr(status_message(), "mask[0]"));
    assert_non_null(strstr(status_message(), "no context"));
    mask.temporal_scale[0] = mask.temporal_scale[1] = 0.5; /* now half the times stay */
    assert_int_equal(mask_check(&mask, 1, public_grid), LS_OK);
    mask = short_range;
    mask.num_blocks = 1500; /* possible, but never seen */
    assert_int_equal(mask_check(&mask, 1, public_grid), LS_USAGE);
    const struct mask_grid tiny = {1, 2, 2}; /* int(4 * 0.15) = 0 */
    assert_int_equal(mask_check(&short_range, 1, tiny), LS_USAGE);
    assert_non_null(strstr(status_message(), "can be empty"));
    const struct mask_grid none = {0, 2, 2};
    assert_int_equal(mask_check(&short_range, 1, none), LS_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distribution_equals_the_public_code),
        cmocka_unit_test(lists_are_disjoint_and_cover_before_the_cut),
        cmocka_unit_test(places_are_uniform_to_the_last_row_and_column),
        cmocka_unit_test(size_is_shared_by_groups_and_changes_by_step),
        cmocka_unit_test(draws_depend_on_step_micro_batch_and_sample_only),
        cmocka_unit_test(public_keys_change_the_lists),
        cmocka_unit_test(context_spans_only_the_first_times),
        cmocka_unit_test(refuses_masks_that_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
