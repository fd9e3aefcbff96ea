/* The environment of mpirun or srun, and the end of stray processes. */
#include "launcher/processes.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/files.h"

static ls_status search_path(char **out, const char *name)
{
    const char *paths = getenv("PATH");
    *out = NULL;
    for (const char *from = paths; from != NULL && *from != '\0';) {
        size_t length = strcspn(from, ":");
        char *path = NULL;
        ls_status st = core_format(&path, "%.*s/%s", (int)length, from, name);
        if (st != LS_OK)
            return st;
        if (length > 0 && access(path, X_OK) == 0 && !files_is_folder(path)) {
            *out = path;
            return LS_OK;
        }
        free(path);
        from += length;
        from += *from == ':';
    }
    return LS_OK;
}

ls_status processes_find(char **out, const char *name, const char *advice)
{
    ls_status st = search_path(out, name);
    if (st == LS_OK && *out == NULL)
        st = LS_FAIL(LS_USAGE, "%s is not installed, or not on PATH: %s", name, advice);
    return st;
}

ls_status processes_find_self(char **out)
{
    char *self = realpath("/proc/self/exe", NULL);
    if (self == NULL || strrchr(self, '/') == NULL) {
        free(self);
        return LS_FAIL(LS_FAILED, "cannot tell where this program is: %s", strerror(errno));
    }
    *out = self;
    return LS_OK;
}

ls_status processes_find_worker(char **out)
{
    ls_status st = LS_OK;
    char *self = NULL;
    char *path = NULL;
    const char *given = getenv("LOCKSTEP_WORKER");
    if (given != NULL && given[0] != '\0') {
        LS_TRY(core_format(&path, "%s", given));
    } else {
        LS_TRY(processes_find_self(&self));
        LS_TRY(core_format(&path, "%.*s/lockstep-worker", (int)(strrchr(self, '/') - self), self));
    }
    if (access(path, X_OK) != 0) {
        st = LS_FAIL(LS_USAGE, "%s: %s; `make` builds it, LOCKSTEP_WORKER names another place",
                     path, strerror(errno));
        goto done;
    }
    *out = path;
    path = NULL;
done:
    free(self);
    free(path);
    return st;
}

int processes_cores(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 0 ? count : 1;
}

static void set(const char *name, const char *value, bool replace)
{
    if (setenv(name, value, replace) != 0)
        _exit(127);
}

/* In the child.  What the user has set already stays, but for the thread count, which the launcher
 * has worked out from the user's wishes. */
static void set_environment(int thread_count)
{
    char threads[16];
    char *ssh = NULL;
    char *rsh = NULL;
    (void)snprintf(threads, sizeof threads, "%d", thread_count);
    set("OMP_NUM_THREADS", threads, true);
    set("OMP_WAIT_POLICY", "passive", false); /* threads that spin ruin shared cores */
    set("OMPI_ALLOW_RUN_AS_ROOT", "1", false);
    set("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", false);
    set("OMPI_MCA_mpi_yield_when_idle", "1", false);
    /* A step that was lost with its node may count as running for long; the next one must not wait
     * for its cores.  For srun, which also starts mpirun's daemons. */
    set("SLURM_OVERLAP", "1", false);
    /* mpirun refuses to start without a remote shell, which one machine does not need. */
    if (search_path(&ssh, "ssh") == LS_OK && search_path(&rsh, "rsh") == LS_OK && ssh == NULL &&
        rsh == NULL)
        set("OMPI_MCA_plm_rsh_agent", "true", false);
    free(ssh);
    free(rsh);
}

/* In the child, after fork: everything that can be done there fails by _exit.  SIGTERM stays held
 * back: within a SLURM job it comes to every process, and mpirun would end the ranks before they
 * have saved. */
static _Noreturn void become_starter(const struct processes_start *how, int errors, pid_t parent)
{
    sigset_t held;
    int nothing = open("/dev/null", O_RDONLY);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, how->stop_signal);
    if (getppid() != parent || nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 ||
        dup2(errors, STDERR_FILENO) < 0)
        _exit(127);
    set_environment(how->threads);
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGUSR1, SIG_DFL);
    (void)signal(SIGUSR2, SIG_DFL);
    (void)signal(SIGCHLD, SIG_DFL);
    (void)sigemptyset(&held);
    (void)sigaddset(&held, SIGTERM);
    (void)sigprocmask(SIG_SETMASK, &held, NULL);
    (void)execv(how->words[0], how->words);
    _exit(127);
}

ls_status processes_start(pid_t *out, int *out_errors, const struct processes_start *how)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return LS_FAIL(LS_FAILED, "no pipe for the workers: %s", strerror(errno));
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0)
        become_starter(how, ends[1], parent);
    (void)close(ends[1]);
    if (child < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
        (void)close(ends[0]);
        return LS_FAIL(LS_FAILED, "cannot start %s: %s", how->words[0], strerror(errno));
    }
    *out = child;
    *out_errors = ends[0];
    return LS_OK;
}

/* SIGKILL to every child of this process. */
static void kill_children(void)
{
    char path[64];
    char *list = NULL;
    (void)snprintf(path, sizeof path, "/proc/self/task/%ld/children", (long)getpid());
    FILE *file = fopen(path, "r");
    size_t room = 0;
    if (file != NULL && getline(&list, &room, file) > 0) {
        char *next = list;
        for (;;) {
            char *end = NULL;
            long child = strtol(next, &end, 10);
            if (end == next)
                break;
            if (child > 1)
                (void)kill((pid_t)child, SIGKILL);
            next = end;
        }
    }
    free(list);
    if (file != NULL)
        (void)fclose(file);
}

void processes_end_leftovers(double grace_s)
{
    double until = clock_now_s() + grace_s;
    bool killed = false;
    for (;;) {
        pid_t gone = waitpid(-1, NULL, WNOHANG);
        if (gone < 0 && errno == ECHILD)
            return;
        if (gone > 0)
            continue;
        if (clock_now_s() > until) {
            if (killed) /* not even SIGKILL ends it: stuck in the kernel */
                return;
            killed = true;
            until = clock_now_s() + grace_s;
        }
        if (killed) /* again and again: the children of those that end become ours */
            kill_children();
        clock_sleep_s(0.02);
    }
}
