/* The records are written by a thread of their own: the file system may be what hangs. */
#include "core/watchdog.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/flight.h"
#include "core/log.h"
#include "core/run.h"

enum { LINE_BYTES = 256, RECORDS_S = 5 };

static const double LOOK_S = 0.1;
static const double PAUSE_S = 2; /* between two looks: the process did not run */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *phase_name = "start";
static int64_t phase_step;
static double phase_limit_s, phase_until_s; /* limit 0: none */
static struct watchdog_options how;
static char message[LINE_BYTES];
static bool closing; /* nothing is lost any more */
static atomic_bool written;

static void *write_records(void *nothing)
{
    struct run_end end = {
        .rank = how.rank, .step = phase_step, .status = LS_TIMEOUT, .message = message};
    (void)nothing;
    if (closing) {
        log_warn("watchdog %s; all of its work is done", message);
        atomic_store(&written, true);
        return NULL;
    }
    log_error("watchdog %s", message);
    if (flight_write() != LS_OK)
        status_clear(); /* the end record matters more */
    if (run_end_write(how.run, how.run_epoch, &end) != LS_OK)
        status_clear(); /* the log has said it */
    atomic_store(&written, true);
    return NULL;
}

static _Noreturn void end_process(void)
{
    pthread_t writer;
    if (pthread_create(&writer, NULL, write_records, NULL) == 0) {
        (void)pthread_detach(writer);
        for (double until = clock_now_s() + RECORDS_S;
             !atomic_load(&written) && clock_now_s() < until;)
            clock_sleep_s(LOOK_S);
    }
    _exit(closing ? 0 : status_exit_code(LS_TIMEOUT));
}

/* A pipe that nobody empties must not stop this thread: a beat less than PIPE_BUF long goes in
 * whole, or is left out. */
static void beat(void)
{
    char line[FLIGHT_BEAT_BYTES];
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    size_t bytes = flight_beat(line);
    if (poll(&out, 1, 0) != 1 || (out.revents & POLLOUT) == 0)
        return;
    ssize_t told = write(STDERR_FILENO, line, bytes);
    (void)told; /* the next one may come through */
}

static void *watch(void *nothing)
{
    double looked_s = clock_now_s();
    double beat_s = 0;
    (void)nothing;
    for (;;) {
        clock_sleep_s(LOOK_S);
        double now_s = clock_now_s();
        if (now_s - looked_s > PAUSE_S)
            flight_stood_still(now_s - looked_s);
        looked_s = now_s;
        (void)pthread_mutex_lock(&lock);
        if (phase_limit_s > 0 && now_s > phase_until_s) {
            (void)snprintf(message, sizeof message,
                           "%s at step %" PRId64 " did not end within %g s: this rank hangs",
                           phase_name, phase_step, phase_limit_s);
            end_process();
        }
        double wanted_s = how.beat_s;
        (void)pthread_mutex_unlock(&lock);
        if (wanted_s > 0 && now_s - beat_s >= wanted_s) {
            beat();
            beat_s = now_s;
        }
    }
    return NULL;
}

ls_status watchdog_open(const struct watchdog_options *options)
{
    pthread_t thread;
    sigset_t all;
    sigset_t before;
    how = *options;
    flight_open(how.run, how.run_epoch, how.rank);
    /* Signals are for the main thread, and a pipe that nobody reads any more is no reason to die.
     */
    (void)sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return LS_FAIL(LS_FAILED, "cannot block signals");
    int code = pthread_create(&thread, NULL, watch, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0)
        return LS_FAIL(LS_FAILED, "cannot start the watchdog: %s", strerror(code));
    (void)pthread_detach(thread);
    return LS_OK;
}

void watchdog_rank(int rank)
{
    (void)pthread_mutex_lock(&lock);
    how.rank = rank;
    flight_open(how.run, how.run_epoch, rank);
    (void)pthread_mutex_unlock(&lock);
}

void watchdog_phase(const char *phase, int64_t step, double seconds)
{
    flight_phase(phase, step);
    (void)pthread_mutex_lock(&lock);
    phase_name = phase;
    phase_step = step;
    phase_limit_s = seconds > 0 ? seconds : 0;
    phase_until_s = clock_now_s() + phase_limit_s;
    (void)pthread_mutex_unlock(&lock);
}

void watchdog_closing(int64_t step, double seconds)
{
    (void)pthread_mutex_lock(&lock);
    closing = true;
    (void)pthread_mutex_unlock(&lock);
    watchdog_phase("end", step, seconds);
}
