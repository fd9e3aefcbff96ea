/* The pool: one process and one socket pair a worker.  Messages have a fixed size below the atomic
 * limit of sockets of this type, so a killed worker leaves no half message. */
#include "data/pack_pool.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/files.h"
#include "data/part.h"
#include "data/shard.h"

/* A worker hangs when it gives no sign while it computes for so long, or at all for much longer.
 * Waiting is counted by what the pack saw of it: a machine that stood still for an hour, as virtual
 * ones do, is no reason to give files up. */
static const double computing_limit_s = 120;
static const double silence_limit_s = 1800;
static const double step_limit_s = 1;
static const double sign_every_s = 1;

/* SIGKILL comes from outside: a person, or the system when memory is short.  That says little of
 * the file, so it is tried more often, and a later pack tries it again. */
enum { CRASHES_MAX = 2, KILLS_MAX = 8 };

struct worker {
    pid_t pid;
    int socket;
    struct pool_task task;
    int crashes, kills; /* of its present task: by itself, and from outside */
    double computed_s;  /* its processor time when it was last heard */
    double silence_s;   /* waited for it since */
};

struct pool {
    const struct pack_plan *plan;
    struct worker *workers;
    int count;
    double waited_s; /* clock at the last wait */
};

/* ---- the worker's side ---- */

struct self {
    int socket;
    double signed_s;
};

static void send_sign(void *context)
{
    struct self *self = context;
    double now = clock_now_s();
    if (now - self->signed_s < sign_every_s)
        return;
    self->signed_s = now;
    struct pool_result sign = {.task.kind = POOL_NONE};
    if (send(self->socket, &sign, sizeof sign, MSG_NOSIGNAL) < 0)
        _exit(1);
}

/* A part that an earlier pack left whole is taken as it is. */
static ls_status do_file(struct pool_result *result, const struct pack_plan *plan, size_t index,
                         struct self *self)
{
    const struct plan_file *file = &plan->files[index];
    struct prove_progress progress = {.alive = send_sign, .context = self};
    struct part part = {.file = -1};
    if (files_exists(file->part_path)) {
        ls_status st = part_open(&part, file->part_path, true);
        result->skipped = st == LS_OK && !part.is_video;
        part_close(&part);
        if (st == LS_OK)
            return LS_OK;
        status_clear();
    }
    return pack_video(&result->skipped, file->part_path, &file->source, &progress);
}

static ls_status do_shard(const struct pack_plan *plan, size_t index)
{
    ls_status st = LS_OK;
    const struct plan_shard *shard = &plan->shards[index];
    const char **paths = NULL;
    LS_TRY(core_alloc(&paths, shard->count));
    for (size_t i = 0; i < shard->count; i++)
        paths[i] = plan->files[shard->first + i].part_path;
    LS_TRY(shard_write(shard->path, shard->number, paths, (int64_t)shard->count));
    for (size_t i = 0; i < shard->count; i++)
        LS_TRY(files_remove(paths[i]));
done:
    free(paths);
    return st;
}

