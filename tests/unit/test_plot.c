/* Curves in the terminal, character by character. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/plot_text.h"

enum { STEPS_MOST = 1000 };

static int64_t steps[STEPS_MOST];

static char *draw(const struct plot_text *plot)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    assert_int_equal(plot_text_draw(out, plot), LS_OK);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void a_rising_line_goes_from_corner_to_corner(void **unused)
{
    (void)unused;
    static const float values[] = {1, 2, 3, 4};
    struct plot_text plot = {
        .title = "x", .steps = steps, .values = values, .count = 4, .columns = 14, .rows = 4};
    char *text = draw(&plot);
    assert_string_equal(text, "x, 4 after step 4\n"
                              "       4 |   *\n"
                              "         |  * \n"
                              "         | *  \n"
                              "       1 |*   \n"
                              "          1  4\n");
    free(text);
    plot.braille = true;
    plot.rows = 1;
    text = draw(&plot); /* dots: each of 4 values twice over 8 columns */
    assert_string_equal(text, "x, 4 after step 4\n"
                              "       4 |\u28c0\u2824\u2812\u2809\n"
                              "          1  4\n");
    free(text);
}

static void a_column_is_the_mean_of_its_steps_and_jumps_leave_no_holes(void **unused)
{
    (void)unused;
    float values[STEPS_MOST];
    for (int i = 0; i < STEPS_MOST; i++)
        values[i] = i % 2 == 0 ? 0.0F : i < STEPS_MOST / 2 ? 2.0F : 8.0F;
    struct plot_text plot = {.title = "x",
                             .steps = steps,
                             .values = values,
                             .count = STEPS_MOST,
                             .columns = 14,
                             .rows = 4};
    char *text = draw(&plot);
    assert_non_null(
        strstr(text, "       4 |  **\n         |  * \n         |  * \n       1 |**  \n"));
    free(text);
}

static void steps_without_a_value_are_left_out(void **unused)
{
    (void)unused;
    static const float values[] = {NAN, 5, NAN, NAN};
    static const float none[] = {NAN, NAN, NAN, NAN};
    struct plot_text plot = {
        .title = "x", .steps = steps, .values = values, .count = 4, .columns = 14, .rows = 3};
    char *text = draw(&plot);
    assert_string_equal(text, "x, 5 after step 2\n"
                              "       5 |    \n"
                              "         | *  \n"
                              "       5 |    \n"
                              "          1  4\n");
    free(text);
    plot.values = none;
    text = draw(&plot);
    assert_string_equal(text, "");
    free(text);
}

static int number_steps(void **unused)
{
    (void)unused;
    for (int i = 0; i < STEPS_MOST; i++)
        steps[i] = i + 1;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rising_line_goes_from_corner_to_corner),
        cmocka_unit_test(a_column_is_the_mean_of_its_steps_and_jumps_leave_no_holes),
        cmocka_unit_test(steps_without_a_value_are_left_out),
    };
    return cmocka_run_group_tests(tests, number_steps, NULL);
}
