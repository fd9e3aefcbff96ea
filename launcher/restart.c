/* The loop around supervise(), and what a SLURM job does when it has to end before the run does. */
#include "launcher/restart.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/files.h"
#include "core/log.h"
#include "launcher/ask.h"
#include "launcher/progress.h"
#include "launcher/queue.h"
#include "launcher/restart_policy.h"
#include "launcher/segments.h"
#include "launcher/stop_signals.h"

static void open_file(const struct restart_job *job, const char *run)
{
    struct job_file *file = job->start.file;
    struct job_file before;
    (void)job_file_read(&before, run);
    memset(file, 0, sizeof *file);
    /* A cancelled run that is started again is meant to run; unless it was SLURM that put the job
     * back, because it took the nodes while the job was on its way out. */
    const struct allocation *a = job->start.allocation;
    if (a->job == NULL || a->restart == 0 || strcmp(before.job, a->job) != 0)
        job_file_forget_cancel(run);
    if (gethostname(file->host, sizeof file->host - 1) != 0)
        (void)snprintf(file->host, sizeof file->host, "unknown");
    file->pid = getpid();
    file->workers_asked = job->workers;
    file->save_s = before.save_s;
    file->requeues = before.requeues;
    file->requeued_at_step = before.requeued_at_step;
    if (job->start.allocation->job != NULL) {
        (void)snprintf(file->job, sizeof file->job, "%s", job->start.allocation->job);
        (void)snprintf(file->chain, sizeof file->chain, "%s", before.chain);
    }
}

/* Hosts that SLURM has taken from the job since the last start. */
static ls_status look_for_gone(const struct restart_job *job, struct restart_policy *policy)
{
    ls_status st = LS_OK;
    const struct allocation *allocation = job->start.allocation;
    bool *gone = NULL;
    LS_TRY(core_alloc(&gone, allocation->host_count + 1));
    allocation_ask_gone(gone, allocation);
    for (int i = 0; i < allocation->host_count; i++)
        if (gone[i])
            restart_policy_gone(policy, i);
done:
    free(gone);
    return st;
}

/* One start, on the hosts that the policy chooses. */
static ls_status start_once(struct restart_job *job, struct restart_policy *policy,
                            struct supervise_loss *loss)
{
    ls_status st = LS_OK;
    struct supervise_job *start = &job->start;
    int64_t run_epoch = 0;
    start->workers = restart_policy_choose(policy, &start->left_out);
    for (int i = 0; start->left_out != NULL && i < start->allocation->host_count; i++)
        if (start->left_out[i])
            log_warn("node_left_out node=%s reason=failed_twice_or_gone workers=%d of=%d",
                     start->allocation->hosts[i].name, start->workers, job->workers);
    LS_TRY(run_folder_next_epoch(&run_epoch, start->folder));
    start->file->run_epoch = run_epoch;
    start->file->workers = start->workers;
    LS_TRY(supervise(loss, start, run_epoch));
done:
    return st;
}

/* Start after start; `*loss` is the last one's. */
static ls_status run_starts(struct restart_job *job, struct restart_policy *policy,
                            struct supervise_loss *loss)
{
    const char *run = run_folder_path(job->start.folder);
    int64_t saved = progress_saved_step(run);
    char last_lost[sizeof loss->node] = "";
    for (;;) {
        double pause = 0;
        if (stop_asked() || job_file_cancelled(run)) {
            log_info("stopped before=workers_started%s", stop_asked() ? "" : " reason=cancelled");
            loss->curable = false;
            return LS_STOP;
        }
        ls_status st = start_once(job, policy, loss);
        if (st == LS_OK || st == LS_STOP || !loss->curable)
            return st;
        int64_t now = progress_saved_step(run);
        /* A start in which nobody came up after a node was lost: that node is still lost. */
        if (loss->node[0] != '\0' || loss->came_up)
            (void)snprintf(last_lost, sizeof last_lost, "%s", loss->node);
        bool again = restart_policy_failed(policy, &pause, clock_now_s(), last_lost, now > saved);
        saved = now;
        if (!again)
            return st;
        job->start.file->restarts++;
        (void)snprintf(job->start.file->loss, sizeof job->start.file->loss, "%s", status_message());
        log_warn("workers_lost %s restart=%d of=%d pause_s=%.0f", status_message(),
                 restart_policy_used(policy), job->max_restarts, pause);
        job_file_write(run, job->start.file, "restarting", status_message());
        supervise_pause(pause);
        if (look_for_gone(job, policy) != LS_OK)
            return LS_NOMEM;
    }
}

