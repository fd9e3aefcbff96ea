/* Handlers only count.  The counters are among the few mutable statics: a signal handler can reach
 * nothing else. */
#include "launcher/stop_signals.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t asked;
static volatile sig_atomic_t hurries;
static bool in_slurm_job;

static const int asking[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
enum { ASKING = sizeof asking / sizeof asking[0] };

static void count_stop(int number)
{
    asked = 1;
    if (number == SIGINT || (number == SIGTERM && !in_slurm_job))
        hurries++;
}

static void wake(int number)
{
    (void)number; /* SIGCHLD only ends the wait */
}

ls_status stop_signals_catch(void)
{
    struct sigaction action = {.sa_handler = count_stop};
    struct sigaction child = {.sa_handler = wake};
    (void)sigemptyset(&action.sa_mask);
    (void)sigemptyset(&child.sa_mask);
    in_slurm_job = getenv("SLURM_JOB_ID") != NULL;
    for (int i = 0; i < ASKING; i++)
        if (sigaction(asking[i], &action, NULL) != 0)
            return LS_FAIL(LS_FAILED, "cannot catch signal %d: %s", asking[i], strerror(errno));
    if (sigaction(SIGCHLD, &child, NULL) != 0)
        return LS_FAIL(LS_FAILED, "cannot catch SIGCHLD: %s", strerror(errno));
    return LS_OK;
}

bool stop_asked(void)
{
    return asked != 0;
}

bool stop_hurried(void)
{
    return hurries > 1;
}

void stop_signals_hold(sigset_t *before)
{
    sigset_t held;
    (void)sigemptyset(&held);
    for (int i = 0; i < ASKING; i++)
        (void)sigaddset(&held, asking[i]);
    (void)sigaddset(&held, SIGCHLD);
    (void)pthread_sigmask(SIG_BLOCK, &held, before);
}

void stop_signals_open_mask(sigset_t *out)
{
    (void)pthread_sigmask(SIG_BLOCK, NULL, out);
    for (int i = 0; i < ASKING; i++)
        (void)sigdelset(out, asking[i]);
    (void)sigdelset(out, SIGCHLD);
}
