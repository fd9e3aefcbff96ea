/* Signals are waited for, never caught, so nothing can come between two of them.  The workers of a
 * launcher that died have been told to save and leave (processes.h); their mpirun becomes the
 * guard's child, and the next launcher starts when it has ended. */
#include "launcher/guard.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"
#include "launcher/processes.h"

enum { PAUSE_S = 1, ENDED_BY_SIGNAL = 128 };

static const int handed_on[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGHUP};
enum { HANDED_ON = sizeof handed_on / sizeof handed_on[0] };

static void set_of_news(sigset_t *out)
{
    (void)sigemptyset(out);
    for (int i = 0; i < HANDED_ON; i++)
        (void)sigaddset(out, handed_on[i]);
    (void)sigaddset(out, SIGCHLD);
}

/* Until the launcher ends: its wait status.  `*stop` is set when somebody wants the end. */
static int wait_for(pid_t launcher, const sigset_t *news, bool *stop)
{
    for (;;) {
        int status = 0;
        siginfo_t what;
        if (waitpid(launcher, &status, WNOHANG) == launcher)
            return status;
        int number = sigwaitinfo(news, &what);
        if (number < 0 || number == SIGCHLD)
            continue;
        *stop = true;
        if (what.si_code != SI_KERNEL) /* a terminal's signal goes to both by itself */
            (void)kill(launcher, number);
    }
}

/* Whether a signal has come while nobody looked. */
static bool stop_is_pending(void)
{
    sigset_t pending;
    if (sigpending(&pending) != 0)
        return false;
    for (int i = 0; i < HANDED_ON; i++)
        if (sigismember(&pending, handed_on[i]) == 1)
            return true;
    return false;
}

/* In the child: the launcher, which is asked to stop when its guard dies. */
static ls_status become_launcher(const sigset_t *before, pid_t guard)
{
    if (prctl(PR_SET_PDEATHSIG, SIGUSR1) != 0 || getppid() != guard ||
        sigprocmask(SIG_SETMASK, before, NULL) != 0)
        return LS_FAIL(LS_FAILED, "the launcher cannot run under its guard: %s", strerror(errno));
    return LS_OK;
}

ls_status guard_launcher(const struct guard_options *options)
{
    sigset_t news;
    sigset_t before;
    pid_t self = getpid();
    int restarts = 0;
    bool stop = false;
    set_of_news(&news);
    if (sigprocmask(SIG_BLOCK, &news, &before) != 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        return LS_FAIL(LS_FAILED, "no guard for the launcher: %s", strerror(errno));
    for (;;) {
        double start_s = clock_now_s();
        pid_t launcher = fork();
        if (launcher < 0)
            return LS_FAIL(LS_FAILED, "no process for the launcher: %s", strerror(errno));
        if (launcher == 0)
            return become_launcher(&before, self);
        int status = wait_for(launcher, &news, &stop);
        if (WIFEXITED(status))
            _exit(WEXITSTATUS(status));
        int number = WTERMSIG(status);
        processes_end_leftovers(options->grace_s);
        if (clock_now_s() - start_s > options->window_s)
            restarts = 0;
        if (stop || stop_is_pending() || restarts >= options->max_restarts) {
            log_warn("launcher_lost signal=%d (%s) restart=no", number, strsignal(number));
            _exit(ENDED_BY_SIGNAL + number);
        }
        restarts++;
        log_warn("launcher_lost signal=%d (%s) restart=%d of=%d pause_s=%d", number,
                 strsignal(number), restarts, options->max_restarts, PAUSE_S);
        clock_sleep_s(PAUSE_S);
    }
}
