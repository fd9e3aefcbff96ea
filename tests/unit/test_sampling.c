/* What a list says beside paths, on its way through pack and loader to the clips: a video's true
 * rate and its weight. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "data/describe.h"
#include "data/frame_times.h"
#include "data/loader.h"
#include "data/pack.h"
#include "tests/support/make_video.h"
#include "tests/support/packed.h"

enum { FRAMES = 40, FPS = 25, CLIP = 8, SIDE = 32, BATCH = 4, STEPS = 100 };

struct fixture {
    struct packed packed;
    struct dataset *dataset;
    int64_t slow, plain; /* one whose true rate is half of its header's; one without a rate */
    struct config config;
    struct config_dataset config_dataset;
};

static int open_fixture(void **state)
{
    static const char list[] = "videos/slow.avi 3 1.0 12.5\nvideos/plain.avi 4 3.0\n";
    static const char *const names[] = {"slow.avi", "plain.avi"};
    struct fixture *fixture = calloc(1, sizeof *fixture);
    char path[128];
    struct pack_summary summary;
    assert_non_null(fixture);
    *state = fixture;
    assert_int_equal(packed_open(&fixture->packed), LS_OK);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", fixture->packed.videos, names[i]);
        assert_int_equal(make_video(&(struct make_video){.path = path,
                                                         .encoder = "mpeg4",
                                                         .width = 48,
                                                         .height = 32,
                                                         .frames = FRAMES,
                                                         .fps = FPS,
                                                         .gop = 10}),
                         LS_OK);
    }
    assert_int_equal(packed_write(&fixture->packed, "../list.csv", list, sizeof list - 1), LS_OK);
    (void)snprintf(path, sizeof path, "%s/list.csv", fixture->packed.folder);
    const char *inputs[] = {path};
    const struct pack_options options = {
        .inputs = inputs, .input_count = 1, .output = fixture->packed.dataset, .jobs = 2};
    assert_int_equal(pack_run(&summary, &options), LS_OK);
    assert_int_equal(summary.videos, 2);
    assert_int_equal(dataset_open(&fixture->dataset, fixture->packed.dataset), LS_OK);
    assert_int_equal(dataset_find(&fixture->slow, fixture->dataset, "slow.avi"), LS_OK);
    assert_int_equal(dataset_find(&fixture->plain, fixture->dataset, "plain.avi"), LS_OK);
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;
    dataset_close(&fixture->dataset);
    assert_int_equal(packed_close(&fixture->packed), LS_OK);
    free(fixture);
    return 0;
}

static struct loader *open_loader(struct fixture *fixture, double fps, enum config_sampling how)
{
    static const struct config_mask mask = {.num_blocks = 2,
                                            .spatial_scale = {0.3, 0.3},
                                            .temporal_scale = {1.0, 1.0},
                                            .aspect_ratio = {0.75, 1.5},
                                            .max_temporal_keep = 1.0};
    struct loader *loader = NULL;
    fixture->config_dataset = (struct config_dataset){.frames_per_clip = CLIP};
    fixture->config = (struct config){
        .micro_batches = 1,
        .data = {.datasets = &fixture->config_dataset,
                 .dataset_count = 1,
                 .batch_size = BATCH,
                 .crop_height = SIDE,
                 .crop_width = SIDE,
                 .patch_size = 8,
                 .tubelet_size = 2,
                 .fps = fps,
                 .sampling = how,
                 .num_workers = 2},
        .data_aug = {.random_resize_scale = {0.3, 1.0}, .random_resize_aspect_ratio = {0.75, 1.35}},
        .masks = {mask},
        .mask_count = 1,
        .meta = {.seed = 5},
        .run = {.prefetch = 2},
    };
    assert_int_equal(loader_open(&loader, &fixture->config, &fixture->dataset, 0, 0, 1, NULL, 0),
                     LS_OK);
    return loader;
}

