/* Draws of videos: every epoch takes each video once, weights are kept, nothing depends on who
 * asks. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/status.h"
#include "data/draw.h"

static void first_draw(int *dataset, int64_t *video, const struct draw *draw, int64_t step,
                       int micro_batch, int sample)
{
    struct draw_sample draws;
    draw_sample_open(&draws, draw, step, micro_batch, sample);
    draw_sample_next(dataset, video, &draws, draw);
}

static struct draw *open_or_fail(const struct draw_dataset *datasets, int count, bool weighted,
                                 int micro_batches, int batch_size)
{
    struct draw *draw = NULL;
    assert_int_equal(draw_open(&draw, datasets, count, weighted, 239, micro_batches, batch_size),
                     LS_OK);
    return draw;
}

/* 7 + 4 + 0 + 12 = 23 videos against micro-batches of 3 in steps of 4: epochs end inside
 * micro-batches. */
static void epoch_takes_every_video_once_and_wraps(void **state)
{
    (void)state;
    static const struct draw_dataset datasets[] = {{.videos = 7, .frames = 16},
                                                   {.videos = 4, .frames = 16},
                                                   {.videos = 0, .frames = 16},
                                                   {.videos = 12, .frames = 16}};
    static const int first[] = {0, 7, 11, 11};
    struct draw *draw = open_or_fail(datasets, 4, false, 4, 3);
    int order[5][23];
    for (int position = 0; position < 5 * 23; position++) {
        int dataset = -1;
        int64_t video = -1;
        first_draw(&dataset, &video, draw, position / 12, position / 3 % 4, position % 3);
        assert_in_range(dataset, 0, 3);
        assert_in_range(video, 0, datasets[dataset].videos - 1);
        order[position / 23][position % 23] = first[dataset] + (int)video;
    }
    for (int epoch = 0; epoch < 5; epoch++) {
        int seen[23] = {0};
        for (int i = 0; i < 23; i++)
            seen[order[epoch][i]]++;
        for (int v = 0; v < 23; v++)
            assert_int_equal(seen[v], 1);
        if (epoch > 0)
            assert_memory_not_equal(order[epoch], order[epoch - 1], sizeof order[epoch]);
    }
    draw_close(&draw);
}

/* |count - n p| within 5 standard deviations: 6e-7 for each of the counts below. */
static void expect_share(int count, int n, double p)
{
    if (!(fabs(count - n * p) <= 5.0 * sqrt(n * p * (1.0 - p)) + 1e-9))
        fail_msg("%d of %d draws, expected a share of %g", count, n, p);
}

static void dataset_weights_are_kept(void **state)
{
    (void)state;
    static const struct draw_dataset datasets[] = {{.videos = 5, .frames = 16, .weight = 0.335},
                                                   {.videos = 900, .frames = 16, .weight = 0.1},
                                                   {.videos = 3, .frames = 16, .weight = 0.0},
                                                   {.videos = 2, .frames = 16, .weight = 0.565}};
    enum { N = 20000 };
    struct draw *draw = open_or_fail(datasets, 4, true, 4, 10);
    int datasets_seen[4] = {0};
    int videos_seen[2] = {0};
    for (int i = 0; i < N; i++) {
        int dataset = -1;
        int64_t video = -1;
        first_draw(&dataset, &video, draw, i / 40, i / 10 % 4, i % 10);
        datasets_seen[dataset]++;
        assert_in_range(video, 0, datasets[dataset].videos - 1);
        if (dataset == 3)
            videos_seen[video]++;
    }
    for (int d = 0; d < 4; d++)
        expect_share(datasets_seen[d], N, datasets[d].weight);
    expect_share(videos_seen[0], datasets_seen[3], 0.5);
    draw_close(&draw);
}

static void video_weights_are_kept(void **state)
{
    (void)state;
    static const double weights[] = {1.0, 0.0, 2.0, 5.0};
    static const struct draw_dataset datasets[] = {
        {.videos = 4, .video_weights = weights, .frames = 16, .weight = 0.25},
        {.videos = 2, .frames = 16, .weight = 0.75}};
    enum { N = 20000 };
    for (int weighted = 0; weighted < 2; weighted++) {
        struct draw *draw = open_or_fail(datasets, 2, weighted != 0, 1, 8);
        int seen[2][4] = {{0}};
        for (int i = 0; i < N; i++) {
            int dataset = -1;
            int64_t video = -1;
            first_draw(&dataset, &video, draw, i / 8, 0, i % 8);
            seen[dataset][video]++;
        }
        for (int v = 0; v < 4; v++) /* without dataset weights: 8 of 10 units of weight */
            expect_share(seen[0][v], N, (weighted ? 0.25 : 0.8) * weights[v] / 8.0);
        expect_share(seen[1][0], N, (weighted ? 0.75 : 0.2) / 2.0);
        draw_close(&draw);
    }
}