static _Noreturn void run_worker(const struct pack_plan *plan, int socket, pid_t parent)
{
    struct self self = {.socket = socket};
    struct rlimit no_core = {0, 0};
    struct pool_task task;
    /* The worker dies with the pack, also when that is killed. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setrlimit(RLIMIT_CORE, &no_core);
    if (getppid() != parent)
        _exit(1);
    while (recv(socket, &task, sizeof task, 0) == sizeof task) {
        struct pool_result result = {.task = task};
        status_clear();
        if (task.kind == POOL_FILE)
            result.status = do_file(&result, plan, task.index, &self);
        else
            result.status = do_shard(plan, task.index);
        (void)snprintf(result.text, sizeof result.text, "%s",
                       result.status != LS_OK ? status_text() : "");
        if (send(socket, &result, sizeof result, MSG_NOSIGNAL) < 0)
            break;
    }
    _exit(0);
}

/* ---- the pack's side ---- */

static double processor_time_s(pid_t pid)
{
    clockid_t clock;
    struct timespec time = {0};
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
        return 0;
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void note_sign(struct worker *worker)
{
    worker->computed_s = processor_time_s(worker->pid);
    worker->silence_s = 0;
}

static bool hangs(const struct worker *worker)
{
    return worker->task.kind == POOL_FILE &&
           (worker->silence_s > silence_limit_s ||
            processor_time_s(worker->pid) - worker->computed_s > computing_limit_s);
}

static ls_status start_worker(struct pool *pool, struct worker *worker)
{
    int sockets[2];
    pid_t parent = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0)
        return LS_FAIL(LS_IO, "cannot make a socket pair: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0) {
        (void)close(sockets[0]);
        (void)close(sockets[1]);
        return LS_FAIL(LS_IO, "cannot start a worker process: %s", strerror(errno));
    }
    if (pid == 0) {
        for (int i = 0; i < pool->count; i++)
            if (pool->workers[i].socket >= 0)
                (void)close(pool->workers[i].socket);
        (void)close(sockets[0]);
        run_worker(pool->plan, sockets[1], parent);
    }
    (void)close(sockets[1]);
    worker->pid = pid;
    worker->socket = sockets[0];
    note_sign(worker);
    return LS_OK;
}

/* Returns what waitpid says of it. */
static int end_worker(struct worker *worker)
{
    int how = 0;
    if (worker->socket >= 0)
        (void)close(worker->socket);
    worker->socket = -1;
    if (worker->pid > 0) {
        (void)kill(worker->pid, SIGKILL);
        while (waitpid(worker->pid, &how, 0) < 0 && errno == EINTR) {
        }
    }
    worker->pid = 0;
    return how;
}

ls_status pool_open(struct pool **out, const struct pack_plan *plan, int jobs)
{
    ls_status st = LS_OK;
    struct pool *pool = NULL;
    LS_TRY(core_alloc(&pool, 1));
    pool->plan = plan;
    pool->waited_s = clock_now_s();
    LS_TRY(core_alloc(&pool->workers, jobs));
    pool->count = jobs;
    for (int i = 0; i < jobs; i++)
        pool->workers[i].socket = -1;
    for (int i = 0; i < jobs; i++)
        LS_TRY(start_worker(pool, &pool->workers[i]));
    *out = pool;
    pool = NULL;
done:
    pool_close(&pool);
    return st;
}

void pool_close(struct pool **pool)
{
    struct pool *closing = *pool;
    if (closing == NULL)
        return;
    for (int i = 0; i < closing->count; i++)
        (void)end_worker(&closing->workers[i]);
    free(closing->workers);
    free(closing);
    *pool = NULL;
}

bool pool_has_idle(const struct pool *pool)
{
    for (int i = 0; i < pool->count; i++)
        if (pool->workers[i].task.kind == POOL_NONE)
            return true;
    return false;
}

bool pool_is_busy(const struct pool *pool)
{
    for (int i = 0; i < pool->count; i++)
        if (pool->workers[i].task.kind != POOL_NONE)
            return true;
    return false;
}

static ls_status give(struct worker *worker, struct pool_task task)
{
    worker->task = task;
    note_sign(worker);
    if (send(worker->socket, &task, sizeof task, MSG_NOSIGNAL) != sizeof task && errno != EPIPE)
        return LS_FAIL(LS_IO, "cannot talk to a worker process: %s", strerror(errno));
    return LS_OK;
}

ls_status pool_start(struct pool *pool, struct pool_task task)
{
    for (int i = 0; i < pool->count; i++) {
        struct worker *worker = &pool->workers[i];
        if (worker->task.kind != POOL_NONE)
            continue;
        worker->crashes = worker->kills = 0;
        return give(worker, task);
    }
    return LS_FAIL(LS_FAILED, "no idle worker");
}

/* Give a task up: why it ended, in `out`. */
static ls_status give_up(const struct pool *pool, struct pool_result *out, const char *reason,
                         bool killed)
{
    ls_status st = LS_OK;
    if (out->task.kind == POOL_SHARD) {
        out->status = LS_FAIL(LS_IO, "%s: %s while writing",
                              pool->plan->shards[out->task.index].path, reason);
        (void)snprintf(out->text, sizeof out->text, "%s", status_message());
        return LS_OK;
    }
    const struct plan_file *file = &pool->plan->files[out->task.index];
    struct pack_source source = file->source;
    if (killed)
        source.mtime_ns = 0; /* as if it had changed since */
    LS_TRY(pack_skip(file->part_path, &source, reason));
    out->skipped = true;
done:
    return st;
}

/* A worker is gone, or silent: replace it, and try its task again or give it up. */
static ls_status replace(struct pool *pool, struct worker *worker, struct pool_result *out,
                         bool silent)
{
    ls_status st = LS_OK;
    struct pool_task task = worker->task;
    char reason[160];
    int how = end_worker(worker);
    int number = WIFSIGNALED(how) ? WTERMSIG(how) : 0;
    const bool killed = number == SIGKILL && !silent;
    LS_TRY(start_worker(pool, worker));
    if (task.kind == POOL_NONE)
        goto done;
    worker->crashes += !killed;
    worker->kills += killed;
    if (!silent && worker->crashes < CRASHES_MAX && worker->kills < KILLS_MAX) {
        LS_TRY(give(worker, task));
        goto done;
    }
    worker->task.kind = POOL_NONE;
    out->task = task;
    if (silent)
        (void)snprintf(reason, sizeof reason, "decoding hangs: no progress for %.0f s",
                       computing_limit_s);
    else if (killed)
        (void)snprintf(reason, sizeof reason,
                       "its worker process was killed %d times (is memory short? fewer --jobs)",
                       worker->kills);
    else
        (void)snprintf(reason, sizeof reason, "its worker process died twice (signal %d)", number);
    LS_TRY(give_up(pool, out, reason, killed));
done:
    return st;
}

static ls_status hear(struct pool *pool, struct worker *worker, struct pool_result *out)
{
    struct pool_result result;
    ssize_t got = recv(worker->socket, &result, sizeof result, 0);
    if (got != sizeof result)
        return replace(pool, worker, out, false);
    note_sign(worker);
    if (result.task.kind != POOL_NONE) {
        worker->task.kind = POOL_NONE;
        *out = result;
    }
    return LS_OK;
}

ls_status pool_wait(struct pool *pool, struct pool_result *out, double timeout_s)
{
    ls_status st = LS_OK;
    struct pollfd *waits = NULL;
    *out = (struct pool_result){.task.kind = POOL_NONE};
    LS_TRY(core_alloc(&waits, pool->count));
    for (int i = 0; i < pool->count; i++)
        waits[i] = (struct pollfd){.fd = pool->workers[i].socket, .events = POLLIN};
    if (poll(waits, (nfds_t)pool->count, (int)(timeout_s * 1000)) < 0 && errno != EINTR) {
        st = LS_FAIL(LS_IO, "cannot wait for worker processes: %s", strerror(errno));
        goto done;
    }
    double now = clock_now_s();
    double step = now - pool->waited_s < step_limit_s ? now - pool->waited_s : step_limit_s;
    pool->waited_s = now;
    for (int i = 0; i < pool->count; i++)
        pool->workers[i].silence_s += step;
    for (int i = 0; i < pool->count && out->task.kind == POOL_NONE; i++) {
        struct worker *worker = &pool->workers[i];
        if (waits[i].revents != 0)
            LS_TRY(hear(pool, worker, out));
        else if (hangs(worker))
            LS_TRY(replace(pool, worker, out, true));
    }
done:
    free(waits);
    return st;
}
