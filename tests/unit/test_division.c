/* Dividing the flat space over ranks (core/division.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/division.h"

static const int64_t totals[] = {1, 16383, 16384, 16385, 181224, 999999, 31457280, 5000000001};
static const int64_t buckets_of[] = {1, 65536, 1000000, 6553600};

/* Bucket after bucket, rank after rank: every element once, in order, at the place of the rank's
 * own arrays that the rules say. */
static void assert_covers(const struct division *d)
{
    int64_t next = 0;
    int64_t sum = 0;
    for (int64_t b = 0; b < division_buckets(d, d->count); b++)
        for (int r = 0; r < d->ranks; r++) {
            int64_t offset = -1;
            int64_t count = division_part(&offset, d, b, r, d->count);
            assert_true(count >= 0 && count <= d->slice);
            assert_int_equal(offset, next);
            assert_true(count == 0 || offset % DIVISION_BLOCK == 0);
            assert_true(count == 0 || division_share(d, r, offset) == b * d->slice);
            next += count;
        }
    assert_int_equal(next, d->count);
    for (int r = 0; r < d->ranks; r++)
        sum += division_share(d, r, d->count);
    assert_int_equal(sum, d->count);
}

static void every_element_is_one_rank_s(void **state)
{
    (void)state;
    for (size_t t = 0; t < sizeof totals / sizeof *totals; t++)
        for (size_t w = 0; w < sizeof buckets_of / sizeof *buckets_of; w++)
            for (int ranks = 1; ranks <= 17; ranks++) {
                struct division d = division_make(totals[t], buckets_of[w], ranks);
                if (division_buckets(&d, d.count) < 10000)
                    assert_covers(&d);
            }
}

static void shares_are_even(void **state)
{
    (void)state;
    for (int ranks = 2; ranks <= 128; ranks *= 2) {
        struct division d = division_make(326000000, 6553600, ranks);
        int64_t first = division_share(&d, 0, d.count);
        int64_t last = division_share(&d, ranks - 1, d.count);
        assert_true(first >= last);
        assert_true(first - last <= d.slice);
        assert_true(division_padded(&d, d.count) - d.count < division_width(&d));
    }
}

static void buckets_are_about_as_large_as_asked_for(void **state)
{
    (void)state;
    struct division d = division_make(326000000, 6553600, 8);
    assert_true(division_width(&d) <= 6553600 + 8 * DIVISION_BLOCK);
    assert_true(division_width(&d) > 6553600 / 2);
    d = division_make(100 * DIVISION_BLOCK, 1, 7);
    assert_int_equal(d.slice, DIVISION_BLOCK); /* not less than a block a rank */
    assert_int_equal(division_width(&d), 7 * DIVISION_BLOCK);
    d = division_make(5, 1, 4);
    assert_int_equal(division_share(&d, 0, 5), 5);
    assert_int_equal(division_share(&d, 3, 5), 0);
}

static void a_front_part_is_divided_alike(void **state)
{
    (void)state;
    struct division d = division_make(50 * DIVISION_BLOCK + 7, 8 * DIVISION_BLOCK, 3);
    const int64_t encoder = 31 * DIVISION_BLOCK + 100;
    int64_t sum = 0;
    for (int64_t b = 0; b < division_buckets(&d, encoder); b++)
        for (int r = 0; r < 3; r++) {
            int64_t whole = 0;
            int64_t part = 0;
            int64_t more = division_part(&whole, &d, b, r, d.count);
            int64_t count = division_part(&part, &d, b, r, encoder);
            assert_true(count <= more && (count == 0 || part == whole));
            sum += count;
        }
    assert_int_equal(sum, encoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_element_is_one_rank_s),
        cmocka_unit_test(shares_are_even),
        cmocka_unit_test(buckets_are_about_as_large_as_asked_for),
        cmocka_unit_test(a_front_part_is_divided_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
