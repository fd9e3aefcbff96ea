/* The middle of measured values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/median.h"

static void the_middle_value_or_the_mean_of_two(void **state)
{
    (void)state;
    double odd[] = {5, -1, 3};
    double even[] = {4, 1e300, 2, -1e300};
    double one[] = {7};
    double same[] = {2, 2, 2, 2};
    assert_true(median_of(odd, 3) == 3);
    assert_true(median_of(even, 4) == 3);
    assert_true(median_of(one, 1) == 7);
    assert_true(median_of(same, 4) == 2);
}

static void values_are_put_in_order(void **state)
{
    (void)state;
    double values[] = {3, -2, 1e-300, 0, 3};
    static const double ordered[] = {-2, 0, 1e-300, 3, 3};
    median_sort(values, 5);
    assert_memory_equal(values, ordered, sizeof ordered);
    median_sort(values, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_middle_value_or_the_mean_of_two),
        cmocka_unit_test(values_are_put_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
