/* Who deviates: the majority is right, and without one nobody can tell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/audit.h"

enum { RANKS_MAX = 5 };

struct judge_case {
    int size;
    int value[RANKS_MAX]; /* equal numbers are equal hashes */
    bool majority;
    bool deviates[RANKS_MAX];
};

static const struct judge_case cases[] = {
    {1, {7}, true, {false}},
    {2, {7, 7}, true, {false, false}},
    {2, {7, 8}, false, {true, true}},
    {3, {7, 8, 7}, true, {false, true, false}},
    {3, {8, 7, 7}, true, {true, false, false}},
    {3, {1, 2, 3}, false, {true, true, true}},
    {4, {1, 1, 2, 2}, false, {true, true, true, true}},
    {4, {1, 1, 1, 2}, true, {false, false, false, true}},
    {5, {1, 2, 1, 3, 1}, true, {false, true, false, true, false}},
};

static void the_majority_is_right(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct hash128 hashes[2 * RANKS_MAX] = {{0}};
        bool deviates[RANKS_MAX];
        for (int r = 0; r < cases[c].size; r++)
            hashes[(size_t)r * 2] = hash_buffer(&cases[c].value[r], sizeof cases[c].value[r]);
        assert_int_equal(audit_judge(deviates, hashes, 2, cases[c].size), cases[c].majority);
        for (int r = 0; r < cases[c].size; r++)
            assert_int_equal(deviates[r], cases[c].deviates[r]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_majority_is_right)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
