/* Drawing: letters, images, fields stretched over squares, the heat scale; and PNG and MP4 files
 * read back by our own decoder. */
#include <math.h>
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
#include "data/dataset.h"
#include "data/excerpt.h"
#include "data/pack.h"
#include "data/picture.h"
#include "worker/canvas.h"

static const struct canvas_colour white = {255, 255, 255};
static const struct canvas_colour black = {0, 0, 0};

static const uint8_t *pixel(const struct canvas *canvas, int x, int y)
{
    return canvas->pixels + 3 * ((ptrdiff_t)y * canvas->width + x);
}

static void every_letter_differs_and_stays_in_its_box(void **state)
{
    (void)state;
    uint8_t seen[CANVAS_LETTERS][CANVAS_LETTER_WIDTH * CANVAS_LETTER_HEIGHT * 3];
    for (int i = 0; i < CANVAS_LETTERS; i++) {
        struct canvas canvas;
        const char text[] = {(char)(' ' + i), '\0'};
        assert_int_equal(
            canvas_open(&canvas, 2 * CANVAS_LETTER_WIDTH, 2 * CANVAS_LETTER_HEIGHT, white), LS_OK);
        canvas_text(&canvas, 0, 0, 1, black, text);
        for (int y = 0; y < canvas.height; y++)
            for (int x = 0; x < canvas.width; x++)
                if (x >= CANVAS_LETTER_WIDTH - 1 || y >= CANVAS_LETTER_HEIGHT)
                    assert_int_equal(pixel(&canvas, x, y)[0], 255);
        for (int y = 0; y < CANVAS_LETTER_HEIGHT; y++)
            memcpy(seen[i] + 3 * CANVAS_LETTER_WIDTH * y, pixel(&canvas, 0, y),
                   3 * CANVAS_LETTER_WIDTH);
        for (int k = 0; k < i; k++)
            assert_true(memcmp(seen[i], seen[k], sizeof seen[i]) != 0);
        canvas_close(&canvas);
    }
}

static void text_beyond_the_edge_is_left_out(void **state)
{
    (void)state;
    struct canvas canvas;
    assert_int_equal(canvas_open(&canvas, 10, 4, white), LS_OK);
    canvas_text(&canvas, -7, -3, 3, black, "\xc3\xa4 W");
    canvas_fill(&canvas, 8, 2, 100, 100, black);
    assert_int_equal(pixel(&canvas, 9, 3)[0], 0);
    assert_int_equal(canvas_text_width("abc", 2), 36);
    canvas_close(&canvas);
}

static void images_are_reduced_by_means(void **state)
{
    (void)state;
    struct canvas canvas;
    uint8_t rgb[4 * 4 * 3];
    for (int i = 0; i < 16; i++)
        for (int c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)(10 * c + i);
    assert_int_equal(canvas_open(&canvas, 3, 3, white), LS_OK);
    canvas_image(&canvas, (struct canvas_square){1, 1, 2}, rgb, 2);
    /* Pixels 0, 1, 4, 5: mean 2.5, rounded up. */
    assert_int_equal(pixel(&canvas, 1, 1)[0], 3);
    assert_int_equal(pixel(&canvas, 1, 1)[2], 23);
    assert_int_equal(pixel(&canvas, 2, 2)[1], 10 + 13);
    assert_int_equal(pixel(&canvas, 0, 0)[0], 255);
    canvas_close(&canvas);
}

static void fields_are_exact_at_the_middle_of_cells(void **state)
{
    (void)state;
    struct canvas canvas;
    const float heat[] = {0.0F, 1.0F, 0.25F, NAN};
    const float colours[] = {0, .2F, 1, 1, .4F, 0};
    assert_int_equal(canvas_open(&canvas, 6, 6, white), LS_OK);
    canvas_heat_map(&canvas, (struct canvas_square){0, 0, 6}, heat, 2, 2);
    const struct canvas_colour low = canvas_heat(0.0);
    const struct canvas_colour high = canvas_heat(1.0);
    const struct canvas_colour none = canvas_heat((double)NAN);
    assert_memory_equal(pixel(&canvas, 1, 1), &low, 3);
    assert_memory_equal(pixel(&canvas, 4, 1), &high, 3);
    assert_memory_equal(pixel(&canvas, 4, 4), &none, 3);
    canvas_colours(&canvas, (struct canvas_square){0, 0, 6}, colours, 1, 2);
    assert_memory_equal(pixel(&canvas, 1, 5), "\x00\x33\xff", 3);
    assert_memory_equal(pixel(&canvas, 4, 0), "\xff\x66\x00", 3);
    assert_true(pixel(&canvas, 2, 0)[0] > 0 && pixel(&canvas, 2, 0)[0] < 255);
    canvas_close(&canvas);
}

