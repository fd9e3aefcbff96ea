/* Content hashes: known answers, streams in any pieces, sums, text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"

static void fill(unsigned char *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        data[i] = (unsigned char)(i * 131 + i / 251);
}

/* XXH3-128 with seed 0, as other implementations give it. */
static void known_answers_hold(void **state)
{
    (void)state;
    char text[HASH_TEXT_BYTES];
    hash_text(text, hash_buffer("", 0));
    assert_string_equal(text, "99aa06d3014798d86001c324468d497f");
    hash_text(text, hash_buffer("a", 1));
    assert_string_equal(text, "a96faf705af16834e6c632b61e964e1f");
}

static void stream_in_pieces_equals_the_whole(void **state)
{
    (void)state;
    enum { BYTES = 5000 };
    unsigned char data[BYTES];
    fill(data, BYTES);
    struct hash128 whole = hash_buffer(data, BYTES);
    static const size_t pieces[] = {1, 3, 64, 240, 241, 1024, 4999, 5000};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct hash_stream *stream = NULL;
        assert_int_equal(hash_stream_open(&stream), LS_OK);
        for (size_t at = 0; at < BYTES; at += pieces[i])
            hash_stream_add(stream, data + at, BYTES - at < pieces[i] ? BYTES - at : pieces[i]);
        assert_true(hash_equal(hash_stream_value(stream), whole));
        assert_true(hash_equal(hash_stream_value(stream), whole)); /* asking changes nothing */
        hash_stream_close(&stream);
        assert_null(stream);
        hash_stream_close(&stream);
    }
}

static void every_bit_counts(void **state)
{
    (void)state;
    enum { BYTES = 300 };
    unsigned char data[BYTES];
    fill(data, BYTES);
    struct hash128 before = hash_buffer(data, BYTES);
    for (int bit = 0; bit < 8 * BYTES; bit++) {
        data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_false(hash_equal(hash_buffer(data, BYTES), before));
        data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    assert_false(hash_equal(hash_buffer(data, BYTES - 1), before));
}

static void place_is_part_of_a_bound_hash(void **state)
{
    (void)state;
    struct hash128 at[] = {hash_buffer_at("x", 1, 0, 0), hash_buffer_at("x", 1, 1, 0),
                           hash_buffer_at("x", 1, 0, 1), hash_buffer_at("x", 1, 1, 1),
                           hash_buffer_at("y", 1, 0, 0), hash_buffer("x", 1)};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        for (size_t j = 0; j < i; j++)
            assert_false(hash_equal(at[i], at[j]));
}

static void sum_does_not_depend_on_order(void **state)
{
    (void)state;
    struct hash128 parts[7];
    struct hash128 forward = {0, 0};
    struct hash128 backward = {0, 0};
    for (uint64_t i = 0; i < 7; i++)
        parts[i] = hash_buffer_at("part", 4, i, 0);
    for (int i = 0; i < 7; i++) {
        forward = hash_add(forward, parts[i]);
        backward = hash_add(parts[6 - i], backward);
    }
    assert_true(hash_equal(forward, backward));
    struct hash128 carried = hash_add((struct hash128){UINT64_MAX, 1}, (struct hash128){2, 3});
    assert_true(carried.low == 1 && carried.high == 5);
}

static void text_goes_there_and_back(void **state)
{
    (void)state;
    char text[HASH_TEXT_BYTES];
    struct hash128 hash = {.low = 0x0123456789abcdef, .high = 0xf};
    struct hash128 back;
    hash_text(text, hash);
    assert_string_equal(text, "000000000000000f0123456789abcdef");
    assert_int_equal(hash_parse(&back, text), LS_OK);
    assert_true(hash_equal(hash, back));
    static const char *const bad[] = {"",
                                      "0",
                                      "000000000000000f0123456789abcdeg",
                                      "000000000000000F0123456789ABCDEF",
                                      "000000000000000f0123456789abcdef0",
                                      " 00000000000000f0123456789abcdef"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(hash_parse(&back, bad[i]), LS_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers_hold),
        cmocka_unit_test(stream_in_pieces_equals_the_whole),
        cmocka_unit_test(every_bit_counts),
        cmocka_unit_test(place_is_part_of_a_bound_hash),
        cmocka_unit_test(sum_does_not_depend_on_order),
        cmocka_unit_test(text_goes_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