/* Both rates are kept; the true one is used. */
static void a_true_rate_is_kept_beside_the_headers(void **state)
{
    const struct fixture *fixture = *state;
    struct video_detail detail;
    struct frame_times *times = NULL;
    double span = 0;
    int64_t frame = -1;
    const double second = 1.0;
    assert_int_equal(dataset_detail(&detail, fixture->dataset, fixture->slow), LS_OK);
    assert_true(detail.row.average_fps == 12.5);
    assert_int_equal(detail.row.average_rate_num, FPS * detail.row.average_rate_den);
    assert_true((detail.row.flags & VIDEO_RATE_GIVEN) != 0);
    assert_int_equal(dataset_detail(&detail, fixture->dataset, fixture->plain), LS_OK);
    assert_true(detail.row.average_fps == FPS);
    assert_true((detail.row.flags & VIDEO_RATE_GIVEN) == 0);
    assert_int_equal(frame_times_open(&times), LS_OK);
    assert_int_equal(frame_times_span(&span, times, fixture->dataset, fixture->slow), LS_OK);
    assert_true(fabs(span - (FRAMES - 1) / 12.5) < 1e-9);
    assert_int_equal(
        frame_times_nearest(&frame, times, fixture->dataset, fixture->slow, &second, 1), LS_OK);
    assert_int_equal(frame, 12); /* 12.5: of two equally near the earlier */
    assert_int_equal(frame_times_span(&span, times, fixture->dataset, fixture->plain), LS_OK);
    assert_true(fabs(span - (FRAMES - 1.0) / FPS) < 1e-3);
    frame_times_close(&times);
}

static void clips_of_both_ways_of_sampling_follow_the_true_rate(void **state)
{
    struct fixture *fixture = *state;
    static const enum config_sampling ways[] = {CONFIG_SAMPLING_FRAMES, CONFIG_SAMPLING_TIMESTAMPS};
    int seen[2] = {0, 0};
    for (int w = 0; w < 2; w++) {
        struct loader *loader = open_loader(fixture, 6.25, ways[w]);
        for (int step = 0; step < 8; step++) {
            struct loader_batch *batch = NULL;
            assert_int_equal(loader_next(loader, &batch, 20.0), LS_OK);
            for (int i = 0; i < batch->clips; i++) {
                const struct loader_clip_source *clip = &batch->sources[i];
                const bool slow = clip->video == fixture->slow;
                /* 7 steps of 1 / 6.25 s */
                const int64_t length = slow ? 14 : 28;
                seen[slow]++;
                if (ways[w] == CONFIG_SAMPLING_FRAMES)
                    assert_int_equal(clip->frame_step, slow ? 2 : 4);
                assert_in_range(clip->last_frame - clip->first_frame, length - 1, length + 3);
            }
            loader_release(loader, batch);
        }
        loader_close(&loader);
    }
    assert_true(seen[0] > 8 && seen[1] > 4);
}

/* 1.0 and 3.0: of 400 clips 300 are expected, with a standard deviation of 8.7. */
static void videos_are_drawn_by_their_weights(void **state)
{
    struct fixture *fixture = *state;
    struct loader *loader = open_loader(fixture, 25, CONFIG_SAMPLING_FRAMES);
    int heavy = 0;
    for (int step = 0; step < STEPS; step++) {
        struct loader_batch *batch = NULL;
        assert_int_equal(loader_next(loader, &batch, 20.0), LS_OK);
        for (int i = 0; i < batch->clips; i++)
            heavy += batch->sources[i].video == fixture->plain;
        loader_release(loader, batch);
    }
    loader_close(&loader);
    assert_in_range(heavy, 300 - 35, 300 + 35);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_true_rate_is_kept_beside_the_headers),
        cmocka_unit_test(clips_of_both_ways_of_sampling_follow_the_true_rate),
        cmocka_unit_test(videos_are_drawn_by_their_weights),
    };
    log_open(-1, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