static void the_heat_scale_grows_lighter(void **state)
{
    (void)state;
    double before = -1;
    for (int i = 0; i <= 100; i++) {
        const struct canvas_colour c = canvas_heat(i / 100.0);
        const double light = 0.2126 * c.red + 0.7152 * c.green + 0.0722 * c.blue;
        assert_true(light > before - 0.5); /* rounding to bytes */
        before = light;
    }
    assert_true(before > 220);
    const struct canvas_colour far = canvas_heat(7.0);
    const struct canvas_colour end = canvas_heat(1.0);
    assert_memory_equal(&far, &end, 3);
}

enum { SIDE = 64, FRAMES = 5 };

static void paint(uint8_t *rgb, int frame)
{
    for (int i = 0; i < SIDE * SIDE; i++) {
        rgb[3 * i] = (uint8_t)(4 * (i % SIDE));
        rgb[3 * i + 1] = (uint8_t)(4 * (i / SIDE));
        rgb[3 * i + 2] = (uint8_t)(50 * frame);
    }
}

/* Pack the file and decode its frames: the largest difference of a channel from what was painted.
 */
static int read_back(const char *path, int frames)
{
    char place[300];
    struct pack_summary summary;
    struct dataset *dataset = NULL;
    static uint8_t pixels[FRAMES * SIDE * SIDE * 3];
    static uint8_t wanted[SIDE * SIDE * 3];
    const int64_t numbers[FRAMES] = {0, 1, 2, 3, 4};
    const struct excerpt_size size = {.side = SIDE, .pixels = pixels};
    int worst = 0;
    (void)snprintf(place, sizeof place, "%s.packed", path);
    assert_int_equal(pack_run(&summary,
                              &(struct pack_options){
                                  .inputs = &path, .input_count = 1, .output = place, .jobs = 1}),
                     LS_OK);
    assert_int_equal(dataset_open(&dataset, place), LS_OK);
    assert_int_equal(dataset_video(dataset, 0).frames, frames);
    assert_int_equal(dataset_video(dataset, 0).width, SIDE);
    assert_int_equal(excerpt_read(dataset, 0, numbers, frames, &size, 1), LS_OK);
    for (int f = 0; f < frames; f++) {
        paint(wanted, f);
        for (int i = 0; i < SIDE * SIDE * 3; i++) {
            const int off = abs(pixels[f * SIDE * SIDE * 3 + i] - wanted[i]);
            worst = off > worst ? off : worst;
        }
    }
    dataset_close(&dataset);
    assert_int_equal(files_remove(place), LS_OK);
    return worst;
}

static void pictures_and_films_are_read_back(void **state)
{
    (void)state;
    char folder[] = "/tmp/lockstep-test-canvas.XXXXXX";
    char path[256];
    uint8_t rgb[SIDE * SIDE * 3];
    struct film *film = NULL;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/picture.png", folder);
    paint(rgb, 0);
    assert_int_equal(picture_write(path, rgb, SIDE, SIDE), LS_OK);
    assert_int_equal(read_back(path, 1), 0);
    (void)snprintf(path, sizeof path, "%s/film.mp4", folder);
    assert_int_equal(film_open(&film, path, SIDE, SIDE, 12.5), LS_OK);
    for (int f = 0; f < FRAMES; f++) {
        paint(rgb, f);
        assert_int_equal(film_add(film, rgb), LS_OK);
    }
    assert_false(files_exists(path)); /* nothing before the commit */
    assert_int_equal(film_commit(film), LS_OK);
    film_close(&film);
    assert_true(read_back(path, FRAMES) <= 12);                              /* lossy; 4 by x264 */
    assert_int_equal(film_open(&film, path, SIDE + 1, SIDE, 12.5), LS_DATA); /* odd */
    assert_null(film);
    (void)snprintf(path, sizeof path, "%s/picture.png", folder);
    assert_int_equal(picture_write(path, rgb, 0, SIDE), LS_DATA);
    assert_int_equal(files_remove(folder), LS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_letter_differs_and_stays_in_its_box),
        cmocka_unit_test(text_beyond_the_edge_is_left_out),
        cmocka_unit_test(images_are_reduced_by_means),
        cmocka_unit_test(fields_are_exact_at_the_middle_of_cells),
        cmocka_unit_test(the_heat_scale_grows_lighter),
        cmocka_unit_test(pictures_and_films_are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
