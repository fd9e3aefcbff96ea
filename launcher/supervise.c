/* One attempt is one mpirun; the loop around it starts the next one from the newest checkpoint.
 *
 * mpirun's ways, measured with Open MPI 4.1.4: after SIGTERM or SIGINT it kills the ranks; a signal
 * that it is told to forward reaches every rank and mpirun lives on, but SIGUSR1 kills a rank that
 * does not listen yet (mpirun resets what is ignored); its exit code is 0 in 3 of 8 cases after
 * SIGTERM.  So a wish to stop goes as SIGURG, which is ignored by default, and how it ended is read
 * from the workers' end records. */
#include "launcher/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint/checkpoint.h"
#include "core/clock.h"
#include "core/files.h"
#include "core/log.h"
#include "core/run.h"
#include "launcher/processes.h"
#include "launcher/relay.h"

enum { KILL_AFTER_S = 3, RESTART_PAUSE_MAX_S = 60 };

static volatile sig_atomic_t stop_signals;

static void count_stop(int number)
{
    (void)number;
    stop_signals++;
}

static void wake(int number)
{
    (void)number; /* SIGCHLD only ends the wait */
}

static void signals_that_count(sigset_t *out)
{
    (void)sigemptyset(out);
    (void)sigaddset(out, SIGINT);
    (void)sigaddset(out, SIGTERM);
    (void)sigaddset(out, SIGUSR1);
    (void)sigaddset(out, SIGCHLD);
}

ls_status supervise_catch_signals(void)
{
    static const int asking[] = {SIGINT, SIGTERM, SIGUSR1};
    struct sigaction action = {.sa_handler = count_stop};
    struct sigaction child = {.sa_handler = wake};
    (void)sigemptyset(&action.sa_mask);
    (void)sigemptyset(&child.sa_mask);
    for (size_t i = 0; i < sizeof asking / sizeof asking[0]; i++)
        if (sigaction(asking[i], &action, NULL) != 0)
            return LS_FAIL(LS_FAILED, "cannot catch signal %d: %s", asking[i], strerror(errno));
    if (sigaction(SIGCHLD, &child, NULL) != 0)
        return LS_FAIL(LS_FAILED, "cannot catch SIGCHLD: %s", strerror(errno));
    return LS_OK;
}

bool supervise_stop_asked(void)
{
    return stop_signals > 0;
}

/* One mpirun and what is known of it. */
struct attempt {
    const struct supervise_job *job;
    int64_t run_epoch;
    pid_t mpirun;
    int errors; /* our end of its stderr */
    struct relay *relay;
    int told;         /* stop signals that were passed on */
    double told_at;   /* when the last one was */
    double killed_at; /* when it was told to end at once; 0: not */
    bool ended;
    int wait_status;
};

/* Wait for bytes, a signal or `timeout_s`; signals arrive only in here. */
static void wait_for_news(const struct attempt *attempt, double timeout_s)
{
    sigset_t open_mask;
    struct pollfd source = {.fd = attempt->errors, .events = POLLIN};
    struct timespec timeout = {.tv_sec = (time_t)timeout_s};
    timeout.tv_nsec = (long)((timeout_s - (double)timeout.tv_sec) * 1e9);
    sigset_t counted;
    signals_that_count(&counted);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &open_mask);
    (void)sigdelset(&open_mask, SIGINT);
    (void)sigdelset(&open_mask, SIGTERM);
    (void)sigdelset(&open_mask, SIGUSR1);
    (void)sigdelset(&open_mask, SIGCHLD);
    (void)ppoll(&source, 1, &timeout, &open_mask);
}

static void read_errors(struct attempt *attempt)
{
    char bytes[16384];
    for (;;) {
        ssize_t got = read(attempt->errors, bytes, sizeof bytes);
        if (got > 0) {
            relay_take(attempt->relay, bytes, (size_t)got);
            continue;
        }
        if (got == 0) { /* nobody writes any more */
            (void)close(attempt->errors);
            attempt->errors = -1;
        }
        if (got == 0 || errno != EINTR)
            return;
    }
}

