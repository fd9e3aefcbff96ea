/* A child that outlives its parent would go on measuring, or training, for nobody: the kernel
 * signals it (PR_SET_PDEATHSIG). */
#include "launcher/command_line.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STOPPED = 75 };

ls_status command_line_add(struct command_line *line, const char *word)
{
    if (line->count >= COMMAND_LINE_WORDS_MAX - 1)
        return LS_FAIL(LS_USAGE, "too many options: at most %d words", COMMAND_LINE_WORDS_MAX);
    line->list[line->count++] = word;
    return LS_OK;
}

ls_status command_line_format(struct command_line *line, const char *format, ...)
{
    ls_status st = LS_OK;
    va_list arguments;
    char *text = NULL;
    va_start(arguments, format);
    int bytes = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (bytes < 0)
        return LS_FAIL(LS_NOMEM, "out of memory for a text");
    st = command_line_add(line, text);
    if (st == LS_OK)
        line->made[line->made_count++] = text;
    else
        free(text);
    return st;
}

/* In the child.  Who is killed takes the program with it, which is asked to stop. */
static _Noreturn void become(const struct command_line *line, int said, pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || dup2(said, STDOUT_FILENO) < 0 || dup2(said, STDERR_FILENO) < 0)
        _exit(127);
    (void)execv(line->list[0], (char *const *)line->list);
    _exit(127);
}

ls_status command_line_run(const struct command_line *line, const char *said)
{
    ls_status st = LS_OK;
    int status = 0;
    pid_t self = getpid();
    int file = open(said, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0)
        return LS_FAIL(LS_IO, "%s: %s", said, strerror(errno));
    pid_t child = fork();
    if (child == 0)
        become(line, file, self);
    (void)close(file);
    if (child < 0)
        return LS_FAIL(LS_FAILED, "%s: cannot start: %s", line->list[0], strerror(errno));
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return LS_FAIL(LS_FAILED, "%s: %s", line->list[0], strerror(errno));
    const char *slash = strrchr(line->list[0], '/');
    const char *name = slash != NULL ? slash + 1 : line->list[0];
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (code != 0 && code != STOPPED)
        st = LS_FAIL(LS_FAILED, "`%s %s` ended with code %d; see the end of %s", name,
                     line->list[1], code, said);
    return st;
}

void command_line_close(struct command_line *line)
{
    for (int i = 0; i < line->made_count; i++)
        free(line->made[i]);
    *line = (struct command_line){0};
}
