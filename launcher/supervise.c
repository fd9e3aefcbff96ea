/* mpirun's ways, measured with Open MPI 4.1.4: after SIGTERM or SIGINT it kills the ranks; a signal
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
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/files.h"
#include "core/log.h"
#include "core/run.h"
#include "launcher/liveness.h"
#include "launcher/processes.h"
#include "launcher/progress.h"
#include "launcher/relay.h"
#include "launcher/segments.h"
#include "launcher/stop_signals.h"

enum { KILL_AFTER_S = 3, LOST_KILL_AFTER_S = 10, LOST_A_DAEMON = 205, ENDED_BY_SIGNAL = 128 };

/* One mpirun and what is known of it. */
struct attempt {
    const struct supervise_job *job;
    int64_t run_epoch;
    pid_t mpirun;
    int errors; /* our end of its stderr */
    struct relay *relay;
    struct liveness *liveness;
    bool warned;      /* that saves are too slow for SLURM's warning */
    bool told;        /* the wish to stop was passed on */
    double told_at;   /* when the last one was */
    double killed_at; /* when it was told to end at once; 0: not */
    double lost_at;   /* when workers were too silent; 0: not */
    bool ended;
    bool rollback;     /* the workers said that the next start can do better */
    char unsound[128]; /* the node that they do not trust; "": none */
    int wait_status;
};

/* Wait for bytes, a signal or `timeout_s`; signals arrive only in here. */
static void wait_for_news(int errors, double timeout_s)
{
    sigset_t open_mask;
    struct pollfd source = {.fd = errors, .events = POLLIN};
    struct timespec timeout = {.tv_sec = (time_t)timeout_s};
    timeout.tv_nsec = (long)((timeout_s - (double)timeout.tv_sec) * 1e9);
    stop_signals_open_mask(&open_mask);
    (void)ppoll(&source, 1, &timeout, &open_mask);
}

void supervise_pause(double seconds)
{
    double until = clock_now_s() + seconds;
    while (!stop_asked() && clock_now_s() < until)
        wait_for_news(-1, until - clock_now_s() < 1.0 ? 0.1 : 1.0);
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
    if (!stop_asked() || attempt->ended)
        return;
    if (stop_hurried() && attempt->killed_at == 0) {
        relay_make_room(attempt->relay);
        log_warn("stopping_at_once reason=second_signal");
        attempt->killed_at = now;
        (void)kill(attempt->mpirun, SIGINT);
    } else if (attempt->killed_at > 0 && now - attempt->killed_at > KILL_AFTER_S) {
        (void)kill(attempt->mpirun, SIGKILL);
    } else if (attempt->killed_at == 0 && (!attempt->told || now - attempt->told_at >= 1.0)) {
        /* Told again every second: one that comes before the workers listen is lost. */
        if (!attempt->told) {
            relay_make_room(attempt->relay);
            log_info("stopping when=end_of_step");
            job_file_write(run_folder_path(attempt->job->folder), attempt->job->file, "stopping",
                           "");
        }
        attempt->told = true;
        attempt->told_at = now;
        (void)kill(attempt->mpirun, starter_stop_signal(attempt->job->starter));
    }
}

/* A save that has been measured: whether one fits between SLURM's warning and the job's end, told
 * while there is time to change it. */
static void note_save(struct attempt *attempt)
{
    const struct supervise_job *job = attempt->job;
    const char *run = run_folder_path(job->folder);
    double save_s = relay_save_s(attempt->relay);
    double before = job->file->save_s;
    struct progress progress;
    if (save_s == 0 || save_s == before)
        return;
    job->file->save_s = save_s;
    job_file_write(run, job->file, job->file->state, "");
    double step_s = progress_read(&progress, run) && progress.step_s > 0 ? progress.step_s : 0;
    if (!attempt->warned && job->warning_s > 0 && step_s + save_s > job->warning_s) {
        attempt->warned = true;
        relay_make_room(attempt->relay);
        log_warn("warning_too_short seconds=%.0f step_s=%.1f save_s=%.1f: SLURM may end the job "
                 "before its state is saved; raise the seconds of slurm.signal",
                 job->warning_s, step_s, save_s);
    }
}