/* Three groups; every group passes through its own epochs whatever the others do. */
static void groups_alternate_and_keep_their_epochs(void **state)
{
    (void)state;
    static const struct draw_dataset datasets[] = {{.videos = 6, .frames = 16},
                                                   {.videos = 10, .frames = 64},
                                                   {.videos = 3, .frames = 16},
                                                   {.videos = 5, .frames = 8}};
    static const int group_videos[] = {9, 10, 5};
    enum { STEPS = 240 };
    struct draw *draw = open_or_fail(datasets, 4, false, 2, 1);
    assert_int_equal(draw_group_count(draw), 3);
    assert_int_equal(draw_group_frames(draw, 0), 16);
    assert_int_equal(draw_group_frames(draw, 1), 64);
    assert_int_equal(draw_group_frames(draw, 2), 8);
    int turns[3] = {0};
    int seen[3][12] = {{0}};
    for (int turn = 0; turn < 2 * STEPS; turn++) {
        int dataset = -1;
        int64_t video = -1;
        int group = draw_group(draw, turn / 2, turn % 2);
        first_draw(&dataset, &video, draw, turn / 2, turn % 2, 0);
        assert_int_equal(datasets[dataset].frames, draw_group_frames(draw, group));
        int place = (int)video + (dataset == 2 ? 6 : 0);
        seen[group][place]++;
        if (++turns[group] % group_videos[group] == 0)
            for (int v = 0; v < group_videos[group]; v++)
                assert_int_equal(seen[group][v], turns[group] / group_videos[group]);
    }
    for (int g = 0; g < 3; g++)
        assert_true(fabs(turns[g] - 2.0 * STEPS * group_videos[g] / 24.0) <= 2.0);
    draw_close(&draw);
}

static void groups_follow_their_weights(void **state)
{
    (void)state;
    static const struct draw_dataset datasets[] = {{.videos = 6, .frames = 16, .weight = 1.0},
                                                   {.videos = 10, .frames = 64, .weight = 5.0},
                                                   {.videos = 3, .frames = 16, .weight = 2.0},
                                                   {.videos = 3, .frames = 8, .weight = 0.0}};
    enum { N = 20000 };
    struct draw *draw = open_or_fail(datasets, 4, true, 4, 2);
    int seen[3] = {0};
    for (int i = 0; i < N; i++) {
        int group = draw_group(draw, i / 4, i % 4);
        int dataset = -1;
        int64_t video = -1;
        first_draw(&dataset, &video, draw, i / 4, i % 4, 1);
        assert_int_equal(datasets[dataset].frames, draw_group_frames(draw, group));
        seen[group]++;
    }
    expect_share(seen[0], N, 0.375);
    expect_share(seen[1], N, 0.625);
    assert_int_equal(seen[2], 0);
    draw_close(&draw);
}

static void replacements_repeat_exactly_and_reach_every_video(void **state)
{
    (void)state;
    static const struct draw_dataset datasets[] = {{.videos = 3, .frames = 16},
                                                   {.videos = 4, .frames = 16}};
    static const int first[] = {0, 3};
    struct draw *draw = open_or_fail(datasets, 2, false, 4, 3);
    struct draw *again = open_or_fail(datasets, 2, false, 4, 3);
    int seen[7] = {0};
    struct draw_sample a;
    struct draw_sample b;
    draw_sample_open(&a, draw, 5, 2, 1);
    draw_sample_open(&b, again, 5, 2, 1);
    for (int i = 0; i < 200; i++) {
        int dataset[2] = {-1, -1};
        int64_t video[2] = {-1, -1};
        draw_sample_next(&dataset[0], &video[0], &a, draw);
        draw_sample_next(&dataset[1], &video[1], &b, again);
        assert_int_equal(dataset[0], dataset[1]);
        assert_int_equal(video[0], video[1]);
        seen[first[dataset[0]] + video[0]]++;
    }
    for (int v = 0; v < 7; v++)
        assert_true(seen[v] > 0);
    draw_close(&draw);
    draw_close(&again);
}

static void refuses_what_cannot_be_drawn(void **state)
{
    (void)state;
    static const double negative[] = {1.0, -1.0};
    static const double zero[] = {0.0, 0.0};
    static const struct {
        struct draw_dataset dataset;
        bool weighted;
        const char *says;
    } cases[] = {
        {{.videos = 0, .frames = 16}, false, "no videos"},
        {{.videos = 0, .frames = 16, .weight = 1.0}, true, "0 videos"},
        {{.videos = 5, .frames = 16, .weight = 0.0}, true, "no videos"},
        {{.videos = 5, .frames = 16, .weight = -1.0}, true, "weight -1"},
        {{.videos = 5, .frames = 16, .weight = NAN}, true, "weight"},
        {{.videos = 2, .frames = 16, .video_weights = negative}, false, "weight -1"},
        {{.videos = 2, .frames = 16, .video_weights = zero}, false, "sum to 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct draw *draw = NULL;
        assert_int_equal(draw_open(&draw, &cases[i].dataset, 1, cases[i].weighted, 1, 1, 1),
                         LS_USAGE);
        assert_null(draw);
        assert_non_null(strstr(status_message(), cases[i].says));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epoch_takes_every_video_once_and_wraps),
        cmocka_unit_test(dataset_weights_are_kept),
        cmocka_unit_test(video_weights_are_kept),
        cmocka_unit_test(groups_alternate_and_keep_their_epochs),
        cmocka_unit_test(groups_follow_their_weights),
        cmocka_unit_test(replacements_repeat_exactly_and_reach_every_video),
        cmocka_unit_test(refuses_what_cannot_be_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
