/* The records are written by a thread of their own: the file system may be what hangs. */
#include "core/watchdog.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/flight.h"
#include "core/run.h"

enum { LINE_BYTES = 256, RECORDS_S = 5 };

static const double LOOK_S = 0.1;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *phase_name = "start";
static int64_t phase_step;
static double phase_limit_s, phase_until_s; /* limit 0: none */
static const char *run_folder;
static int64_t epoch;
static int own_rank;
static char message[LINE_BYTES];
static atomic_bool written;

static void *write_records(void *nothing)
{
    struct run_end end = {
        .rank = own_rank, .step = phase_step, .status = LS_TIMEOUT, .message = message};
    (void)nothing;
    if (flight_write() != LS_OK)
        status_clear(); /* the end record matters more */
    if (run_end_write(run_folder, epoch, &end) != LS_OK)
        status_clear(); /* the line on stderr has said it */
    atomic_store(&written, true);
    return NULL;
}

static _Noreturn void end_process(void)
{
    char line[LINE_BYTES * 2];
    pthread_t writer;
    int bytes = snprintf(line, sizeof line, "level=error rank=%d watchdog %s\n", own_rank, message);
    ssize_t told = write(STDERR_FILENO, line, (size_t)bytes);
    (void)told; /* nobody is left to tell */
    if (pthread_create(&writer, NULL, write_records, NULL) == 0)
        for (double until = clock_now_s() + RECORDS_S;
             !atomic_load(&written) && clock_now_s() < until;)
            clock_sleep_s(LOOK_S);
    _exit(status_exit_code(LS_TIMEOUT));
}

static void *watch(void *nothing)
{
    (void)nothing;
    for (;;) {
        clock_sleep_s(LOOK_S);
        (void)pthread_mutex_lock(&lock);
        if (phase_limit_s > 0 && clock_now_s() > phase_until_s) {
            (void)snprintf(message, sizeof message,
                           "%s at step %" PRId64 " did not end within %g s: this rank hangs",
                           phase_name, phase_step, phase_limit_s);
            end_process();
        }
        (void)pthread_mutex_unlock(&lock);
    }
    return NULL;
}

ls_status watchdog_open(const char *run, int64_t run_epoch, int rank)
{
    pthread_t thread;
    run_folder = run;
    epoch = run_epoch;
    own_rank = rank;
    flight_open(run, run_epoch, rank);
    int code = pthread_create(&thread, NULL, watch, NULL);
    if (code != 0)
        return LS_FAIL(LS_FAILED, "cannot start the watchdog: %s", strerror(code));
    (void)pthread_detach(thread);
    return LS_OK;
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
