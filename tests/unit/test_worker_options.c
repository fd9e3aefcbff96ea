/* worker/options and worker/display. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker/display.h"
#include "worker/options.h"

enum { WORDS_MAX = 8 };

static ls_status parse(struct worker_options *out, const char *const *words)
{
    char *argv[WORDS_MAX + 1] = {(char *)"lockstep-worker"};
    int argc = 1;
    while (words[argc - 1] != NULL) {
        argv[argc] = (char *)words[argc - 1];
        argc++;
    }
    return worker_options_parse(out, argc, argv);
}

static void options_are_read_in_any_order(void **state)
{
    (void)state;
    struct worker_options options;
    const char *words[] = {"--run-epoch", "7",          "RUN",   "--device",
                           "cpu",         "--progress", "lines", NULL};
    assert_int_equal(parse(&options, words), LS_OK);
    assert_string_equal(options.run, "RUN");
    assert_int_equal(options.run_epoch, 7);
    assert_int_equal(options.stop_at, 0);
    assert_int_equal(options.progress, WORKER_PROGRESS_LINES);
    assert_true(options.device_given);
    assert_int_equal(options.device, CONFIG_DEVICE_CPU);
    assert_false(options.help);
}

static void defaults_leave_the_device_to_the_config(void **state)
{
    (void)state;
    struct worker_options options;
    assert_int_equal(parse(&options, (const char *[]){"RUN", NULL}), LS_OK);
    assert_false(options.device_given);
    assert_int_equal(options.progress, WORKER_PROGRESS_AUTO);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *words[WORDS_MAX];
        const char *part;
    } cases[] = {
        {{NULL}, "a run folder is needed"},
        {{"RUN", "OTHER", NULL}, "'OTHER': one run folder is enough"},
        {{"RUN", "--run", "3", NULL}, "unknown option '--run'"},
        {{"RUN", "--run-epoch", NULL}, "--run-epoch: a value E is missing"},
        {{"RUN", "--run-epoch", "-1", NULL}, "--run-epoch: '-1' is not a count"},
        {{"RUN", "--stop-at", "12x", NULL}, "--stop-at: '12x' is not a count"},
        {{"RUN", "--stop-at", "99999999999999999999", NULL}, "is not a count"},
        {{"RUN", "--device", "gpu", NULL}, "--device: 'gpu' is none of auto|cpu|cuda"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct worker_options options;
        assert_int_equal(parse(&options, cases[i].words), LS_USAGE);
        if (strstr(status_message(), cases[i].part) == NULL)
            fail_msg("'%s' does not say '%s'", status_message(), cases[i].part);
    }
}

static void time_is_readable(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {{-1, "0:00"},    {0.4, "0:00"},     {59.6, "1:00"},      {61, "1:01"},
                 {3599, "59:59"}, {3600, "1:00:00"}, {36061, "10:01:01"}, {360000, "100:00:00"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[DISPLAY_TIME_BYTES];
        display_time(text, cases[i].seconds);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_read_in_any_order),
        cmocka_unit_test(defaults_leave_the_device_to_the_config),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(time_is_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
