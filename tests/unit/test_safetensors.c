/* Safetensors files: what is written is read, and files made to hurt are refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/safetensors.h"
#include "core/files.h"
#include "core/log.h"
#include "tests/support/checkpoints.h"

static void assert_good(ls_status st)
{
    if (st != LS_OK)
        fail_msg("%s", status_text());
}

/* The text without its closing 0. */
static void put(char *to, const char *text)
{
    while (*text != '\0')
        *to++ = *text++;
}

/* A file of `length` (as its first 8 bytes claim), header and `data` bytes of zeros. */
static char *make_file(const char *folder, uint64_t length, const char *header, size_t header_bytes,
                       size_t data)
{
    char *path = NULL;
    char *bytes = calloc(1, 8 + header_bytes + data + 1);
    assert_non_null(bytes);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, header_bytes);
    assert_good(core_format(&path, "%s/model.safetensors", folder));
    assert_good(files_replace(path, bytes, 8 + header_bytes + data));
    free(bytes);
    return path;
}

struct bad_header {
    const char *header;
    size_t data; /* bytes after it */
    const char *why;
};

static const struct bad_header bad_headers[] = {
    {"", 0, "no JSON object"},
    {"[]", 0, "no JSON object"},
    {" {}", 0, "no JSON object"},
    {"{", 0, "no JSON object"},
    {"{}x", 0, "no JSON object"},
    {"{}\t", 0, "no JSON object"},
    {"{}", 4, "4 bytes belong to no tensor"},
    {"{\"a\":1}", 0, "other keys"},
    {"{\"a\":{}}", 0, "other keys"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"more\":1}}", 4,
     "other keys"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "shape"},
    {"{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "other keys"},
    {"{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype is unknown"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, "no list"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
     "no list"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "impossible"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0.5],\"data_offsets\":[0,4]}}", 4, "impossible"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]}}", 4, "impossible"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1e300],\"data_offsets\":[0,4]}}", 4, "impossible"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4,
     "impossible"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2147483648,2147483648],\"data_offsets\":[0,0]}}", 0,
     "do not fit its shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "do not fit its shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "outside"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "outside"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "outside"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "outside"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, "outside"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9007199254740992,1e18]}}", 4,
     "outside"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}",
     6, "overlap"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
     4, "overlap"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
     12, "gap"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
     8, "twice"},
    {"{\"__metadata__\":{\"format\":\"pt\"},\"__metadata__\":{}}", 0, "twice"},
    {"{\"__metadata__\":{\"format\":1}}", 0, "no map of texts"},
    {"{\"__metadata__\":[\"pt\"]}", 0, "no map of texts"},
    {"{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "UTF-8"},
    {"{\"a\xff\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "UTF-8"},
    {"{\"\xc0\xaf\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "UTF-8"},
    {"{\"\xed\xa0\x80\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "UTF-8"},
    {"{\"\xf4\x90\x80\x80\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "UTF-8"},
    {"{\"\xe2\x82", 0, "UTF-8"},
};

static void hostile_headers_are_refused_with_the_reason(void **unused)
{
    (void)unused;
    char *folder = support_folder_quick();
    for (size_t i = 0; i < sizeof bad_headers / sizeof bad_headers[0]; i++) {
        const struct bad_header *bad = &bad_headers[i];
        struct safetensors *file = NULL;
        size_t bytes = strlen(bad->header);
        char *path = make_file(folder, bytes, bad->header, bytes, bad->data);
        assert_int_equal(safetensors_open(&file, path), LS_DATA);
        assert_null(file);
        if (strstr(status_message(), path) == NULL || strstr(status_message(), bad->why) == NULL)
            fail_msg("header %s: %s", bad->header, status_message());
        free(path);
    }
    support_folder_remove(folder);
}

static void lengths_that_leave_the_file_are_refused(void **unused)
{
    (void)unused;
    static const uint64_t lengths[] = {3, 1 << 20, UINT64_MAX, UINT64_MAX - 7, 1ULL << 63};
    char *folder = support_folder_quick();
    char *path = NULL;
    struct safetensors *file = NULL;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        path = make_file(folder, lengths[i], "{}", 2, 0);
        assert_int_equal(safetensors_open(&file, path), LS_DATA);
        assert_non_null(strstr(status_message(), "a header of"));
        free(path);
    }
    assert_good(core_format(&path, "%s/model.safetensors", folder));
    assert_good(files_replace(path, "{}", 2)); /* shorter than the length itself */
    assert_int_equal(safetensors_open(&file, path), LS_DATA);
    assert_int_equal(safetensors_open(&file, folder), LS_IO);
    free(path);
    support_folder_remove(folder);
}

/* A header full of brackets or of tensors costs bounded time and memory. */
static void large_headers_end_soon(void **unused)
{
    (void)unused;
    char *folder = support_folder_quick();
    struct safetensors *file = NULL;
    char *header = malloc((size_t)SAFETENSORS_HEADER_LIMIT + 1);
    assert_non_null(header);
    memset(header, '[', (size_t)SAFETENSORS_HEADER_LIMIT);
    put(header, "{\"a\":");
    char *path = make_file(folder, SAFETENSORS_HEADER_LIMIT, header, SAFETENSORS_HEADER_LIMIT, 0);
    assert_int_equal(safetensors_open(&file, path), LS_DATA);
    free(path);
    memset(header, ' ', (size_t)SAFETENSORS_HEADER_LIMIT + 1);
    put(header, "{}");
    path = make_file(folder, SAFETENSORS_HEADER_LIMIT + 1, header,
                     (size_t)SAFETENSORS_HEADER_LIMIT + 1, 0);
    assert_int_equal(safetensors_open(&file, path), LS_DATA);
    free(path);
    path = make_file(folder, SAFETENSORS_HEADER_LIMIT, header, SAFETENSORS_HEADER_LIMIT, 0);
    assert_good(safetensors_open(&file, path));
    assert_int_equal(file->count, 0);
    assert_null(safetensors_find(file, "a"));
    safetensors_close(&file);
    free(path);
    free(header);
    support_folder_remove(folder);
}

/* Each bit of a good file's header flipped: refused, or a file whose entries still fit it. */
static void no_flipped_bit_leads_out_of_the_file(void **unused)
{
    (void)unused;
    static const char good[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                               "\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
                               "\"b\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[8,10]}}";
    char *folder = support_folder_quick();
    char bytes[sizeof good];
    int refused = 0;
    int total = 8 * (int)(sizeof good - 1);
    for (int bit = 0; bit < total; bit++) {
        struct safetensors *file = NULL;
        memcpy(bytes, good, sizeof good);
        bytes[bit / 8] = (char)((unsigned char)bytes[bit / 8] ^ 1U << bit % 8);
        char *path = make_file(folder, sizeof good - 1, bytes, sizeof good - 1, 10);
        ls_status st = safetensors_open(&file, path);
        refused += st != LS_OK;
        for (int i = 0; st == LS_OK && i < file->count; i++) {
            float values[2] = {NAN, NAN};
            const struct safetensors_entry *entry = &file->entries[i];
            assert_true(entry->end <= 10 && entry->count <= 2);
            if (entry->type != SAFETENSORS_OTHER)
                assert_good(safetensors_read(file, entry, 0, entry->count, values));
        }
        safetensors_close(&file);
        free(path);
    }
    assert_true(refused > total / 2);
    support_folder_remove(folder);
}

static void what_is_written_is_read(void **unused)
{
    (void)unused;
    char *folder = support_folder_quick();
    struct safetensors_entry entries[] = {
        {.name = "b", .type = SAFETENSORS_F32, .dimensions = 2, .shape = {2, 3}, .count = 6},
        {.name = "a.\xc3\xa9", .type = SAFETENSORS_BF16, .dimensions = 0, .count = 1},
        {.name = "none", .type = SAFETENSORS_F32, .dimensions = 1, .shape = {0}, .count = 0}};
    const float values[] = {1.5F, -2.0F, 3e30F, 0.0F, -0.0F, 7.0F};
    const float one = 1.0F;
    char *header = NULL;
    size_t bytes = 0;
    struct safetensors *file = NULL;
    assert_good(safetensors_header(&header, &bytes, entries, 3));
    assert_int_equal(bytes % 8, 0);
    char *all = calloc(1, bytes + 26);
    memcpy(all, header, bytes);
    memcpy(all + bytes, values, 24);
    safetensors_pack(all + bytes + 24, SAFETENSORS_BF16, &one, 1);
    char *path = NULL;
    assert_good(core_format(&path, "%s/model.safetensors", folder));
    assert_good(files_replace(path, all, bytes + 26));
    assert_good(safetensors_open(&file, path));
    assert_int_equal(file->count, 3);
    float back[6] = {0};
    const struct safetensors_entry *entry = safetensors_find(file, "b");
    assert_non_null(entry);
    assert_int_equal(entry->shape[1], 3);
    assert_good(safetensors_read(file, entry, 0, 6, back));
    assert_memory_equal(back, values, sizeof values);
    assert_good(safetensors_read(file, entry, 4, 2, back));
    assert_memory_equal(back, values + 4, 8);
    assert_good(safetensors_read(file, safetensors_find(file, "a.\xc3\xa9"), 0, 1, back));
    assert_true(back[0] == 1.0F);
    assert_int_equal(safetensors_find(file, "none")->count, 0);
    assert_null(safetensors_find(file, "c"));
    safetensors_close(&file);
    free(all);
    free(path);
    free(header);
    support_folder_remove(folder);
}

/* Every 16-bit value: bfloat16 there and back is the same bits, and halves have their values. */
static void halves_are_exact(void **unused)
{
    (void)unused;
    enum { ALL = 65536 };
    char *folder = support_folder_quick();
    static const char header[] =
        "{\"b\":{\"dtype\":\"BF16\",\"shape\":[65536],\"data_offsets\":[0,131072]},"
        "\"h\":{\"dtype\":\"F16\",\"shape\":[65536],\"data_offsets\":[131072,262144]}}";
    size_t length = sizeof header - 1;
    char *bytes = calloc(1, 8 + length + 4 * ALL);
    uint64_t claimed = length;
    memcpy(bytes, &claimed, 8);
    memcpy(bytes + 8, header, length);
    for (int i = 0; i < 2 * ALL; i++) {
        uint16_t value = (uint16_t)i;
        memcpy(bytes + 8 + length + 2 * i, &value, 2);
    }
    char *path = NULL;
    struct safetensors *file = NULL;
    assert_good(core_format(&path, "%s/model.safetensors", folder));
    assert_good(files_replace(path, bytes, 8 + length + 4 * ALL));
    assert_good(safetensors_open(&file, path));
    float *values = malloc(ALL * sizeof *values);
    uint16_t *again = malloc(ALL * sizeof *again);
    assert_good(safetensors_read(file, safetensors_find(file, "b"), 0, ALL, values));
    safetensors_pack(again, SAFETENSORS_BF16, values, ALL);
    for (int i = 0; i < ALL; i++)
        assert_true(again[i] == i || isnan(values[i]));
    assert_good(safetensors_read(file, safetensors_find(file, "h"), 0, ALL, values));
    for (int i = 0; i < ALL; i++) {
        int exponent = i >> 10 & 31;
        double fraction = i & 1023;
        double size = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
        if (exponent == 31)
            assert_true(fraction > 0 ? isnan(values[i]) : isinf(values[i]));
        else
            assert_true((double)values[i] == (i >> 15 ? -size : size));
    }
    safetensors_close(&file);
    free(values);
    free(again);
    free(bytes);
    free(path);
    support_folder_remove(folder);
}

static void bfloat16_is_rounded_to_nearest_ties_to_even(void **unused)
{
    (void)unused;
    static const struct {
        float value;
        uint16_t bits;
    } cases[] = {{1.0F, 0x3F80},
                 {0x1.01p0F, 0x3F80},
                 {0x1.010002p0F, 0x3F81},
                 {0x1.03p0F, 0x3F82},
                 {0x1.02FFFEp0F, 0x3F81},
                 {-0x1.03p0F, 0xBF82},
                 {0x1.FEFFFEp127F, 0x7F7F},
                 {0x1p-149F, 0x0000},
                 {-0.0F, 0x8000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint16_t bits = 0;
        safetensors_pack(&bits, SAFETENSORS_BF16, &cases[i].value, 1);
        assert_int_equal(bits, cases[i].bits);
    }
    float nan = NAN;
    uint16_t bits = 0;
    safetensors_pack(&bits, SAFETENSORS_BF16, &nan, 1);
    assert_true((bits & 0x7F80) == 0x7F80 && (bits & 0x7F) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_headers_are_refused_with_the_reason),
        cmocka_unit_test(lengths_that_leave_the_file_are_refused),
        cmocka_unit_test(large_headers_end_soon),
        cmocka_unit_test(no_flipped_bit_leads_out_of_the_file),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(halves_are_exact),
        cmocka_unit_test(bfloat16_is_rounded_to_nearest_ties_to_even),
    };
    log_open(-1, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
