/* Fork, exec, wait. */
#include "launcher/one_worker.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/files.h"
#include "core/run.h"
#include "launcher/processes.h"
#include "launcher/stop_signals.h"

enum { EPOCH = 1 };

/* Until the child has ended.  Signals are let in only while nothing is looked at. */
static ls_status wait_for(int *status, pid_t child)
{
    sigset_t open;
    bool passed_on = false;
    stop_signals_open_mask(&open);
    for (;;) {
        const pid_t ended = waitpid(child, status, WNOHANG);
        if (ended == child)
            return LS_OK;
        if (ended < 0)
            return LS_FAIL(LS_FAILED, "cannot wait for the worker: %s", strerror(errno));
        if (stop_asked() && !passed_on)
            passed_on = kill(child, SIGTERM) == 0;
        (void)ppoll(NULL, 0, NULL, &open);
    }
}

/* What it says of itself, or else what can be seen from outside. */
static ls_status judge(const char *folder, int status)
{
    ls_status st = LS_OK;
    struct run_end *ends = NULL;
    int count = 0;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    LS_TRY(run_ends_read(&ends, &count, folder, EPOCH));
    const struct run_end *cause = run_ends_cause(ends, count);
    /* It may have been asked before it could listen. */
    const bool killed_by_us = stop_asked() && WIFSIGNALED(status) && cause == NULL;
    if (killed_by_us || (cause != NULL && cause->status == LS_STOP))
        st = LS_FAIL(LS_STOP, "stopped");
    else if (cause != NULL && cause->status != LS_OK && cause->message != NULL)
        st = status_adopt(cause->status, cause->message);
    else if (code < 0)
        st = LS_FAIL(LS_FAILED, "the worker ended by signal %d", WTERMSIG(status));
    else if (code > 0)
        st = LS_FAIL(status_of_exit_code(code), "the worker ended with exit code %d", code);
done:
    run_ends_free(&ends, count);
    return st;
}

ls_status one_worker_run(const char *folder, const char *const *words)
{
    ls_status st = LS_OK;
    char *worker = NULL;
    int status = 0;
    sigset_t before;
    const char *all[ONE_WORKER_WORDS_MOST + 5] = {NULL, folder, "--run-epoch", "1"};
    LS_TRY(processes_find_worker(&worker));
    all[0] = worker;
    for (int i = 0; i < ONE_WORKER_WORDS_MOST && words[i] != NULL; i++)
        all[i + 4] = words[i];
    (void)fflush(stdout);
    stop_signals_hold(&before);
    const pid_t child = fork();
    if (child == 0) {
        (void)sigprocmask(SIG_SETMASK, &before, NULL);
        (void)execv(worker, (char *const *)all);
        _exit(127);
    }
    if (child < 0)
        st = LS_FAIL(LS_FAILED, "cannot start %s: %s", worker, strerror(errno));
    else
        st = wait_for(&status, child);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    LS_TRY(st);
    LS_TRY(judge(folder, status));
done:
    free(worker);
    return st;
}

ls_status one_worker_folder_make(char **out, const char *output)
{
    ls_status st = LS_OK;
    char *folder = NULL;
    LS_TRY(stop_signals_catch());
    LS_TRY(core_format(&folder, "%s.work-%ld", output, (long)getpid()));
    LS_TRY(files_make_folder(folder));
    *out = folder;
    folder = NULL;
done:
    free(folder);
    return st;
}

ls_status one_worker_folder_remove(const char *folder, ls_status st)
{
    char message[512];
    (void)snprintf(message, sizeof message, "%s", status_message());
    const ls_status removed = files_remove(folder);
    return st != LS_OK ? status_adopt(st, message) : removed;
}
