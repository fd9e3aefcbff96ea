/* Points in time and their text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"

static void a_deadline_is_so_far_away(void **state)
{
    (void)state;
    static const struct {
        double seconds, away;
    } cases[] = {{0, 0},  {0.25, 0.25}, {0.999999999, 0.999999999}, {3600.75, 3600.75},
                 {-5, 0}, {1e300, 1e9}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double before_s = clock_now_s();
        struct timespec at = clock_deadline(cases[i].seconds);
        double after_s = clock_now_s();
        double at_s = (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
        assert_in_range(at.tv_nsec, 0, 999999999);
        assert_true(at_s >= before_s + cases[i].away - 1e-6);
        assert_true(at_s <= after_s + cases[i].away + 1e-6);
    }
}

static void a_sleep_takes_its_time(void **state)
{
    (void)state;
    double start_s = clock_now_s();
    clock_sleep_s(0.05);
    assert_true(clock_now_s() - start_s >= 0.05);
}

static void utc_is_written_as_people_read_it(void **state)
{
    (void)state;
    char text[CLOCK_TEXT_BYTES];
    int part[6];
    char end = 0;
    clock_utc_text(text);
    assert_int_equal(strlen(text), 20);
    assert_int_equal(sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%c", &part[0], &part[1], &part[2],
                            &part[3], &part[4], &part[5], &end),
                     7);
    assert_int_equal(end, 'Z');
    assert_true(part[0] >= 2024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deadline_is_so_far_away),
        cmocka_unit_test(a_sleep_takes_its_time),
        cmocka_unit_test(utc_is_written_as_people_read_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
