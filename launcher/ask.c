/* One child with a pipe for each of its outputs, read together so that neither fills up. */
#include "launcher/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/files.h"

enum { LIMIT_S = 30, LIMIT_BYTES = 1 << 20, ERROR_BYTES = 1024 };

struct answer {
    char *text;
    size_t used, room;
    char error[ERROR_BYTES];
    size_t error_used;
};

/* SIGTERM is held back: `scontrol requeue` makes SLURM send it to all of the job, scontrol among
 * them, before it has answered. */
static _Noreturn void become(const char *const *words, int out, int errors)
{
    sigset_t held;
    int nothing = open("/dev/null", O_RDONLY);
    (void)sigemptyset(&held);
    (void)sigaddset(&held, SIGTERM);
    (void)sigprocmask(SIG_SETMASK, &held, NULL);
    if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(errors, STDERR_FILENO) < 0)
        _exit(127);
    (void)execvp(words[0], (char *const *)words);
    _exit(127);
}

/* False: the file has ended. */
static bool take(struct answer *answer, int file)
{
    if (answer->room - answer->used < 4096) {
        size_t room = answer->room + 16384;
        char *more = room <= LIMIT_BYTES ? realloc(answer->text, room) : NULL;
        if (more == NULL)
            return false;
        answer->text = more;
        answer->room = room;
    }
    ssize_t got = read(file, answer->text + answer->used, answer->room - answer->used - 1);
    if (got > 0)
        answer->used += (size_t)got;
    return got > 0 || (got < 0 && errno == EINTR);
}

static bool take_error(struct answer *answer, int file)
{
    char rest[256];
    size_t room = ERROR_BYTES - 1 - answer->error_used;
    ssize_t got = room > 0 ? read(file, answer->error + answer->error_used, room)
                           : read(file, rest, sizeof rest);
    if (got > 0 && room > 0)
        answer->error_used += (size_t)got;
    return got > 0 || (got < 0 && errno == EINTR);
}

/* Whether both outputs ended in time. */
static bool read_both(struct answer *answer, const int *files, double until)
{
    struct pollfd sources[2] = {{.fd = files[0], .events = POLLIN},
                                {.fd = files[1], .events = POLLIN}};
    while (sources[0].fd >= 0 || sources[1].fd >= 0) {
        double left = until - clock_now_s();
        if (left <= 0)
            return false;
        sources[0].revents = sources[1].revents = 0; /* as they stay when a signal ends the wait */
        if (poll(sources, 2, (int)(left * 1000) + 1) < 0 && errno != EINTR)
            return false;
        if (sources[0].revents != 0 && !take(answer, files[0]))
            sources[0].fd = -1;
        if (sources[1].revents != 0 && !take_error(answer, files[1]))
            sources[1].fd = -1;
    }
    return true;
}

static ls_status judge(struct answer *answer, const char *name, bool in_time, int status)
{
    answer->error[strcspn(answer->error, "\n")] = '\0';
    if (!in_time)
        return LS_FAIL(LS_TIMEOUT, "%s: no answer within %d s", name, LIMIT_S);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return LS_FAIL(LS_USAGE, "%s is not installed, or not on PATH", name);
    if (WIFSIGNALED(status))
        return LS_FAIL(LS_FAILED, "%s: ended by signal %d (%s)", name, WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) != 0)
        return LS_FAIL(LS_FAILED, "%s: %s", name,
                       answer->error[0] != '\0' ? answer->error : "failed without a word");
    return LS_OK;
}

static void close_both(const int *ends)
{
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            (void)close(ends[i]);
}

ls_status ask(char **out, const char *const *words)
{
    ls_status st = LS_OK;
    int outputs[2] = {-1, -1};
    int errors[2] = {-1, -1};
    int status = 0;
    struct answer answer = {0};
    if (pipe2(outputs, O_CLOEXEC) != 0 || pipe2(errors, O_CLOEXEC) != 0) {
        st = LS_FAIL(LS_FAILED, "no pipe for %s: %s", words[0], strerror(errno));
        goto done;
    }
    pid_t child = fork();
    if (child == 0)
        become(words, outputs[1], errors[1]);
    (void)close(outputs[1]);
    (void)close(errors[1]);
    outputs[1] = errors[1] = -1;
    if (child < 0) {
        st = LS_FAIL(LS_FAILED, "cannot start %s: %s", words[0], strerror(errno));
        goto done;
    }
    const int files[2] = {outputs[0], errors[0]};
    bool in_time = read_both(&answer, files, clock_now_s() + LIMIT_S);
    if (!in_time)
        (void)kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    LS_TRY(judge(&answer, words[0], in_time, status));
    while (answer.used > 0 && strchr(" \n\t", answer.text[answer.used - 1]) != NULL)
        answer.used--;
    LS_TRY(core_format(out, "%.*s", (int)answer.used, answer.text != NULL ? answer.text : ""));
done:
    close_both(outputs);
    close_both(errors);
    free(answer.text);
    return st;
}