/* Whether the job's end is ours to decide: it still runs, or its time is over.  Else somebody has
 * cancelled it, or SLURM has put it back itself. */
static bool leaves_it_to_us(const struct restart_job *job)
{
    struct queue_job queue;
    if (queue_read(&queue, job->start.file->job) != LS_OK) {
        log_warn("slurm cannot_be_asked reason=\"%s\"", status_message());
        status_clear();
        return true;
    }
    bool over = job->time_is_over_s > 0 && clock_now_s() > job->time_is_over_s;
    if (strcmp(queue.state, "RUNNING") == 0 || over)
        return true;
    log_info("not_requeued job=%s reason=\"SLURM ends it itself: %s\"", job->start.file->job,
             queue.state);
    return false;
}

/* Whether the job goes back into SLURM's queue: it was asked to stop (its time is over, or another
 * job needs the nodes), or its nodes fail it.  The latter not for ever: only max_restarts times in
 * a row without a new checkpoint. */
static bool wants_requeue(const struct restart_job *job, ls_status st, bool curable)
{
    const char *run = run_folder_path(job->start.folder);
    struct job_file *file = job->start.file;
    if (!job->requeue || file->job[0] == '\0' || job_file_cancelled(run) || stop_hurried())
        return false;
    /* A preempted job's workers get SIGTERM and its launcher does not. */
    bool at_goal = job->start.stop_at > 0 && progress_saved_step(run) >= job->start.stop_at;
    if (st == LS_STOP)
        return !at_goal && leaves_it_to_us(job);
    if (st == LS_OK || !curable)
        return false;
    int64_t saved = progress_saved_step(run);
    file->requeues = saved > file->requeued_at_step ? 1 : file->requeues + 1;
    file->requeued_at_step = saved;
    return file->requeues <= job->max_restarts;
}

/* SLURM ends this process soon after it has agreed. */
static ls_status put_back(const struct restart_job *job, ls_status st)
{
    char *said = NULL;
    struct job_file *file = job->start.file;
    const char *run = run_folder_path(job->start.folder);
    char cause[sizeof file->message];
    (void)snprintf(cause, sizeof cause, "%s", status_message());
    const char *const words[] = {"scontrol", "requeue", file->job, NULL};
    job_file_write(run, file, "requeued", cause);
    if (ask(&said, words) != LS_OK) {
        log_warn("not_requeued job=%s reason=\"%s\" next=\"submit it again to go on\"", file->job,
                 status_message());
        return status_adopt(st, cause);
    }
    free(said);
    log_info("requeued job=%s", file->job);
    status_clear();
    return LS_STOP;
}

ls_status restart_until_done(struct restart_job *job)
{
    ls_status st = LS_OK;
    struct restart_policy *policy = NULL;
    struct supervise_loss loss = {0};
    sigset_t before;
    const char *run = run_folder_path(job->start.folder);
    stop_signals_hold(&before);
    /* Ranks whose mpirun was killed become our children, so that none is left behind. */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    segments_remove(run);
    open_file(job, run);
    LS_TRY(restart_policy_open(&policy, job->max_restarts, job->restart_window_s, job->workers,
                               job->workers_least, job->start.allocation));
    st = run_starts(job, policy, &loss);
    if (wants_requeue(job, st, loss.curable))
        st = put_back(job, st);
    else
        job_file_write(run, job->start.file,
                       st == LS_OK     ? "finished"
                       : st == LS_STOP ? "stopped"
                                       : "failed",
                       st == LS_OK || st == LS_STOP ? "" : status_message());
done:
    restart_policy_close(&policy);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return st;
}
