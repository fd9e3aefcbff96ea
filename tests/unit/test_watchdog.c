/* The watchdog ends a process that hangs; the records say who was missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/files.h"
#include "core/flight.h"
#include "core/run.h"
#include "core/watchdog.h"

static char run[] = "/tmp/lockstep-watchdog.XXXXXX";

static int make_run(void **state)
{
    (void)state;
    return mkdtemp(run) == NULL ? -1 : 0;
}

static int remove_run(void **state)
{
    (void)state;
    return files_remove(run) == LS_OK ? 0 : -1;
}

/* A rank that passes `collectives` collectives of epoch `run_epoch` and hangs, or else ends. */
static int child_code(int64_t run_epoch, int rank, int collectives, double limit_s, bool hangs)
{
    pid_t child = fork();
    if (child == 0) {
        if (watchdog_open(run, run_epoch, rank) != LS_OK)
            _exit(1);
        watchdog_phase("step", 7, limit_s);
        for (int i = 0; i < collectives; i++)
            flight_collective("sum", i, 1024);
        clock_sleep_s(hangs ? 20 : 0.5);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_hanging_process_ends_with_the_code_of_a_timeout(void **state)
{
    (void)state;
    struct run_end *ends = NULL;
    int count = 0;
    double start_s = clock_now_s();
    assert_int_equal(child_code(1, 0, 1000, 0.2, true), 14);
    assert_true(clock_now_s() - start_s < 5);
    assert_int_equal(run_ends_read(&ends, &count, run, 1), LS_OK);
    assert_int_equal(count, 1);
    assert_int_equal(ends[0].status, LS_TIMEOUT);
    assert_int_equal(ends[0].step, 7);
    assert_non_null(strstr(ends[0].message, "step at step 7 did not end"));
    run_ends_free(&ends, count);
}

static void a_process_within_its_deadline_is_left_alone(void **state)
{
    (void)state;
    assert_int_equal(child_code(2, 0, 1, 10, false), 0);
    assert_int_equal(child_code(2, 0, 1, 0, false), 0);
}

static void a_rank_without_a_record_is_named(void **state)
{
    (void)state;
    char line[1024];
    assert_int_equal(child_code(3, 0, 5, 0.2, true), 14);
    flight_explain(line, sizeof line, run, 3, 2);
    assert_non_null(strstr(line, "no_record_of_ranks=1 "));
    assert_non_null(strstr(line, "collective=\"sum 4\""));
    flight_explain(line, sizeof line, run, 99, 2);
    assert_string_equal(line, "");
}

static void a_rank_behind_the_others_is_named(void **state)
{
    (void)state;
    char line[1024];
    assert_int_equal(child_code(4, 0, 300, 0.2, true), 14);
    assert_int_equal(child_code(4, 1, 299, 0.2, true), 14);
    flight_explain(line, sizeof line, run, 4, 2);
    assert_non_null(strstr(line, "behind: rank=1 "));
    assert_non_null(strstr(line, "others_at: rank=0 "));
    assert_non_null(strstr(line, "collective=\"sum 299\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hanging_process_ends_with_the_code_of_a_timeout),
        cmocka_unit_test(a_process_within_its_deadline_is_left_alone),
        cmocka_unit_test(a_rank_without_a_record_is_named),
        cmocka_unit_test(a_rank_behind_the_others_is_named),
    };
    return cmocka_run_group_tests(tests, make_run, remove_run);
}
