/* Log lines: what they carry, who speaks, whole lines from many threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/log.h"
#include "tests/support/capture.h"

static void a_line_carries_time_level_rank_and_step(void **state)
{
    (void)state;
    log_open(0, LOG_LEVEL_INFO);
    log_step(12);
    capture_begin();
    log_info("data_loader_open threads=%d", 4);
    char *text = capture_end();
    int year = 0;
    int end = 0;
    assert_int_equal(sscanf(text, "%4d-%*2d-%*2dT%*2d:%*2d:%*2dZ%n", &year, &end), 1);
    assert_true(year >= 2024);
    assert_string_equal(text + end, " level=info rank=0 step=12 data_loader_open threads=4\n");
    free(text);
    log_step(-1);
    log_open(-1, LOG_LEVEL_INFO);
    capture_begin();
    log_error("x");
    text = capture_end();
    assert_string_equal(strstr(text, " level"), " level=error x\n");
    free(text);
}

static char *all_levels(int rank, enum log_level level)
{
    log_open(rank, level);
    capture_begin();
    log_error("a");
    log_warn("b");
    log_info("c");
    log_debug("d");
    char *text = capture_end();
    log_open(-1, LOG_LEVEL_INFO);
    return text;
}

static void levels_and_ranks_decide_who_speaks(void **state)
{
    (void)state;
    static const struct {
        int rank;
        enum log_level level;
        int lines;
    } cases[] = {
        {-1, LOG_LEVEL_INFO, 3},  {0, LOG_LEVEL_INFO, 3}, {0, LOG_LEVEL_DEBUG, 4},
        {0, LOG_LEVEL_ERROR, 1},  {0, LOG_LEVEL_WARN, 2}, {1, LOG_LEVEL_DEBUG, 2},
        {17, LOG_LEVEL_ERROR, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = all_levels(cases[i].rank, cases[i].level);
        assert_int_equal(capture_count(text, "\n"), cases[i].lines);
        free(text);
    }
}

static void a_message_is_one_line_whatever_it_holds(void **state)
{
    (void)state;
    char *name = calloc(10001, 1);
    assert_non_null(name);
    memset(name, 'x', 10000);
    capture_begin();
    log_info("%s", "a\nb\r\tc");
    log_info("%s", name);
    log_info("%s", "");
    char *text = capture_end();
    assert_int_equal(capture_count(text, "\n"), 3);
    assert_int_equal(capture_count(text, "level=info"), 3);
    assert_non_null(strstr(text, " a b  c\n"));
    /* What a pipe takes in one piece: PIPE_BUF is at least 4096 on Linux. */
    assert_true(strlen(text) < 4096);
    free(text);
    free(name);
}

enum { THREADS = 4, LINES = 500 };

static void *write_lines(void *argument)
{
    for (int i = 0; i < LINES; i++)
        log_info("thread=%c%c%c%c%c%c%c%c", *(char *)argument, *(char *)argument, *(char *)argument,
                 *(char *)argument, *(char *)argument, *(char *)argument, *(char *)argument,
                 *(char *)argument);
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    char letters[THREADS] = {'a', 'b', 'c', 'd'};
    capture_begin();
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &letters[i]), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    char *text = capture_end();
    assert_int_equal(capture_count(text, "\n"), THREADS * LINES);
    for (int i = 0; i < THREADS; i++) {
        char line[64];
        char c = letters[i];
        (void)snprintf(line, sizeof line, "Z level=info thread=%c%c%c%c%c%c%c%c\n", c, c, c, c, c,
                       c, c, c);
        assert_int_equal(capture_count(text, line), LINES);
    }
    free(text);
}

static void a_log_that_cannot_be_written_stops_nothing(void **state)
{
    (void)state;
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    assert_int_equal(close(STDERR_FILENO), 0);
    log_error("into nowhere");
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    assert_int_equal(close(saved), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_carries_time_level_rank_and_step),
        cmocka_unit_test(levels_and_ranks_decide_who_speaks),
        cmocka_unit_test(a_message_is_one_line_whatever_it_holds),
        cmocka_unit_test(lines_of_threads_do_not_mix),
        cmocka_unit_test(a_log_that_cannot_be_written_stops_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
