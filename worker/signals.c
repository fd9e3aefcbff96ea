/* The stop flag is one of the few mutable statics: a signal handler can reach nothing else. */
#include "worker/signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "core/run.h"

static volatile sig_atomic_t stop_asked;
static volatile sig_atomic_t interrupts;

static void take_note(int signal_number)
{
    stop_asked = 1;
    if (signal_number == SIGINT && ++interrupts > 1)
        _exit(75); /* the user's second Ctrl-C: the last checkpoint is what remains */
}

ls_status worker_signals_open(void)
{
    static const int caught[] = {SIGTERM, SIGINT, SIGUSR1, RUN_STOP_SIGNAL};
    struct sigaction action = {.sa_handler = take_note, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
        if (sigaction(caught[i], &action, NULL) != 0)
            return LS_FAIL(LS_FAILED, "cannot catch signal %d: %s", caught[i], strerror(errno));
    return LS_OK;
}

bool worker_stop_asked(void)
{
    return stop_asked != 0;
}
