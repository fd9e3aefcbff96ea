/* launcher/guard: a launcher that a signal has ended is started again, its exit code is the
 * guard's, and what the guard is sent reaches it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/guard.h"
#include "tests/support/capture.h"

enum { ENDLESS = 1000 };

struct guarded {
    pid_t guard;
    int lives; /* a byte for each launcher that has come up, its number from 1 */
};

/* In the launcher: dies of SIGKILL while it is one of the first `deaths`, then waits for SIGUSR1
 * where it is to be told, and ends with 7. */
static _Noreturn void live(int lives, int life, int deaths, bool waits)
{
    sigset_t told;
    int number = 0;
    unsigned char byte = (unsigned char)life;
    (void)sigemptyset(&told);
    (void)sigaddset(&told, SIGUSR1);
    if (waits && sigprocmask(SIG_BLOCK, &told, NULL) != 0)
        _exit(99);
    if (write(lives, &byte, 1) != 1)
        _exit(98);
    if (life <= deaths)
        (void)raise(SIGKILL);
    if (waits && (sigwait(&told, &number) != 0 || number != SIGUSR1))
        _exit(97);
    _exit(7);
}

static struct guarded start(int deaths, int max_restarts, bool waits)
{
    int ends[2];
    struct guarded guarded;
    assert_int_equal(pipe(ends), 0);
    guarded.guard = fork();
    assert_true(guarded.guard >= 0);
    if (guarded.guard == 0) {
        const struct guard_options options = {
            .max_restarts = max_restarts, .window_s = ENDLESS, .grace_s = 0.2};
        int counter[2]; /* a pipe that holds the number of the next launcher */
        unsigned char byte = 1;
        if (pipe(counter) != 0 || write(counter[1], &byte, 1) != 1 ||
            guard_launcher(&options) != LS_OK)
            _exit(96);
        if (read(counter[0], &byte, 1) != 1)
            _exit(95);
        int life = byte++;
        if (write(counter[1], &byte, 1) != 1)
            _exit(94);
        live(ends[1], life, deaths, waits);
    }
    (void)close(ends[1]);
    guarded.lives = ends[0];
    return guarded;
}

static int end_of(const struct guarded *guarded, int *lives)
{
    int status = 0;
    unsigned char byte = 0;
    *lives = 0;
    while (read(guarded->lives, &byte, 1) == 1)
        *lives = byte;
    (void)close(guarded->lives);
    while (waitpid(guarded->guard, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void a_killed_launcher_is_started_again(void **unused)
{
    (void)unused;
    int lives = 0;
    capture_begin();
    struct guarded guarded = start(1, 3, false);
    int code = end_of(&guarded, &lives);
    char *said = capture_end();
    assert_int_equal(code, 7);
    assert_int_equal(lives, 2);
    assert_non_null(strstr(said, "launcher_lost signal=9 (Killed) restart=1 of=3"));
    free(said);
}

static void not_more_often_than_allowed(void **unused)
{
    (void)unused;
    int lives = 0;
    capture_begin();
    struct guarded guarded = start(ENDLESS, 1, false);
    int code = end_of(&guarded, &lives);
    char *said = capture_end();
    assert_int_equal(code, 128 + SIGKILL);
    assert_int_equal(lives, 2);
    assert_non_null(strstr(said, "launcher_lost signal=9 (Killed) restart=no"));
    free(said);
}

static void signals_are_handed_on_and_the_code_comes_back(void **unused)
{
    (void)unused;
    int lives = 0;
    unsigned char byte = 0;
    struct guarded guarded = start(0, 3, true);
    assert_int_equal(read(guarded.lives, &byte, 1), 1);
    assert_int_equal(kill(guarded.guard, SIGUSR1), 0);
    assert_int_equal(end_of(&guarded, &lives), 7);
    assert_int_equal(lives, 0); /* no second one */
}

static void a_guard_that_dies_asks_its_launcher_to_stop(void **unused)
{
    (void)unused;
    int lives = 0;
    unsigned char byte = 0;
    struct guarded guarded = start(0, 3, true);
    assert_int_equal(read(guarded.lives, &byte, 1), 1);
    assert_int_equal(kill(guarded.guard, SIGKILL), 0);
    /* The pipe ends when the launcher has, which nothing else would end. */
    assert_int_equal(end_of(&guarded, &lives), -SIGKILL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_launcher_is_started_again),
        cmocka_unit_test(not_more_often_than_allowed),
        cmocka_unit_test(signals_are_handed_on_and_the_code_comes_back),
        cmocka_unit_test(a_guard_that_dies_asks_its_launcher_to_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
