/* Crop boxes: inside the frame, of the stated distribution, with the central fallback. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "data/crop.h"

static const double public_scale[2] = {0.3, 1.0};
static const double public_ratio[2] = {0.75, 1.35};

static struct crop_box draw_at(uint64_t step, const double *scale, const double *ratio, int width,
                               int height)
{
    struct random_stream stream;
    random_open(&stream, 7, RANDOM_CROP, step, 0, 0);
    return crop_draw(&stream, scale, ratio, width, height);
}

static void boxes_lie_inside_the_frame(void **state)
{
    (void)state;
    static const int sizes[][2] = {{1, 1},     {1, 50},    {50, 1},    {3, 2},
                                   {340, 256}, {256, 340}, {427, 240}, {16384, 3}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (uint64_t step = 0; step < 500; step++) {
            struct crop_box box =
                draw_at(step, public_scale, public_ratio, sizes[i][0], sizes[i][1]);
            assert_true(box.left >= 0 && box.top >= 0 && box.width >= 1 && box.height >= 1);
            assert_true(box.left + box.width <= sizes[i][0]);
            assert_true(box.top + box.height <= sizes[i][1]);
        }
}

/* In a frame so large that every box fits, area and log aspect are uniform: means and variances
 * within 5 standard errors, ends reached, corners of the range of places reached. */
static void area_and_aspect_are_uniform(void **state)
{
    (void)state;
    enum { N = 20000 };
    static const double scale[2] = {0.1, 0.5};
    double area_mean = 0.0;
    double log_mean = 0.0;
    double left_mean = 0.0;
    for (uint64_t step = 0; step < N; step++) {
        struct crop_box box = draw_at(step, scale, public_ratio, 4000, 4000);
        double area = (double)box.width * box.height / 16e6;
        double log_aspect = log((double)box.width / box.height);
        assert_true(area > 0.0999 && area < 0.5001);
        assert_true(log_aspect > log(0.749) && log_aspect < log(1.351));
        area_mean += area / N;
        log_mean += log_aspect / N;
        left_mean += (double)box.left / (4000 - box.width) / N;
    }
    const double unit_sd = sqrt(1.0 / 12.0 / N);
    assert_true(fabs(area_mean - 0.3) < 5.0 * unit_sd * 0.4);
    assert_true(fabs(log_mean - 0.5 * (log(0.75) + log(1.35))) <
                5.0 * unit_sd * (log(1.35) - log(0.75)));
    assert_true(fabs(left_mean - 0.5) < 5.0 * unit_sd);
}

static void last_places_are_reached(void **state)
{
    (void)state;
    static const double half[2] = {0.25, 0.25};
    static const double square[2] = {1.0, 1.0};
    int lefts[5] = {0};
    int tops[5] = {0};
    for (uint64_t step = 0; step < 1000; step++) {
        struct crop_box box = draw_at(step, half, square, 8, 8);
        assert_int_equal(box.width, 4);
        assert_int_equal(box.height, 4);
        lefts[box.left]++;
        tops[box.top]++;
    }
    for (int i = 0; i < 5; i++) { /* 200 expected, 6 standard deviations */
        assert_in_range(lefts[i], 125, 275);
        assert_in_range(tops[i], 125, 275);
    }
}

static void falls_back_to_the_central_box(void **state)
{
    (void)state;
    struct crop_box box = draw_at(0, public_scale, public_ratio, 1000, 10);
    assert_int_equal(box.height, 10);
    assert_int_equal(box.width, 14); /* round(10 * 1.35), half to even */
    assert_int_equal(box.left, (1000 - 14) / 2);
    box = draw_at(0, public_scale, public_ratio, 10, 1000);
    assert_int_equal(box.width, 10);
    assert_int_equal(box.height, 13); /* round(10 / 0.75) */
    assert_int_equal(box.top, (1000 - 13) / 2);
    /* Too large ever to fit, aspect of the frame allowed: all of it. */
    static const double large[2] = {1.5, 2.0};
    box = draw_at(0, large, public_ratio, 100, 100);
    assert_int_equal(box.width, 100);
    assert_int_equal(box.height, 100);
}

static void whole_frame_when_scale_and_aspect_are_one(void **state)
{
    (void)state;
    static const double one[2] = {1.0, 1.0};
    struct crop_box box = draw_at(3, one, one, 64, 64);
    assert_int_equal(box.left, 0);
    assert_int_equal(box.top, 0);
    assert_int_equal(box.width, 64);
    assert_int_equal(box.height, 64);
}

static void flips_half_of_the_clips(void **state)
{
    (void)state;
    int flips = 0;
    for (uint64_t step = 0; step < 10000; step++) {
        struct random_stream stream;
        random_open(&stream, 7, RANDOM_CROP, step, 0, 0);
        (void)crop_draw(&stream, public_scale, public_ratio, 320, 240);
        flips += crop_draw_flip(&stream);
    }
    assert_in_range(flips, 4750, 5250); /* 5 standard deviations */
}

static void rescaled_boxes_keep_their_part(void **state)
{
    (void)state;
    for (uint64_t step = 0; step < 500; step++) {
        struct crop_box box = draw_at(step, public_scale, public_ratio, 320, 240);
        struct crop_box same = crop_rescale(box, 320, 240, 320, 240);
        assert_memory_equal(&box, &same, sizeof box);
        struct crop_box large = crop_rescale(box, 320, 240, 480, 360);
        assert_true(abs(large.left * 2 - box.left * 3) <= 1);
        assert_true(abs((large.left + large.width) * 2 - (box.left + box.width) * 3) <= 1);
        assert_true(large.left + large.width <= 480 && large.top + large.height <= 360);
        struct crop_box small = crop_rescale(box, 320, 240, 2, 1);
        assert_true(small.left >= 0 && small.width >= 1 && small.left + small.width <= 2);
        assert_true(small.top == 0 && small.height == 1);
    }
}

static void a_moving_box_goes_from_one_to_the_other(void **state)
{
    (void)state;
    for (uint64_t step = 0; step < 300; step++) {
        const struct crop_box a = draw_at(step, public_scale, public_ratio, 97, 61);
        const struct crop_box b = draw_at(step + 1000, public_scale, public_ratio, 97, 61);
        for (int frames = 1; frames < 20; frames++) {
            const struct crop_box first = crop_between(a, b, 0, frames);
            const struct crop_box last = crop_between(a, b, frames - 1, frames);
            assert_memory_equal(&first, &a, sizeof a);
            if (frames > 1)
                assert_memory_equal(&last, &b, sizeof b);
            for (int t = 0; t < frames; t++) {
                const struct crop_box box = crop_between(a, b, t, frames);
                const double part = frames > 1 ? (double)t / (frames - 1) : 0;
                assert_true(box.width >= 1 && box.left + box.width <= 97);
                assert_true(box.height >= 1 && box.top + box.height <= 61);
                double left = a.left + part * (b.left - a.left);
                double width = a.width + part * (b.width - a.width);
                assert_true(box.left <= left + 1e-9 && box.left > left - 1);
                assert_true(box.width <= width + 1e-9 && box.width > width - 1);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boxes_lie_inside_the_frame),
        cmocka_unit_test(area_and_aspect_are_uniform),
        cmocka_unit_test(last_places_are_reached),
        cmocka_unit_test(falls_back_to_the_central_box),
        cmocka_unit_test(whole_frame_when_scale_and_aspect_are_one),
        cmocka_unit_test(flips_half_of_the_clips),
        cmocka_unit_test(rescaled_boxes_keep_their_part),
        cmocka_unit_test(a_moving_box_goes_from_one_to_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
