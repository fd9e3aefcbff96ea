/* Random numbers: known answers of Philox 4x32-10, what is drawn from it, streams that do not meet,
 * keyed permutations.  Seeds are fixed, so a test of a distribution gives the same figure every
 * time; its bound is what a right generator passes with the stated probability for another seed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/random.h"

/* Of the authors' Random123 library, file kat_vectors. */
static void philox_gives_the_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        random_philox(out, cases[i].counter, cases[i].key);
        assert_memory_equal(out, cases[i].answer, sizeof out);
    }
}

static void a_stream_is_a_function_of_its_coordinates(void **state)
{
    (void)state;
    struct random_stream a;
    struct random_stream b;
    random_open(&a, 239, RANDOM_CROP, 12, 3, 5);
    for (int i = 0; i < 10; i++)
        (void)random_u32(&a);
    random_open(&a, 239, RANDOM_CROP, 12, 3, 5);
    random_open(&b, 239, RANDOM_CROP, 12, 3, 5);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(random_u32(&a), random_u32(&b));
}

static int compare_words(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The first 64 bits of all streams of a grid of coordinates differ, at the far ends too.  Two equal
 * ones among n would have probability n^2 / 2^65, about 1e-9 here. */
static void streams_of_different_coordinates_differ(void **state)
{
    (void)state;
    static const uint64_t seeds[] = {0, 1, 239, 1ULL << 32, UINT64_MAX};
    static const uint64_t steps[] = {0, 1, 2, UINT32_MAX, 1ULL << 32, (1ULL << 40) - 1};
    static const uint32_t places[] = {0, 1, 2, 255, 256, 65536, (1U << 24) - 1};
    static const enum random_purpose purposes[] = {RANDOM_VIDEO,     RANDOM_WINDOW,    RANDOM_CROP,
                                                   RANDOM_MASK_SIZE, RANDOM_PARAMETER, RANDOM_TEST};
    enum { COUNT = 5 * 6 * 7 * 7 * 6 };
    uint64_t *words = calloc(COUNT, sizeof *words);
    assert_non_null(words);
    size_t n = 0;
    for (size_t s = 0; s < 5; s++)
        for (size_t t = 0; t < 6; t++)
            for (size_t m = 0; m < 7; m++)
                for (size_t k = 0; k < 7; k++)
                    for (size_t p = 0; p < 6; p++) {
                        struct random_stream stream;
                        random_open(&stream, seeds[s], purposes[p], steps[t], places[m], places[k]);
                        uint64_t high = random_u32(&stream);
                        words[n++] = high << 32 | random_u32(&stream);
                    }
    assert_int_equal(n, COUNT);
    qsort(words, n, sizeof *words, compare_words);
    for (size_t i = 1; i < n; i++)
        assert_true(words[i] != words[i - 1]);
    free(words);
}

/* Chi-square of `count` equally likely bins; beyond mean + 5 sigma (p about 1e-6) is a fault. */
static void assert_uniform(const int64_t *bins, int count)
{
    int64_t total = 0;
    for (int i = 0; i < count; i++)
        total += bins[i];
    double expected = (double)total / count;
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += ((double)bins[i] - expected) * ((double)bins[i] - expected) / expected;
    double freedom = count - 1;
    if (sum > freedom + 5 * sqrt(2 * freedom))
        fail_msg("chi-square %.1f with %d degrees of freedom", sum, count - 1);
}

static void unit_is_uniform_and_below_one(void **state)
{
    (void)state;
    enum { BINS = 1000, DRAWS = 1000000 };
    int64_t bins[BINS] = {0};
    double mean = 0;
    int odd = 0;
    struct random_stream stream;
    random_open(&stream, 1, RANDOM_TEST, 0, 0, 0);
    for (int i = 0; i < DRAWS; i++) {
        double value = random_unit(&stream);
        assert_true(value >= 0 && value < 1);
        bins[(int)(value * BINS)]++;
        odd += (int)((uint64_t)(value * 0x1p53) & 1); /* the last of the 53 bits is drawn too */
        mean += value / DRAWS;
    }
    assert_uniform(bins, BINS);
    /* Five sigma. */
    assert_true(fabs(mean - 0.5) < 5 / sqrt(12.0 * DRAWS));
    assert_true(abs(odd - DRAWS / 2) < 5 * sqrt(DRAWS) / 2);
}

static void uniform_keeps_to_its_bounds(void **state)
{
    (void)state;
    struct random_stream stream;
    random_open(&stream, 2, RANDOM_TEST, 0, 0, 0);
    double least = 1e9;
    double most = -1e9;
    for (int i = 0; i < 10000; i++) {
        double value = random_uniform(&stream, -0.3, 1.35);
        least = value < least ? value : least;
        most = value > most ? value : most;
    }
    assert_true(least >= -0.3 && least < -0.29);
    assert_true(most < 1.35 && most > 1.34);
    assert_true(random_uniform(&stream, 0.15, 0.15) == 0.15);
}

static void below_is_uniform_without_bias(void **state)
{
    (void)state;
    enum { BINS = 7 };
    int64_t bins[BINS] = {0};
    struct random_stream stream;
    random_open(&stream, 3, RANDOM_TEST, 0, 0, 0);
    for (int i = 0; i < 700000; i++)
        bins[random_below(&stream, BINS)]++;
    assert_uniform(bins, BINS);
    assert_int_equal(random_below(&stream, 1), 0);
    /* With a plain modulus numbers below 2^62 would come up twice as often as the others. */
    uint64_t count = 3ULL << 62;
    int64_t thirds[3] = {0};
    for (int i = 0; i < 300000; i++) {
        uint64_t value = random_below(&stream, count);
        assert_true(value < count);
        thirds[value >> 62]++;
    }
    assert_uniform(thirds, 3);
}

/* Moments and tails within five sigma of their estimates. */
static void normal_is_normal(void **state)
{
    (void)state;
    enum { DRAWS = 1000000 };
    double power[5] = {0};
    int beyond[3] = {0}; /* |x| > 1, 2, 3 */
    struct random_stream stream;
    random_open(&stream, 4, RANDOM_TEST, 0, 0, 0);
    for (int i = 0; i < DRAWS; i++) {
        double value = random_normal(&stream);
        assert_true(isfinite(value));
        double product = 1;
        for (int k = 1; k <= 4; k++)
            power[k] += (product *= value);
        for (int k = 0; k < 3; k++)
            beyond[k] += fabs(value) > k + 1;
    }
    double sigma = 1 / sqrt(DRAWS);
    assert_true(fabs(power[1] / DRAWS) < 5 * sigma);
    assert_true(fabs(power[2] / DRAWS - 1) < 5 * sigma * sqrt(2));
    assert_true(fabs(power[3] / DRAWS) < 5 * sigma * sqrt(15));
    assert_true(fabs(power[4] / DRAWS - 3) < 5 * sigma * sqrt(96));
    for (int k = 0; k < 3; k++) {
        double p = erfc((k + 1) / sqrt(2));
        assert_true(fabs((double)beyond[k] / DRAWS - p) < 5 * sigma * sqrt(p * (1 - p)));
    }
}

static void permutation_is_a_bijection(void **state)
{
    (void)state;
    static const uint64_t counts[] = {1,  2,   3,   4,   5,   7,    8,    9,    15,   16,
                                      17, 100, 255, 256, 257, 1000, 4095, 4096, 4097, 30000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        for (uint64_t epoch = 0; epoch < 3; epoch++) {
            char *seen = calloc(counts[i], 1);
            assert_non_null(seen);
            for (uint64_t index = 0; index < counts[i]; index++) {
                uint64_t value = random_permute(239, epoch, counts[i], index);
                assert_true(value < counts[i]);
                assert_int_equal(seen[value]++, 0);
            }
            free(seen);
        }
    }
}

static void permutation_of_huge_sets_stays_in_range(void **state)
{
    (void)state;
    static const uint64_t counts[] = {1ULL << 32, (1ULL << 32) + 1, (1ULL << 62) + 12345,
                                      UINT64_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (uint64_t k = 0; k < 100; k++) {
            uint64_t first = random_permute(1, k, counts[i], 0);
            uint64_t last = random_permute(1, k, counts[i], counts[i] - 1);
            assert_true(first < counts[i] && last < counts[i] && first != last);
        }
}

/* Over many epochs every element comes to every place equally often, and neighbours are parted. */
static void permutation_depends_on_seed_and_epoch(void **state)
{
    (void)state;
    enum { COUNT = 20, EPOCHS = 20000 };
    int64_t place_of_0[COUNT] = {0};
    int64_t distance[COUNT] = {0};
    int same = 0;
    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        uint64_t first = random_permute(7, epoch, COUNT, 0);
        uint64_t second = random_permute(7, epoch, COUNT, 1);
        place_of_0[first]++;
        distance[(second + COUNT - first) % COUNT]++;
        same += first == random_permute(8, epoch, COUNT, 0);
    }
    assert_uniform(place_of_0, COUNT);
    assert_int_equal(distance[0], 0);
    assert_uniform(distance + 1, COUNT - 1);
    double expected = (double)EPOCHS / COUNT;
    assert_true(fabs(same - expected) < 5 * sqrt(expected));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_known_answers),
        cmocka_unit_test(a_stream_is_a_function_of_its_coordinates),
        cmocka_unit_test(streams_of_different_coordinates_differ),
        cmocka_unit_test(unit_is_uniform_and_below_one),
        cmocka_unit_test(uniform_keeps_to_its_bounds),
        cmocka_unit_test(below_is_uniform_without_bias),
        cmocka_unit_test(normal_is_normal),
        cmocka_unit_test(permutation_is_a_bijection),
        cmocka_unit_test(permutation_of_huge_sets_stays_in_range),
        cmocka_unit_test(permutation_depends_on_seed_and_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
