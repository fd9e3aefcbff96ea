/* Readers and files that nobody vouches for: a short run of what `make fuzz` does for hours, and
 * the
 * inputs that it found once.  What is tested is that the process is still there, which under ASan
 * and UBSan says more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/files.h"
#include "core/random.h"
#include "data/footer.h"
#include "data/pack_video.h"
#include "data/records.h"
#include "tests/support/hostile.h"
#include "tests/support/packed.h"

enum { PARTS_MAX = 8, NAME_BYTES = 256 };

struct bytes {
    char *data;
    size_t size; /* without a footer */
};

struct fixture {
    struct packed packed;
    struct bytes index, shard, parts[PARTS_MAX];
    int part_count;
};

static void stay_silent(void *context)
{
    (void)context;
}

static struct bytes read_without_footer(const char *path)
{
    struct bytes out;
    assert_int_equal(files_read(&out.data, &out.size, path, (size_t)1 << 26), LS_OK);
    assert_true(out.size > FOOTER_BYTES);
    out.size -= FOOTER_BYTES;
    return out;
}

static void make_part(struct fixture *fixture, const char *name)
{
    char video[NAME_BYTES];
    char part[NAME_BYTES];
    bool skipped = true;
    const struct prove_progress progress = {.alive = stay_silent};
    (void)snprintf(video, sizeof video, "%s/%s", fixture->packed.videos, name);
    (void)snprintf(part, sizeof part, "%s/%s.part", fixture->packed.folder, name);
    const struct pack_source source = {
        .name = name, .path = video, .label = -1, .weight = 1, .bytes = 1 << 20};
    assert_int_equal(pack_video(&skipped, part, &source, &progress), LS_OK);
    assert_false(skipped);
    fixture->parts[fixture->part_count++] = read_without_footer(part);
}

static int open_fixture(void **state)
{
    static const char *const kinds[] = {"closed_gop.mp4", "mpeg4.avi", "alt_ref_vp9.webm",
                                        "animation.gif", "still.png"};
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct pack_summary summary;
    char path[NAME_BYTES];
    assert_non_null(fixture);
    *state = fixture;
    assert_int_equal(packed_open(&fixture->packed), LS_OK);
    for (int kind = 0; kind < packed_kind_count; kind++)
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            if (strcmp(packed_kinds[kind].name, kinds[i]) == 0)
                assert_int_equal(packed_make(&fixture->packed, kind, NULL), LS_OK);
    assert_int_equal(packed_pack(&summary, &fixture->packed, 1, 0), LS_OK);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        make_part(fixture, kinds[i]);
    (void)snprintf(path, sizeof path, "%s/index.h5", fixture->packed.dataset);
    fixture->index = read_without_footer(path);
    (void)snprintf(path, sizeof path, "%s/shard-00000.h5", fixture->packed.dataset);
    fixture->shard = read_without_footer(path);
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(packed_close(&fixture->packed), LS_OK);
    for (int i = 0; i < fixture->part_count; i++)
        free(fixture->parts[i].data);
    free(fixture->index.data);
    free(fixture->shard.data);
    free(fixture);
    return 0;
}

/* Values that break sizes, counts and offsets. */
static uint64_t awkward_number(struct random_stream *random)
{
    static const uint64_t numbers[] = {0,          1,          0x7FFFFFFF,          0x80000000,
                                       0xFFFFFFFF, UINT64_MAX, (uint64_t)INT64_MAX, 1U << 20};
    return numbers[random_below(random, sizeof numbers / sizeof *numbers)];
}

static void mutate(uint8_t *data, size_t begin, size_t end, struct random_stream *random)
{
    const int times = 1 + (int)random_below(random, 4);
    for (int i = 0; i < times && end - begin >= 8; i++) {
        const size_t at = begin + random_below(random, end - begin - 7);
        const uint64_t number = awkward_number(random);
        switch (random_below(random, 3)) {
        case 0:
            data[at] ^= (uint8_t)(1U << random_below(random, 8));
            break;
        case 1:
            memcpy(data + at, &number, 4);
            break;
        default:
            memcpy(data + at, &number, 8);
        }
    }
}

