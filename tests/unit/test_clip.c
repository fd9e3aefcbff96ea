/* Frame numbers of clips: golden/clip_indices.h5 and the edges that it has no case for. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "data/clip.h"
#include "tests/support/golden.h"

enum { CLIP_FRAMES_MAX = 64 };

/* Columns of `cases`: frames, average fps, target fps, frames per clip, frame step, window end (-1
 * where the whole video is taken). */
static void numbers_equal_the_public_loader(void **state)
{
    (void)state;
    char path[512];
    if (!golden_path(path, sizeof path, "clip_indices.h5"))
        skip();
    struct golden *golden = NULL;
    double *cases = NULL;
    int32_t *expected = NULL;
    struct golden_shape shape;
    assert_int_equal(golden_open(&golden, path), LS_OK);
    assert_int_equal(golden_doubles(&cases, &shape, golden, "cases"), LS_OK);
    assert_int_equal(shape.size[0], 400);
    assert_int_equal(shape.size[1], 6);
    assert_int_equal(golden_ints(&expected, &shape, golden, "frame_numbers"), LS_OK);
    assert_int_equal(shape.size[0], 400);
    assert_int_equal(shape.size[1], CLIP_FRAMES_MAX);
    for (int i = 0; i < 400; i++) {
        const double *given = cases + (ptrdiff_t)i * 6;
        const int32_t *numbers = expected + (ptrdiff_t)i * CLIP_FRAMES_MAX;
        int64_t frames = (int64_t)given[0];
        int count = (int)given[3];
        int64_t step = clip_frame_step(given[1], given[2], 0);
        assert_int_equal(step, (int64_t)given[4]);
        bool whole = given[5] < 0.0;
        int64_t window = whole ? 0 : (int64_t)given[5] - count * step;
        int64_t windows = clip_window_count(frames, count, step);
        assert_true(whole ? windows == 1 : window >= 0 && window < windows);
        int64_t got[CLIP_FRAMES_MAX];
        clip_numbers(got, frames, count, step, window);
        for (int t = 0; t < count; t++)
            if (got[t] != numbers[t])
                fail_msg("case %d, frame %d: %d instead of %d", i, t, (int)got[t], (int)numbers[t]);
    }
    free(cases);
    free(expected);
    golden_close(&golden);
}

static void step_is_at_least_one(void **state)
{
    (void)state;
    assert_int_equal(clip_frame_step(3.0, 4.0, 0), 1);    /* slower than the target */
    assert_int_equal(clip_frame_step(0.0, 4.0, 0), 1);    /* unknown */
    assert_int_equal(clip_frame_step(NAN, 4.0, 0), 1);    /* nonsense */
    assert_int_equal(clip_frame_step(30.0, 0.0, 0), 1);   /* every frame */
    assert_int_equal(clip_frame_step(30.0, 4.0, 3), 3);   /* set by the config */
    assert_int_equal(clip_frame_step(29.97, 4.0, 0), 7);  /* 30 // 4 */
    assert_int_equal(clip_frame_step(12.0, 0.1, 0), 119); /* Python: 12 // 0.1 */
    assert_int_equal(clip_frame_step(1e300, 1e-300, 0), 1000000000);
    assert_int_equal(clip_frame_step(1e18, 1.0, 0), 1000000000);
}

static void numbers_stay_inside_every_video(void **state)
{
    (void)state;
    static const int counts[] = {1, 2, 3, 16, 64};
    int64_t got[CLIP_FRAMES_MAX];
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (int64_t frames = 1; frames < 130; frames++)
            for (int64_t step = 1; step < 9; step++) {
                int64_t windows = clip_window_count(frames, counts[c], step);
                for (int64_t window = 0; window<windows; window += windows> 1 ? windows - 1 : 1) {
                    clip_numbers(got, frames, counts[c], step, window);
                    for (int t = 0; t < counts[c]; t++) {
                        assert_true(got[t] >= 0 && got[t] < frames);
                        assert_true(t == 0 || got[t] >= got[t - 1]);
                    }
                }
            }
}

static void one_frame_gives_equal_frames(void **state)
{
    (void)state;
    int64_t got[16];
    clip_numbers(got, 1, 16, 7, 0);
    for (int t = 0; t < 16; t++)
        assert_int_equal(got[t], 0);
}

static void times_are_evenly_spaced_inside_the_video(void **state)
{
    (void)state;
    double seconds[16];
    for (int i = 0; i <= 4; i++) {
        clip_times(seconds, 10.0, 16, 4.0, i * 0.25);
        for (int k = 0; k < 16; k++)
            assert_true(fabs(seconds[k] - (i * 0.25 * 6.25 + k / 4.0)) < 1e-12);
        assert_true(seconds[15] <= 10.0 + 1e-12);
    }
    clip_times(seconds, 1.0, 16, 4.0, 0.9); /* too short: from its start, beyond its end */
    assert_true(seconds[0] == 0.0 && seconds[15] == 3.75);
    clip_times(seconds, 0.0, 1, 4.0, 0.9);
    assert_true(seconds[0] == 0.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_equal_the_public_loader),
        cmocka_unit_test(step_is_at_least_one),
        cmocka_unit_test(numbers_stay_inside_every_video),
        cmocka_unit_test(one_frame_gives_equal_frames),
        cmocka_unit_test(times_are_evenly_spaced_inside_the_video),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
