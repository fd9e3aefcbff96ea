/* Command lines: what is accepted, what is refused and with which words, and the help page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/options.h"

struct sample {
    struct option_list paths;
    bool json;
    int fresh;
    int64_t workers;
    const char *output;
    const char *store;
    struct option_list set;
};

static const char *const stores[] = {"packets", "frames", NULL};
static const struct option table[] = {
    {.name = "json", .type = OPTION_FLAG, .offset = offsetof(struct sample, json), .help = "J."},
    {.name = "fresh", .type = OPTION_COUNT, .offset = offsetof(struct sample, fresh), .help = "F."},
    {.name = "workers",
     .letter = 'n',
     .type = OPTION_INTEGER,
     .offset = offsetof(struct sample, workers),
     .word = "W",
     .initial = "2",
     .low = 1,
     .high = 64,
     .help = "Workers."},
    {.name = "output",
     .letter = 'o',
     .type = OPTION_TEXT,
     .offset = offsetof(struct sample, output),
     .word = "FILE",
     .help = "Output."},
    {.name = "store",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct sample, store),
     .word = "KIND",
     .initial = "packets",
     .choices = stores,
     .help = "What is stored."},
    {.name = "set",
     .type = OPTION_LIST,
     .offset = offsetof(struct sample, set),
     .word = "KEY=VALUE",
     .help = "Override."},
};

static const struct command command = {
    .name = "sample",
    .arguments = "PATH...",
    .summary = "a sample",
    .details = "Details of the sample.",
    .arguments_least = 1,
    .arguments_most = 2,
    .arguments_offset = offsetof(struct sample, paths),
    .options = table,
    .option_count = sizeof table / sizeof table[0],
    .bytes = sizeof(struct sample),
};

enum { WORDS_MAX = 16, LINE_BYTES = 256 };

/* Cuts `line` at spaces and parses the words; the buffers must outlive the result. */
static ls_status parse(struct sample **out, bool *help, char *buffer, const char *line)
{
    static char *words[WORDS_MAX];
    int count = 0;
    (void)snprintf(buffer, LINE_BYTES, "%s", line);
    for (char *word = strtok(buffer, " "); word != NULL; word = strtok(NULL, " "))
        words[count++] = word;
    return options_parse((void **)out, help, &command, count, words);
}

static void all_spellings_fill_the_same(void **unused)
{
    (void)unused;
    static const char *const lines[] = {
        "a --json --workers 3 --output f --store frames --set x=1 --set y=2 b",
        "--json -n 3 -o f a b --store=frames --set=x=1 --set y=2",
        "-n3 -of --set x=1 --store frames --json --set y=2 -- a b",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct sample *sample = NULL;
        bool help = true;
        char buffer[LINE_BYTES];
        assert_int_equal(parse(&sample, &help, buffer, lines[i]), LS_OK);
        assert_false(help);
        assert_true(sample->json);
        assert_int_equal(sample->workers, 3);
        assert_string_equal(sample->output, "f");
        assert_string_equal(sample->store, "frames");
        assert_int_equal(sample->set.count, 2);
        assert_string_equal(sample->set.values[0], "x=1");
        assert_string_equal(sample->set.values[1], "y=2");
        assert_int_equal(sample->paths.count, 2);
        assert_string_equal(sample->paths.values[1], "b");
        options_free((void **)&sample, &command);
        assert_null(sample);
    }
}

static void defaults_hold_where_nothing_is_given(void **unused)
{
    (void)unused;
    struct sample *sample = NULL;
    bool help = true;
    char buffer[LINE_BYTES];
    assert_int_equal(parse(&sample, &help, buffer, "--fresh a --fresh"), LS_OK);
    assert_false(sample->json);
    assert_int_equal(sample->fresh, 2);
    assert_int_equal(sample->workers, 2);
    assert_null(sample->output);
    assert_string_equal(sample->store, "packets");
    assert_int_equal(sample->set.count, 0);
    options_free((void **)&sample, &command);
}

