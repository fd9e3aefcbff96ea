/* Nothing that a config or an override holds makes the reader crash, hang or grow: mutations of
 * right ones are refused with a message, or read back from their dump. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/config.h"
#include "core/files.h"
#include "core/random.h"
#include "tests/support/capture.h"
#include "tests/support/config_text.h"

/* Change digits or bytes, copy, cut or insert pieces, as a slip of the hand or a bad disk would. */
static void mutate(struct random_stream *random, char *text, size_t *length, size_t room)
{
    static const char *const words[] = {
        "[",  "]", "{",   "}",  ": ",   "- ", "\n", "&a ", "*a", "null", "true", "-1",
        "\"", "'", "|\n", "? ", "1e99", "\t", "#",  "!!x", "%",  "<<: ", "...",  "---\n"};
    uint64_t changes = 1 + random_below(random, 3);
    for (uint64_t i = 0; i<changes && * length> 2; i++) {
        size_t at = (size_t)random_below(random, *length);
        size_t count = 1 + (size_t)random_below(random, *length - at < 40 ? *length - at : 40);
        const char *word = words[random_below(random, sizeof words / sizeof *words)];
        size_t grow = strlen(word);
        switch (random_below(random, 8)) {
        case 0: /* one other byte, never 0: the text ends there */
            text[at] = (char)(1 + random_below(random, 255));
            break;
        case 1:
            memmove(text + at, text + at + count, *length - at - count);
            *length -= count;
            break;
        case 2:
            if (*length + grow < room) {
                memmove(text + at + grow, text + at, *length - at);
                memcpy(text + at, word, grow);
                *length += grow;
            }
            break;
        case 3:
            if (*length + count < room) {
                memmove(text + at + count, text + at, *length - at);
                *length += count;
            }
            break;
        default: /* the next digit: small slips reach deeper than broken syntax does */
            at += strcspn(text + at, "0123456789");
            if (at < *length)
                text[at] = (char)('0' + random_below(random, 10));
            break;
        }
        text[*length] = '\0';
    }
}

/* Open what may be nonsense: refused with a message, or a config that reads back from its dump. */
static bool open_anything(const char *text, const char *const *overrides, int count)
{
    struct config *config = NULL;
    capture_begin();
    ls_status st = config_text_open(&config, text, overrides, count);
    for (int stage = 1; st == LS_OK && stage < config->stage_count; stage++) {
        struct config *later = NULL;
        ls_status also = config_open_stage(&later, config_text_path(), overrides, count, stage);
        assert_true(also == LS_OK || also == LS_USAGE);
        config_close(&later);
    }
    free(capture_end());
    if (st == LS_OK) {
        config_text_assert_round_trip(config);
    } else {
        assert_int_equal(st, LS_USAGE);
        assert_true(strlen(status_message()) > 10);
    }
    config_close(&config);
    return st == LS_OK;
}

enum { ROUNDS = 2000, ROOM = 1 << 14 };

static void mutate_files_of(const char *folder, uint64_t seed)
{
    char **names = NULL;
    size_t name_count = 0;
    assert_int_equal(files_list(&names, &name_count, folder), LS_OK);
    char *text = calloc(ROOM + 1, 1);
    assert_non_null(text);
    int read = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct random_stream random;
        random_open(&random, seed, RANDOM_TEST, (uint64_t)round, 0, 0);
        char *original = NULL;
        char *path = NULL;
        size_t bytes = 0;
        assert_int_equal(core_format(&path, "%s/%s", folder, names[(size_t)round % name_count]),
                         LS_OK);
        assert_int_equal(files_read(&original, &bytes, path, ROOM - 4096), LS_OK);
        memcpy(text, original, bytes + 1);
        mutate(&random, text, &bytes, ROOM);
        read += open_anything(text, NULL, 0);
        free(original);
        free(path);
    }
    /* Both ways are taken often, or this test shows nothing. */
    assert_true(read > ROUNDS / 20);
    assert_true(read < ROUNDS * 19 / 20);
    free(text);
    files_list_free(&names, name_count);
}

static void mutated_files_are_refused_or_read(void **state)
{
    (void)state;
    mutate_files_of("configs", 7);
}

static void mutated_public_files_are_refused_or_read(void **state)
{
    (void)state;
    char folder[512];
    const char *shared = getenv("SHARED");
    (void)snprintf(folder, sizeof folder, "%s/public_configs",
                   shared != NULL ? shared : "../shared");
    if (!files_is_folder(folder))
        skip();
    mutate_files_of(folder, 8);
}

static void mutated_overrides_are_refused_or_read(void **state)
{
    (void)state;
    static const char *const overrides[] = {
        "data.batch_size=3",     "data.datasets=[a, b]",      "mask[0].spatial_scale=[0.1, 0.2]",
        "mask[0]={a: b}",        "optimization.ema[1]=0.999", "model.model_name=vit_tiny",
        "optimization.steps=60", "data.crop_size=[64, 128]",  "lockstep={threads: 2}",
    };
    int read = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct random_stream random;
        char text[2][256];
        random_open(&random, 9, RANDOM_TEST, (uint64_t)round, 0, 0);
        for (int i = 0; i < 2; i++) {
            size_t which = (size_t)random_below(&random, sizeof overrides / sizeof *overrides);
            size_t length = strlen(overrides[which]);
            (void)snprintf(text[i], sizeof text[i], "%s", overrides[which]);
            if (random_below(&random, 2) == 0)
                mutate(&random, text[i], &length, sizeof text[i] - 1);
        }
        const char *const both[] = {text[0], text[1]};
        read += open_anything(config_text_small, both, 2);
    }
    assert_true(read > ROUNDS / 20);
    assert_true(read < ROUNDS * 19 / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mutated_files_are_refused_or_read),
        cmocka_unit_test(mutated_public_files_are_refused_or_read),
        cmocka_unit_test(mutated_overrides_are_refused_or_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