static void pass_stop_on(struct attempt *attempt)
{
    double now = clock_now_s();
    int asked = stop_signals;
    if (asked == 0 || attempt->ended)
        return;
    if (asked > 1 && attempt->killed_at == 0) {
        relay_make_room(attempt->relay);
        log_warn("stopping_at_once signals=%d", asked);
        attempt->killed_at = now;
        (void)kill(attempt->mpirun, SIGTERM);
    } else if (attempt->killed_at > 0 && now - attempt->killed_at > KILL_AFTER_S) {
        (void)kill(attempt->mpirun, SIGKILL);
    } else if (attempt->killed_at == 0 && (attempt->told == 0 || now - attempt->told_at >= 1.0)) {
        /* Told again every second: one that comes before the workers listen is lost. */
        if (attempt->told == 0)
            relay_make_room(attempt->relay);
        if (attempt->told == 0)
            log_info("stopping when=end_of_step again=stops_at_once");
        attempt->told = asked;
        attempt->told_at = now;
        (void)kill(attempt->mpirun, RUN_STOP_SIGNAL);
    }
}

static void watch(struct attempt *attempt)
{
    while (!attempt->ended) {
        wait_for_news(attempt, 1.0);
        pass_stop_on(attempt);
        if (attempt->errors >= 0)
            read_errors(attempt);
        int status = 0;
        if (waitpid(attempt->mpirun, &status, WNOHANG) == attempt->mpirun) {
            attempt->ended = true;
            attempt->wait_status = status;
        }
    }
    processes_end_leftovers(KILL_AFTER_S);
    if (attempt->errors >= 0)
        read_errors(attempt);
    relay_finish(attempt->relay);
    relay_make_room(attempt->relay);
}

static ls_status start(struct attempt *attempt)
{
    ls_status st = LS_OK;
    const struct supervise_job *job = attempt->job;
    char *log = NULL;
    struct processes_start how = {.mpirun = job->mpirun,
                                  .worker = job->worker,
                                  .run = run_folder_path(job->folder),
                                  .run_epoch = attempt->run_epoch,
                                  .workers = job->workers,
                                  .threads = job->threads,
                                  .bar = job->bar,
                                  .stop_at = job->stop_at};
    LS_TRY(core_format(&log, "%s/log", how.run));
    LS_TRY(relay_open(&attempt->relay, log, job->bar));
    LS_TRY(processes_start(&attempt->mpirun, &attempt->errors, &how));
    log_info("workers_started run=%s start=%" PRId64 " workers=%d threads=%d", how.run,
             attempt->run_epoch, job->workers, job->threads);
done:
    free(log);
    return st;
}

/* Why an attempt without a telling end record ended. */
static ls_status explain(const struct attempt *attempt)
{
    const struct relay_loss *loss = relay_loss(attempt->relay);
    int status = attempt->wait_status;
    if (attempt->killed_at > 0)
        return LS_FAIL(LS_FAILED, "stopped at once by a second signal; the run goes on from its "
                                  "newest checkpoint when it is started again");
    if (loss->rank >= 0)
        return LS_FAIL(LS_COMM, "rank %d on node %s was ended by signal %d (%s)%s", loss->rank,
                       loss->node, loss->signal, strsignal(loss->signal),
                       loss->signal == SIGKILL ? "; was memory short?" : "");
    if (relay_error(attempt->relay)[0] != '\0')
        return LS_FAIL(LS_FAILED, "a worker failed: %s", relay_error(attempt->relay));
    if (WIFSIGNALED(status))
        return LS_FAIL(LS_COMM, "mpirun was ended by signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    return LS_FAIL(LS_FAILED, "the workers ended without a word (mpirun: code %d)%s%s",
                   WEXITSTATUS(status), relay_notice(attempt->relay)[0] != '\0' ? ": " : "",
                   relay_notice(attempt->relay));
}

