/* launcher/processes: nothing of the workers is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "launcher/processes.h"

/* A child with a child with a child ..., `depth` of them, which wait until they are killed (or for
 * 100 s, should the test fail first); the last one writes to `ready`. */
static _Noreturn void wait_in_line(int depth, int ready)
{
    while (depth > 1 && fork() == 0) /* the child goes on with the line, the parent waits */
        depth--;
    (void)alarm(100);
    if (depth == 1 && write(ready, "x", 1) != 1)
        _exit(1);
    for (;;)
        (void)pause();
}

static void children_of_children_are_ended_too(void **state)
{
    (void)state;
    int ready[2];
    char byte = 0;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        wait_in_line(4, ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(close(ready[0]), 0);
    assert_int_equal(close(ready[1]), 0);
    double start_s = clock_now_s();
    processes_end_leftovers(0.2);
    assert_true(clock_now_s() - start_s < 50);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void those_that_end_by_themselves_are_waited_for(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        clock_sleep_s(0.2);
        _exit(0);
    }
    double start_s = clock_now_s();
    processes_end_leftovers(100);
    assert_true(clock_now_s() - start_s < 50);
    assert_int_equal(waitpid(child, NULL, WNOHANG), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(children_of_children_are_ended_too),
        cmocka_unit_test(those_that_end_by_themselves_are_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
