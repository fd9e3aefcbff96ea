/* The failure record: one message, the places it passed, one line. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/status.h"

static ls_status fail_here(void)
{
    return LS_FAIL(LS_DATA, "%s: no video stream", "a.mp4");
}

static ls_status pass_on(void)
{
    ls_status st = LS_OK;
    LS_TRY(fail_here());
done:
    return st;
}

static void message_is_kept_and_places_are_appended(void **state)
{
    (void)state;
    assert_int_equal(pass_on(), LS_DATA);
    assert_string_equal(status_message(), "a.mp4: no video stream");
    const char *text = status_text();
    assert_non_null(strstr(text, "a.mp4: no video stream [tests/unit/test_status.c:"));
    assert_non_null(strstr(text, " < tests/unit/test_status.c:"));
    assert_int_equal(text[strlen(text) - 1], ']');
}

static void a_new_failure_replaces_the_record(void **state)
{
    (void)state;
    assert_int_equal(pass_on(), LS_DATA);
    assert_int_equal(LS_FAIL(LS_IO, "second"), LS_IO);
    assert_string_equal(status_message(), "second");
    assert_null(strstr(status_text(), "<"));
    status_clear();
    assert_string_equal(status_text(), "");
    assert_string_equal(status_message(), "");
}

static void arguments_may_come_from_the_record(void **state)
{
    (void)state;
    (void)LS_FAIL(LS_IO, "inner");
    (void)LS_FAIL(LS_IO, "outer: %s", status_message());
    assert_string_equal(status_message(), "outer: inner");
    (void)status_adopt(LS_COMM, status_message());
    assert_string_equal(status_message(), "outer: inner");
}

static void text_is_one_line(void **state)
{
    (void)state;
    (void)LS_FAIL(LS_IO, "%s", "a\nb\tc\rd");
    assert_string_equal(status_message(), "a b c d");
    assert_int_equal(status_adopt(LS_COMM, "rank 3:\nx"), LS_COMM);
    assert_string_equal(status_text(), "rank 3: x"); /* another's failure has no place here */
}

static void long_messages_and_deep_traces_are_cut(void **state)
{
    (void)state;
    char *name = calloc(100001, 1);
    assert_non_null(name);
    memset(name, 'x', 100000);
    (void)LS_FAIL(LS_IO, "%s", name);
    for (int i = 0; i < 1000; i++)
        status_trace(__FILE__, i);
    assert_true(strlen(status_message()) > 1000);
    assert_true(strlen(status_text()) < 4000);
    assert_string_equal(status_text() + strlen(status_text()) - 1, "]");
    (void)status_adopt(LS_IO, name);
    assert_true(strlen(status_text()) < 4000);
    free(name);
}

static void *fail_in_thread(void *argument)
{
    (void)argument;
    bool clean = status_message()[0] == '\0';
    (void)LS_FAIL(LS_IO, "of the thread");
    return clean ? "clean" : NULL;
}

static void every_thread_has_its_record(void **state)
{
    (void)state;
    pthread_t thread;
    void *result = NULL;
    (void)LS_FAIL(LS_IO, "of the main thread");
    assert_int_equal(pthread_create(&thread, NULL, fail_in_thread, NULL), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_non_null(result);
    assert_string_equal(status_message(), "of the main thread");
}

static void codes_have_exit_codes_and_names(void **state)
{
    (void)state;
    static const struct {
        ls_status code;
        int exit_code;
    } cases[] = {
        {LS_OK, 0},    {LS_EOF, 0},      {LS_FAILED, 1},      {LS_USAGE, 2},
        {LS_NOMEM, 1}, {LS_IO, 10},      {LS_DATA, 11},       {LS_DEVICE, 12},
        {LS_COMM, 13}, {LS_TIMEOUT, 14}, {LS_CHECKPOINT, 15}, {LS_STOP, 75},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(status_exit_code(cases[i].code), cases[i].exit_code);
        assert_true(strlen(status_name(cases[i].code)) > 0);
        bool told = cases[i].exit_code > 1 && cases[i].code != LS_STOP;
        assert_int_equal(status_of_exit_code(cases[i].exit_code), told ? cases[i].code : LS_FAILED);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(status_name(cases[i].code), status_name(cases[j].code));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message_is_kept_and_places_are_appended),
        cmocka_unit_test(a_new_failure_replaces_the_record),
        cmocka_unit_test(arguments_may_come_from_the_record),
        cmocka_unit_test(text_is_one_line),
        cmocka_unit_test(long_messages_and_deep_traces_are_cut),
        cmocka_unit_test(every_thread_has_its_record),
        cmocka_unit_test(codes_have_exit_codes_and_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