static void words_after_two_dashes_and_a_single_dash_are_no_options(void **unused)
{
    (void)unused;
    struct sample *sample = NULL;
    bool help = true;
    char buffer[LINE_BYTES];
    assert_int_equal(parse(&sample, &help, buffer, "- -- --json"), LS_OK);
    assert_false(sample->json);
    assert_string_equal(sample->paths.values[0], "-");
    assert_string_equal(sample->paths.values[1], "--json");
    options_free((void **)&sample, &command);
    assert_int_equal(parse(&sample, &help, buffer, "-- --help"), LS_OK);
    assert_false(help);
    options_free((void **)&sample, &command);
}

static void mistakes_are_told_in_one_line(void **unused)
{
    (void)unused;
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"a --worker 3", "sample: unknown option --worker (did you mean --workers?)"},
        {"a --ouptut=f", "sample: unknown option --ouptut (did you mean --output?)"},
        {"a --zzzzzzzz", "sample: unknown option --zzzzzzzz; `lockstep sample --help` lists them"},
        {"a -q", "sample: unknown option -q; `lockstep sample --help` lists them"},
        {"a --workers", "sample: --workers wants a value (W)"},
        {"a -n", "sample: --workers wants a value (W)"},
        {"a -n 0", "sample: --workers: '0' is not an integer from 1 to 64"},
        {"a -n 65", "sample: --workers: '65' is not an integer from 1 to 64"},
        {"a -n -3", "sample: --workers: '-3' is not an integer from 1 to 64"},
        {"a -n 3x", "sample: --workers: '3x' is not an integer from 1 to 64"},
        {"a -n 3.0", "sample: --workers: '3.0' is not an integer from 1 to 64"},
        {"a --workers= --json", "sample: --workers: '' is not an integer from 1 to 64"},
        {"a -n 99999999999999999999",
         "sample: --workers: '99999999999999999999' is not an integer from 1 to 64"},
        {"a --store bytes", "sample: --store: 'bytes' is not one of packets, frames"},
        {"a --json=yes", "sample: --json takes no value"},
        {"a b c", "sample: 'c' is one argument too many; wanted: PATH..."},
        {"--json", "sample: wants PATH...; `lockstep sample --help` tells more"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sample *sample = NULL;
        bool help = false;
        char buffer[LINE_BYTES];
        assert_int_equal(parse(&sample, &help, buffer, cases[i].line), LS_USAGE);
        assert_null(sample);
        assert_string_equal(status_message(), cases[i].message);
    }
}

static void help_is_found_among_mistakes(void **unused)
{
    (void)unused;
    static const char *const lines[] = {"--help", "--nonsense -h", "a b c d --help"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct sample *sample = NULL;
        bool help = false;
        char buffer[LINE_BYTES];
        assert_int_equal(parse(&sample, &help, buffer, lines[i]), LS_OK);
        assert_true(help);
        options_free((void **)&sample, &command);
    }
}

static void the_help_page_has_every_option_with_range_and_default(void **unused)
{
    (void)unused;
    char *page = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&page, &bytes);
    assert_non_null(file);
    options_help(file, &command);
    assert_int_equal(fclose(file), 0);
    assert_non_null(strstr(page, "usage: lockstep sample PATH... [options]"));
    assert_non_null(strstr(page, "Details of the sample."));
    assert_non_null(strstr(page, "-n, --workers W"));
    assert_non_null(strstr(page, "Workers. [1 to 64] (default: 2)"));
    assert_non_null(strstr(page, "[packets, frames] (default: packets)"));
    for (int i = 0; i < command.option_count; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "--%s", table[i].name);
        assert_non_null(strstr(page, name));
    }
    for (const char *line = page; *line != '\0'; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 80);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_spellings_fill_the_same),
        cmocka_unit_test(defaults_hold_where_nothing_is_given),
        cmocka_unit_test(words_after_two_dashes_and_a_single_dash_are_no_options),
        cmocka_unit_test(mistakes_are_told_in_one_line),
        cmocka_unit_test(help_is_found_among_mistakes),
        cmocka_unit_test(the_help_page_has_every_option_with_range_and_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