/* The input itself, then mutations of [begin, end), some cut short. */
static void try_mutations(void (*run)(const uint8_t *, size_t), const struct bytes *bytes,
                          size_t begin, size_t end, int times)
{
    struct random_stream random;
    uint8_t *copy = malloc(bytes->size + 1);
    assert_non_null(copy);
    random_open(&random, 7, RANDOM_TEST, bytes->size, 0, 0);
    run((const uint8_t *)bytes->data, bytes->size);
    for (int i = 0; i < times; i++) {
        memcpy(copy, bytes->data, bytes->size);
        mutate(copy, begin, end, &random);
        run(copy, i % 16 == 0 ? random_below(&random, bytes->size) : bytes->size);
    }
    free(copy);
}

static void lists_are_read_or_refused(void **state)
{
    (void)state;
    static char text[] =
        "a.mp4 3\nb c.mp4 -1\n\"with \"\"quotes\"\".mp4\" 7 2.5\r\n\npath::12\nx 1 "
        "0.25\nno label.mp4\n/dev/null 99999999999999999999\n";
    const struct bytes bytes = {text, sizeof text - 1};
    try_mutations(hostile_list, &bytes, 0, bytes.size, 2000);
}

static void indexes_are_read_or_refused(void **state)
{
    const struct fixture *fixture = *state;
    try_mutations(hostile_index, &fixture->index, 0, fixture->index.size, 200);
}

static void shards_are_read_or_refused(void **state)
{
    const struct fixture *fixture = *state;
    try_mutations(hostile_shard, &fixture->shard, 0, fixture->shard.size, 200);
}

static void tables_of_packets_are_read_or_refused(void **state)
{
    const struct fixture *fixture = *state;
    for (int i = 0; i < fixture->part_count; i++) {
        const struct bytes *part = &fixture->parts[i];
        const struct hostile_tables tables =
            hostile_part_tables((const uint8_t *)part->data, part->size);
        assert_true(tables.begin < tables.end);
        try_mutations(hostile_part, part, tables.begin, tables.end, 60);
    }
}

static void packets_are_decoded_or_refused(void **state)
{
    const struct fixture *fixture = *state;
    for (int i = 0; i < fixture->part_count; i++) {
        const struct bytes *part = &fixture->parts[i];
        const size_t end = hostile_part_tables((const uint8_t *)part->data, part->size).begin;
        try_mutations(hostile_part, part, 0, end, 60);
    }
}

/* Found by `make fuzz`: the place of an empty packet was counted from memory that is not there, and
 * FFmpeg took it for the end of the stream. */
static void packets_without_bytes_are_refused(void **state)
{
    const struct fixture *fixture = *state;
    for (int i = 0; i < fixture->part_count; i++) {
        const struct bytes *part = &fixture->parts[i];
        const struct hostile_tables tables =
            hostile_part_tables((const uint8_t *)part->data, part->size);
        uint8_t *copy = malloc(part->size);
        uint64_t packets;
        assert_non_null(copy);
        memcpy(copy, part->data, part->size);
        memcpy(&packets, copy + part->size - 24, sizeof packets);
        for (uint64_t p = 0; p < packets; p++) {
            struct packet_record packet = {.flags = PACKET_KEY};
            table_encode(&record_packet_layout, copy + tables.begin + p * PACKET_ROW_BYTES, &packet,
                         1);
        }
        hostile_part(copy, part->size);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_read_or_refused),
        cmocka_unit_test(indexes_are_read_or_refused),
        cmocka_unit_test(shards_are_read_or_refused),
        cmocka_unit_test(tables_of_packets_are_read_or_refused),
        cmocka_unit_test(packets_are_decoded_or_refused),
        cmocka_unit_test(packets_without_bytes_are_refused),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
