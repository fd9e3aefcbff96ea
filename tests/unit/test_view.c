/* Clips of the frozen evaluation: where segments and views lie, that threads change nothing, and
 * that a video that cannot be decoded is told of and no more. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/files.h"
#include "data/clip.h"
#include "data/view.h"
#include "tests/support/packed.h"

enum { FRAMES = 4, SIDE = 32, SEGMENTS = 2, VIEWS = 3, WAIT_S = 60 };

static const size_t clip_bytes = (size_t)FRAMES * SIDE * SIDE * 3;

static const struct view_options options = {.clip_frames = FRAMES,
                                            .frame_step = 2,
                                            .segments = SEGMENTS,
                                            .views = VIEWS,
                                            .size = SIDE,
                                            .test_scale = 1.0,
                                            .scale = {0.3, 1.0},
                                            .ratio = {0.75, 4.0 / 3.0},
                                            .seed = 9};

/* Every frame that a segment's clip can take is in the video; the segments go through it. */
static void segments_lie_in_the_video(void **state)
{
    (void)state;
    for (int64_t frames = 1; frames < 200; frames++)
        for (int segments = 1; segments <= 4; segments++)
            for (int64_t step = 1; step <= 4; step++) {
                int64_t before = -1;
                for (int s = 0; s < segments; s++) {
                    const struct view_window w = view_window(frames, FRAMES, step, segments, s);
                    int64_t numbers[FRAMES];
                    assert_true(w.begin >= 0 && w.room >= 1 && w.frames >= 1);
                    assert_true(w.begin >= before);
                    before = w.begin;
                    clip_numbers(numbers, w.frames, FRAMES, step, w.room - 1);
                    assert_true(w.begin + numbers[0] >= 0);
                    assert_true(w.begin + numbers[FRAMES - 1] < frames);
                }
            }
}

static void segments_are_those_of_the_public_code(void **state)
{
    (void)state;
    /* 100 frames in 2 parts of 50; a clip of 4 x 4 = 16 has 34 places in a part. */
    struct view_window w = view_window(100, FRAMES, 4, 2, 1);
    assert_int_equal(w.begin, 50);
    assert_int_equal(w.frames, 50);
    assert_int_equal(w.room, 34);
    /* 20 frames: parts of 10 are too short; the second clip begins where the last one fits. */
    w = view_window(20, FRAMES, 4, 2, 1);
    assert_int_equal(w.begin, 4);
    assert_int_equal(w.frames, 16);
    assert_int_equal(w.room, 1);
    /* One segment is the pretraining's rule. */
    w = view_window(20, FRAMES, 4, 1, 0);
    assert_int_equal(w.room, clip_window_count(20, FRAMES, 4));
    assert_int_equal(w.begin, 0);
    /* A clip that is all of the video takes its last frame too. */
    int64_t numbers[FRAMES];
    w = view_window(FRAMES, FRAMES, 1, 1, 0);
    clip_numbers(numbers, w.frames, FRAMES, 1, 0);
    assert_int_equal(numbers[FRAMES - 1], FRAMES - 1);
}

static void views_lie_along_the_long_side(void **state)
{
    (void)state;
    struct crop_box box = view_box(&options, 0, 100, 40);
    assert_true(box.left == 0 && box.top == 0 && box.width == 40 && box.height == 40);
    box = view_box(&options, 2, 100, 40);
    assert_true(box.left == 60 && box.top == 0 && box.width == 40 && box.height == 40);
    box = view_box(&options, 1, 40, 100);
    assert_true(box.left == 0 && box.top == 30 && box.width == 40 && box.height == 40);
    struct view_options one = options;
    one.views = 1;
    one.test_scale = 0.875;
    box = view_box(&one, 0, 160, 80);
    assert_true(box.left == 45 && box.top == 5 && box.width == 70 && box.height == 70);
}

struct fixture {
    struct packed packed;
    struct dataset *dataset;
    struct view_item *items;
    uint8_t *pixels;
    int count;
};

