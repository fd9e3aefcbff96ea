/* Random erasing: how often, which boxes, what noise. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/erase.h"

static bool draw_at(struct crop_box *box, uint64_t step, double probability, int width, int height)
{
    struct random_stream stream;
    random_open(&stream, 11, RANDOM_ERASE, step, 0, 0);
    return erase_draw(box, &stream, probability, width, height);
}

static void erases_with_the_probability_given(void **state)
{
    (void)state;
    enum { N = 4000 };
    static const double probabilities[] = {0.0, 0.25, 1.0};
    for (size_t p = 0; p < 3; p++) {
        int erased = 0;
        for (uint64_t step = 0; step < N; step++) {
            struct crop_box box;
            erased += draw_at(&box, step, probabilities[p], 64, 64);
        }
        const double deviation = sqrt(probabilities[p] * (1 - probabilities[p]) / N);
        assert_true(fabs((double)erased / N - probabilities[p]) <= 5 * deviation);
    }
}

/* In a large picture: area uniform in 2 to 33 %, logarithm of the aspect uniform, every place. */
static void boxes_have_the_stated_distribution(void **state)
{
    (void)state;
    enum { N = 6000, SIDE = 6000 };
    double area = 0;
    double aspect = 0;
    double aspect_squared = 0;
    double place = 0;
    for (uint64_t step = 0; step < N; step++) {
        struct crop_box box;
        assert_true(draw_at(&box, step, 1.0, SIDE, SIDE));
        assert_true(box.width < SIDE && box.height < SIDE && box.width > 0 && box.height > 0);
        assert_true(box.left >= 0 && box.left + box.width <= SIDE);
        assert_true(box.top >= 0 && box.top + box.height <= SIDE);
        const double share = (double)box.width * box.height / SIDE / SIDE;
        const double log_aspect = log((double)box.height / box.width);
        assert_true(share > 0.0199 && share < 0.3334);
        assert_true(fabs(log_aspect) < log(1 / 0.299));
        area += share / N;
        aspect += log_aspect / N;
        aspect_squared += log_aspect * log_aspect / N;
        place += (double)box.left / (SIDE - box.width) / N;
    }
    /* Boxes of area near 1/3 and aspect near 0.3 or its inverse do not fit and are drawn again:
     * hardly any.  Five standard errors and that. */
    const double unit = sqrt(1.0 / 12 / N);
    const double range = 2 * log(1 / 0.3);
    assert_true(fabs(area - (0.02 + 1.0 / 3) / 2) < 5 * unit * (1.0 / 3 - 0.02) + 0.002);
    assert_true(fabs(aspect) < 5 * unit * range);
    assert_true(fabs(aspect_squared - range * range / 12) < 0.05);
    assert_true(fabs(place - 0.5) < 5 * unit);
}

static void small_pictures_are_left_whole_rather_than_overrun(void **state)
{
    (void)state;
    for (uint64_t step = 0; step < 500; step++) {
        struct crop_box box;
        assert_false(draw_at(&box, step, 1.0, 1, 1));
        if (draw_at(&box, step, 1.0, 5, 3))
            assert_true(box.left + box.width <= 5 && box.top + box.height <= 3);
    }
}

static void noise_is_normal_and_stays_in_its_box(void **state)
{
    (void)state;
    enum { FRAMES = 3, WIDTH = 160, HEIGHT = 120 };
    static const double mean[] = {0.485, 0.456, 0.406};
    static const double deviation[] = {0.229, 0.224, 0.225};
    const struct crop_box box = {.left = 21, .top = 10, .width = 101, .height = 103};
    const size_t bytes = (size_t)FRAMES * WIDTH * HEIGHT * 3;
    struct eraser *eraser = NULL;
    struct random_stream stream;
    uint8_t *pixels = malloc(bytes);
    assert_non_null(pixels);
    memset(pixels, 77, bytes);
    assert_int_equal(eraser_open(&eraser), LS_OK);
    random_open(&stream, 3, RANDOM_ERASE, 9, 0, 0);
    erase_fill(pixels, eraser, &stream, box, FRAMES, WIDTH, HEIGHT);
    double sum[3] = {0};
    double within[3] = {0}; /* one standard deviation */
    double product = 0;     /* of the same pixel in two frames */
    const double count = (double)FRAMES * box.width * box.height;
    for (int t = 0; t < FRAMES; t++)
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++) {
                const uint8_t *pixel = pixels + (((ptrdiff_t)t * HEIGHT + y) * WIDTH + x) * 3;
                const bool inside = x >= box.left && x < box.left + box.width && y >= box.top &&
                                    y < box.top + box.height;
                for (int c = 0; c < 3; c++) {
                    const double z = (pixel[c] / 255.0 - mean[c]) / deviation[c];
                    if (!inside)
                        assert_int_equal(pixel[c], 77);
                    sum[c] += inside ? z / count : 0;
                    within[c] += inside && fabs(z) < 1 ? 1 / count : 0;
                }
                if (inside && t > 0)
                    product += (pixel[0] / 255.0 - mean[0]) / deviation[0] *
                               ((pixel[0 - (ptrdiff_t)HEIGHT * WIDTH * 3] / 255.0 - mean[0]) /
                                deviation[0]) /
                               count;
            }
    for (int c = 0; c < 3; c++) {
        assert_true(fabs(sum[c]) < 0.04); /* cut at 0 and 255: not quite symmetric */
        assert_true(fabs(within[c] - 0.6827) < 0.02);
    }
    assert_true(fabs(product) < 0.03);
    eraser_close(&eraser);
    free(pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(erases_with_the_probability_given),
        cmocka_unit_test(boxes_have_the_stated_distribution),
        cmocka_unit_test(small_pictures_are_left_whole_rather_than_overrun),
        cmocka_unit_test(noise_is_normal_and_stays_in_its_box),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