static ls_status judge(const struct attempt *attempt)
{
    ls_status st = LS_OK;
    struct run_end *ends = NULL;
    int count = 0;
    LS_TRY(run_ends_read(&ends, &count, run_folder_path(attempt->job->folder), attempt->run_epoch));
    const struct run_end *cause = run_ends_cause(ends, count);
    bool consequence = cause != NULL && (cause->status == LS_COMM || cause->status == LS_TIMEOUT);
    if (cause == NULL || (consequence && relay_loss(attempt->relay)->rank >= 0))
        st = explain(attempt);
    else if (cause->status == LS_STOP)
        log_info("stopped step=%" PRId64 " state=saved next=\"start it again to go on\"",
                 cause->step);
    else if (cause->status == LS_OK)
        log_info("finished step=%" PRId64, cause->step);
    else
        st = LS_FAIL(cause->status, "rank %d: %s", cause->rank, cause->message);
    if (st == LS_OK && cause != NULL && cause->status == LS_STOP)
        st = LS_STOP;
done:
    run_ends_free(&ends, count);
    return st;
}

static ls_status run_once(const struct supervise_job *job)
{
    ls_status st = LS_OK;
    struct attempt attempt = {.job = job, .errors = -1};
    LS_TRY(run_folder_next_epoch(&attempt.run_epoch, job->folder));
    LS_TRY(start(&attempt));
    watch(&attempt);
    LS_TRY(judge(&attempt));
done:
    if (attempt.errors >= 0)
        (void)close(attempt.errors);
    relay_close(&attempt.relay);
    return st;
}

/* Step of the newest checkpoint, -1 when there is none.  Leaves a failure's record alone. */
static int64_t newest_step(const struct supervise_job *job)
{
    struct checkpoint *c = NULL;
    char *latest = NULL;
    int64_t step = -1;
    char message[1024];
    (void)snprintf(message, sizeof message, "%s", status_message());
    if (core_format(&latest, "%s/checkpoints/latest", run_folder_path(job->folder)) == LS_OK &&
        checkpoint_open(&c, latest) == LS_OK)
        step = checkpoint_info(c)->step;
    checkpoint_close(&c);
    free(latest);
    (void)status_adopt(LS_FAILED, message);
    return step;
}

/* A pause that a stop signal ends. */
static void pause_before_restart(int restarts)
{
    double seconds = restarts < 6 ? (double)(1 << restarts) : RESTART_PAUSE_MAX_S;
    const struct attempt nothing = {.errors = -1};
    double until = clock_now_s() + seconds;
    while (!supervise_stop_asked() && clock_now_s() < until)
        wait_for_news(&nothing, until - clock_now_s() < 1.0 ? 0.1 : 1.0);
}

ls_status supervise(const struct supervise_job *job)
{
    sigset_t counted;
    sigset_t before;
    int restarts = 0;
    int64_t step = newest_step(job);
    ls_status st = LS_OK;
    signals_that_count(&counted);
    (void)pthread_sigmask(SIG_BLOCK, &counted, &before);
    /* Ranks whose mpirun was killed become our children, so that none is left behind. */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (;;) {
        if (supervise_stop_asked()) {
            log_info("stopped before=workers_started");
            st = LS_STOP;
            break;
        }
        st = run_once(job);
        if ((st != LS_COMM && st != LS_TIMEOUT) || supervise_stop_asked())
            break;
        int64_t now = newest_step(job);
        restarts = now > step ? 1 : restarts + 1;
        step = now;
        if (restarts > job->max_restarts)
            break;
        log_warn("workers_lost %s restart=%d of=%d", status_message(), restarts, job->max_restarts);
        pause_before_restart(restarts - 1);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return st;
}