static void open_fixture(struct fixture *it)
{
    struct pack_summary summary;
    assert_int_equal(packed_open(&it->packed), LS_OK);
    assert_int_equal(packed_make_all(&it->packed), LS_OK);
    assert_int_equal(packed_pack(&summary, &it->packed, 1, 0), LS_OK);
    assert_int_equal(dataset_open(&it->dataset, it->packed.dataset), LS_OK);
    it->count = (int)dataset_video_count(it->dataset) * SEGMENTS;
    it->items = calloc((size_t)it->count, sizeof *it->items);
    it->pixels = calloc((size_t)it->count, clip_bytes);
    assert_non_null(it->items);
    assert_non_null(it->pixels);
    for (int i = 0; i < it->count; i++)
        it->items[i] = (struct view_item){.dataset = it->dataset,
                                          .video = i / SEGMENTS,
                                          .segment = i % SEGMENTS,
                                          .view = i % VIEWS,
                                          .random = i / SEGMENTS % 2 == 1,
                                          .step = 5,
                                          .sample = i / SEGMENTS,
                                          .pixels = it->pixels + (size_t)i * clip_bytes};
}

static void close_fixture(struct fixture *it)
{
    dataset_close(&it->dataset);
    assert_int_equal(packed_close(&it->packed), LS_OK);
    free(it->items);
    free(it->pixels);
}

static void make_all(struct fixture *it, int threads)
{
    struct view_pool *pool = NULL;
    memset(it->pixels, 0, (size_t)it->count * clip_bytes);
    assert_int_equal(view_pool_open(&pool, &options, threads), LS_OK);
    view_pool_start(pool, it->items, it->count);
    assert_int_equal(view_pool_wait(pool, WAIT_S), LS_OK);
    view_pool_start(pool, it->items, 0); /* nothing to do is done at once */
    assert_int_equal(view_pool_wait(pool, WAIT_S), LS_OK);
    view_pool_close(&pool);
}

static void threads_change_nothing(void **state)
{
    (void)state;
    struct fixture it = {0};
    open_fixture(&it);
    uint8_t *first = calloc((size_t)it.count, clip_bytes);
    assert_non_null(first);
    make_all(&it, 1);
    memcpy(first, it.pixels, (size_t)it.count * clip_bytes);
    make_all(&it, 3);
    for (int i = 0; i < it.count; i++)
        assert_int_equal(it.items[i].status, LS_OK);
    assert_memory_equal(first, it.pixels, (size_t)it.count * clip_bytes);
    /* Another step draws other windows or crops. */
    for (int i = 0; i < it.count; i++)
        it.items[i].step = 6;
    make_all(&it, 2);
    assert_true(memcmp(first, it.pixels, (size_t)it.count * clip_bytes) != 0);
    free(first);
    close_fixture(&it);
}

/* A third of the shard's bytes are gone: some videos with them, the others are not touched. */
static void a_damaged_video_is_left_out(void **state)
{
    (void)state;
    struct fixture it = {0};
    char path[160];
    uint64_t bytes = 0;
    int good = 0;
    open_fixture(&it);
    (void)snprintf(path, sizeof path, "%s/shard-00000.h5", it.packed.dataset);
    assert_int_equal(files_size(&bytes, path), LS_OK);
    const size_t gone = bytes / 3;
    uint8_t *zeros = calloc(gone, 1);
    assert_non_null(zeros);
    const int file = open(path, O_WRONLY);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, zeros, gone, (off_t)(bytes / 4)), (ssize_t)gone);
    (void)close(file);
    free(zeros);
    make_all(&it, 2);
    for (int i = 0; i < it.count; i++) {
        assert_true(it.items[i].status == LS_OK || it.items[i].status == LS_DATA);
        good += it.items[i].status == LS_OK ? 1 : 0;
    }
    assert_true(good > 0 && good < it.count);
    close_fixture(&it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_lie_in_the_video),
        cmocka_unit_test(segments_are_those_of_the_public_code),
        cmocka_unit_test(views_lie_along_the_long_side),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(a_damaged_video_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