/* Workers that are silent for too long: all are ended, by mpirun while it still can. */
static void look_for_life(struct attempt *attempt)
{
    double now = clock_now_s();
    if (attempt->ended)
        return;
    if (liveness_lost(attempt->liveness)) {
        attempt->lost_at = now;
        (void)kill(attempt->mpirun, SIGINT);
    } else if (attempt->lost_at > 0 && now - attempt->lost_at > LOST_KILL_AFTER_S) {
        (void)kill(attempt->mpirun, SIGKILL);
    }
}

static void watch(struct attempt *attempt)
{
    while (!attempt->ended) {
        wait_for_news(attempt->errors, 1.0);
        pass_stop_on(attempt);
        if (attempt->errors >= 0)
            read_errors(attempt);
        look_for_life(attempt);
        note_save(attempt);
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
    const char *run = run_folder_path(job->folder);
    char *log = NULL;
    char *note = NULL;
    char **words = NULL;
    struct starter_job how = {.run = run,
                              .run_epoch = attempt->run_epoch,
                              .workers = job->workers,
                              .bar = job->bar,
                              .stop_at = job->stop_at,
                              .profile = job->profile,
                              .allocation = job->allocation,
                              .left_out = job->left_out};
    LS_TRY(
        liveness_open(&attempt->liveness, &(struct liveness_options){.workers = job->workers,
                                                                     .start_s = job->start_s,
                                                                     .silence_s = job->silence_s}));
    LS_TRY(segments_note(&note, run));
    how.note = note;
    how.beat_s = liveness_beat_s(attempt->liveness);
    LS_TRY(starter_words(&words, job->starter, &how));
    LS_TRY(core_format(&log, "%s/log", run));
    LS_TRY(relay_open(&attempt->relay, log, job->bar));
    relay_beats_to(attempt->relay, attempt->liveness);
    struct processes_start process = {
        .words = words, .threads = job->threads, .stop_signal = starter_stop_signal(job->starter)};
    LS_TRY(processes_start(&attempt->mpirun, &attempt->errors, &process));
    log_info("workers_started run=%s start=%" PRId64 " workers=%d threads=%d by=%s", run,
             attempt->run_epoch, job->workers, job->threads,
             job->starter->srun ? "srun" : "mpirun");
done:
    starter_words_free(&words);
    free(log);
    free(note);
    return st;
}

/* mpirun says much; the rest is in RUN/log. */
static void first_sentence(char *out, size_t bytes, const char *text)
{
    const char *end = strstr(text, ". ");
    size_t length = end != NULL ? (size_t)(end - text) : strlen(text);
    (void)snprintf(out, bytes, "%.*s", (int)length, text);
}

/* Why an attempt without a telling end record ended.  What the machines may be to blame for is
 * LS_COMM: another start can help. */
static ls_status explain(const struct attempt *attempt)
{
    const struct relay_loss *loss = relay_loss(attempt->relay);
    const char *name = attempt->job->starter->srun ? "srun" : "mpirun";
    char notice[256];
    int status = attempt->wait_status;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    first_sentence(notice, sizeof notice, relay_notice(attempt->relay));
    if (attempt->killed_at > 0)
        return LS_FAIL(LS_FAILED, "stopped at once by a second signal; the run goes on from its "
                                  "newest checkpoint when it is started again");
    if (attempt->lost_at > 0)
        return liveness_failure(attempt->liveness);
    if (loss->rank >= 0)
        return LS_FAIL(LS_COMM, "rank %d on node %s was ended by signal %d (%s)%s", loss->rank,
                       loss->node, loss->signal, strsignal(loss->signal),
                       loss->signal == SIGKILL ? "; was memory short?" : "");
    if (loss->node[0] != '\0')
        return LS_FAIL(LS_COMM, "node %s was lost: it crashed, or its network did", loss->node);
    /* The record could not be written (a full disk, a file system that hangs): its exit code came
     * through. */
    ls_status told = status_of_exit_code(code);
    if (relay_error(attempt->relay)[0] != '\0')
        return LS_FAIL(told, "a worker failed: %s", relay_error(attempt->relay));
    if (WIFSIGNALED(status))
        return LS_FAIL(LS_COMM, "%s was ended by signal %d (%s)", name, WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    bool lost = code == LOST_A_DAEMON || code > ENDED_BY_SIGNAL || strstr(notice, "daemon") != NULL;
    return LS_FAIL(lost ? LS_COMM : told, "the workers ended without a word (%s: code %d)%s%s",
                   name, code, notice[0] != '\0' ? ": " : "", notice);
}

/* Who did not arrive, as far as flight records and beats tell. */
static void tell_missing(const struct attempt *attempt)
{
    char line[LIVENESS_TEXT_BYTES];
    liveness_explain(attempt->liveness, line, sizeof line, run_folder_path(attempt->job->folder),
                     attempt->run_epoch);
    if (line[0] != '\0')
        log_warn("did_not_arrive %s", line);
}

static bool lost_each_other(ls_status st)
{
    return st == LS_COMM || st == LS_TIMEOUT;
}

/* Workers that mpirun woke to end them, and that had so little left that they were done first. */
static void tell_finish(const struct attempt *attempt, int64_t step)
{
    if (attempt->lost_at > 0 && liveness_failure(attempt->liveness) != LS_OK) {
        log_warn("finished_after_silence %s", status_message());
        status_clear();
    }
    log_info("finished step=%" PRId64, step);
}

/* Reads the end records.  `*out_step`: finished steps at the failure that they tell of, -1: none.
 */
static ls_status judge(struct attempt *attempt, int64_t *out_step)
{
    ls_status st = LS_OK;
    struct run_end *ends = NULL;
    int count = 0;
    LS_TRY(run_ends_read(&ends, &count, run_folder_path(attempt->job->folder), attempt->run_epoch));
    const struct run_end *cause = run_ends_cause(ends, count);
    bool consequence = cause != NULL && lost_each_other(cause->status);
    bool lost = relay_loss(attempt->relay)->node[0] != '\0' || attempt->lost_at > 0;
    /* mpirun wakes the workers that it ends: they may even save and stop. */
    bool woken = attempt->lost_at > 0 && cause != NULL && cause->status == LS_STOP;
    *out_step = cause != NULL ? cause->step : -1;
    attempt->rollback = cause != NULL && cause->rollback;
    if (cause != NULL && cause->node != NULL)
        (void)snprintf(attempt->unsound, sizeof attempt->unsound, "%s", cause->node);
    if (cause == NULL || (consequence && lost) || (woken && !attempt->told))
        st = explain(attempt);
    else if (cause->status == LS_STOP)
        log_info("stopped step=%" PRId64 " state=saved next=\"start it again to go on\"",
                 cause->step);
    else if (cause->status == LS_OK)
        tell_finish(attempt, cause->step);
    else
        st = LS_FAIL(cause->status, "rank %d: %s", cause->rank, cause->message);
    if (st == LS_OK && cause != NULL && cause->status == LS_STOP)
        st = LS_STOP;
done:
    if (lost_each_other(st))
        tell_missing(attempt);
    run_ends_free(&ends, count);
    return st;
}

/* A stop that was asked for and then lost its workers is still a stop: whoever starts the run again
 * shall, and it has its newest checkpoint. */
static ls_status forgive(const struct attempt *attempt, ls_status st)
{
    if (!stop_asked() || attempt->killed_at > 0 || !lost_each_other(st))
        return st;
    log_warn("stopped_without_saving %s; the run goes on from its newest checkpoint when it is "
             "started again",
             status_message());
    status_clear();
    return LS_STOP;
}

ls_status supervise(struct supervise_loss *out, const struct supervise_job *job, int64_t run_epoch)
{
    ls_status st = LS_OK;
    struct attempt attempt = {.job = job, .errors = -1, .run_epoch = run_epoch};
    const char *run = run_folder_path(job->folder);
    int64_t saved = progress_saved_step(run);
    int64_t step = -1;
    memset(out, 0, sizeof *out);
    LS_TRY(start(&attempt));
    job_file_write(run, job->file, "running", "");
    watch(&attempt);
    segments_remove(run);
    out->came_up = relay_heard(attempt.relay);
    const char *node = relay_loss(attempt.relay)->node;
    /* What mpirun says while it is being ended is no finding. */
    if (attempt.lost_at > 0)
        node = liveness_lost_node(attempt.liveness);
    if (attempt.killed_at == 0)
        (void)snprintf(out->node, sizeof out->node, "%s", node);
    st = judge(&attempt, &step);
    if (attempt.unsound[0] != '\0')
        (void)snprintf(out->node, sizeof out->node, "%s", attempt.unsound);
    out->curable = attempt.rollback || lost_each_other(st) ||
                   ((st == LS_DEVICE || st == LS_IO) && step > 0 && step > saved);
    LS_TRY(forgive(&attempt, st));
done:
    if (attempt.errors >= 0)
        (void)close(attempt.errors);
    relay_close(&attempt.relay);
    liveness_close(&attempt.liveness);
    return st;
}
