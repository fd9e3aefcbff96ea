/* Ranges of a run and the file that viewers read. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cJSON.h>
#include <cmocka.h>

#include "core/clock.h"
#include "core/files.h"
#include "core/trace.h"

enum { PATH_BYTES = 256 };

/* The file that trace_write makes, parsed. */
static cJSON *written(int rank)
{
    char path[PATH_BYTES];
    const char *folder = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    char *text = NULL;
    size_t bytes = 0;
    (void)snprintf(path, sizeof path, "%s/test_trace.%d.json", folder, rank);
    assert_int_equal(trace_write(path, rank), LS_OK);
    assert_int_equal(files_read(&text, &bytes, path, 1 << 28), LS_OK);
    assert_int_equal(remove(path), 0);
    cJSON *json = cJSON_Parse(text);
    free(text);
    assert_non_null(json);
    return json;
}

/* The `number`-th finished range called so; NULL: there are fewer. */
static const cJSON *range(const cJSON *json, const char *name, int number)
{
    const cJSON *event = NULL;
    cJSON_ArrayForEach(event, cJSON_GetObjectItem(json, "traceEvents"))
    {
        const char *kind = cJSON_GetStringValue(cJSON_GetObjectItem(event, "ph"));
        if (strcmp(kind, "X") == 0 &&
            strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(event, "name")), name) == 0 &&
            number-- == 0)
            return event;
    }
    return NULL;
}

static double number(const cJSON *event, const char *member)
{
    return cJSON_GetNumberValue(cJSON_GetObjectItem(event, member));
}

static void ranges_lie_in_one_another(void **state)
{
    (void)state;
    assert_int_equal(trace_start(), LS_OK);
    trace_begin("outer");
    trace_begin("first");
    clock_sleep_s(0.002);
    trace_end();
    trace_begin("second");
    assert_int_equal(trace_ended(LS_STOP), LS_STOP);
    trace_end();
    trace_stop();
    cJSON *json = written(3);
    const cJSON *outer = range(json, "outer", 0);
    const cJSON *first = range(json, "first", 0);
    const cJSON *second = range(json, "second", 0);
    assert_non_null(outer);
    assert_non_null(first);
    assert_non_null(second);
    assert_true(number(first, "dur") >= 2000.0);
    assert_true(number(outer, "ts") <= number(first, "ts"));
    assert_true(number(first, "ts") + number(first, "dur") <= number(second, "ts") + 0.002);
    assert_true(number(outer, "ts") + number(outer, "dur") >=
                number(second, "ts") + number(second, "dur") - 0.002);
    assert_int_equal(number(outer, "pid"), 3);
    assert_int_equal(number(outer, "tid"), number(second, "tid"));
    cJSON_Delete(json);
}

static void only_what_lies_between_start_and_stop_is_kept(void **state)
{
    (void)state;
    trace_begin("before");
    trace_end();
    trace_begin("open at the start");
    assert_int_equal(trace_start(), LS_OK);
    const double now_s = clock_now_s();
    trace_span("lane", "too early", now_s - 10, now_s);
    trace_span("lane", "in time", now_s, now_s + 1);
    trace_end();
    trace_begin("open at the end");
    trace_stop();
    trace_end();
    trace_span("lane", "too late", now_s, now_s);
    cJSON *json = written(0);
    assert_null(range(json, "before", 0));
    assert_null(range(json, "open at the start", 0));
    assert_null(range(json, "open at the end", 0));
    assert_null(range(json, "too early", 0));
    assert_null(range(json, "too late", 0));
    assert_non_null(range(json, "in time", 0));
    cJSON_Delete(json);
}

static void *work(void *argument)
{
    (void)argument;
    for (int i = 0; i < 100; i++) {
        trace_begin("thread");
        trace_end();
    }
    return NULL;
}

static void threads_and_lanes_have_lines_of_their_own(void **state)
{
    (void)state;
    pthread_t thread;
    assert_int_equal(trace_start(), LS_OK);
    assert_int_equal(pthread_create(&thread, NULL, work, NULL), 0);
    trace_begin("main");
    trace_end();
    trace_span("lane", "span", clock_now_s(), clock_now_s());
    assert_int_equal(pthread_join(thread, NULL), 0);
    trace_stop();
    cJSON *json = written(0);
    assert_non_null(range(json, "thread", 99));
    assert_null(range(json, "thread", 100));
    const double main_line = number(range(json, "main", 0), "tid");
    const double thread_line = number(range(json, "thread", 0), "tid");
    const double lane = number(range(json, "span", 0), "tid");
    assert_true(main_line != thread_line && main_line != lane && thread_line != lane);
    cJSON_Delete(json);
}

static void more_ranges_than_there_is_room_for_are_counted(void **state)
{
    (void)state;
    enum { MORE = 5 };
    assert_int_equal(trace_start(), LS_OK);
    for (int i = 0; i < TRACE_RANGES_MAX + MORE; i++) {
        trace_begin("many");
        trace_end();
    }
    trace_stop();
    cJSON *json = written(0);
    const cJSON *data = cJSON_GetObjectItem(json, "otherData");
    assert_int_equal(number(data, "ranges"), TRACE_RANGES_MAX);
    assert_int_equal(number(data, "lost"), MORE);
    cJSON_Delete(json);
}

static void deep_ranges_end_in_order(void **state)
{
    (void)state;
    assert_int_equal(trace_start(), LS_OK);
    trace_begin("top");
    for (int i = 0; i < 2 * TRACE_DEPTH_MAX; i++)
        trace_begin("deep");
    for (int i = 0; i < 2 * TRACE_DEPTH_MAX; i++)
        trace_end();
    trace_end();
    trace_end(); /* of nothing */
    trace_stop();
    cJSON *json = written(0);
    assert_non_null(range(json, "top", 0));
    assert_null(range(json, "deep", TRACE_DEPTH_MAX));
    cJSON_Delete(json);
}

static void steps_are_read_and_nonsense_is_refused(void **state)
{
    (void)state;
    struct trace_steps steps;
    static const char *const wrong[] = {"",
                                        "0",
                                        "0:3",
                                        "5:4",
                                        ":",
                                        "3:",
                                        ":3",
                                        "1:2x",
                                        "1:2:3",
                                        "-1:2",
                                        "1-2",
                                        "+1",
                                        "99999999999999999999"};
    assert_int_equal(trace_steps_parse(&steps, "10:15"), LS_OK);
    assert_int_equal(steps.first, 10);
    assert_int_equal(steps.last, 15);
    assert_int_equal(trace_steps_parse(&steps, "7"), LS_OK);
    assert_int_equal(steps.first, 7);
    assert_int_equal(steps.last, 7);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (trace_steps_parse(&steps, wrong[i]) != LS_USAGE)
            fail_msg("'%s' is taken", wrong[i]);
        status_clear();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_lie_in_one_another),
        cmocka_unit_test(only_what_lies_between_start_and_stop_is_kept),
        cmocka_unit_test(threads_and_lanes_have_lines_of_their_own),
        cmocka_unit_test(more_ranges_than_there_is_room_for_are_counted),
        cmocka_unit_test(deep_ranges_end_in_order),
        cmocka_unit_test(steps_are_read_and_nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
