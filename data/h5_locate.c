/* The child and what is read from it.  Its answer is trusted no more than the file: all extents are
 * checked again. */
#include "data/h5_locate.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/fault.h"
#include "data/records.h"

enum {
    COMPUTING_LIMIT_S = 20,
    MEMORY_LIMIT_BYTES = 512 << 20, /* beyond what this process has mapped */
    TEXT_BYTES = 1024
};

/* Shorter than PIPE_BUF, so that it comes whole or not at all. */
struct answer {
    ls_status status;
    char text[TEXT_BYTES];
    struct h5_extent extents[H5_LOCATE_MAX];
};

static void limit(int what, rlim_t value)
{
    struct rlimit now;
    if (getrlimit(what, &now) != 0)
        return;
    now.rlim_cur = value < now.rlim_max ? value : now.rlim_max;
    now.rlim_max = now.rlim_cur;
    (void)setrlimit(what, &now);
}

static rlim_t mapped_bytes(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%llu", &pages) != 1)
        pages = 0;
    (void)fclose(file);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void limit_child(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGXCPU, SIGTERM};
    const rlim_t mapped = mapped_bytes();
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        (void)signal(signals[i], SIG_DFL);
    if (nowhere >= 0)
        (void)dup2(nowhere, STDERR_FILENO);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0);
    limit(RLIMIT_CPU, COMPUTING_LIMIT_S);
    if (mapped > 0)
        limit(RLIMIT_AS, mapped + MEMORY_LIMIT_BYTES);
}

static ls_status locate_here(struct h5_extent *out, const struct h5_wanted *wanted, int count,
                             const char *path, const char *format, uint64_t content_bytes)
{
    ls_status st = LS_OK;
    hid_t file = -1;
    LS_TRY(h5_open_file(&file, path));
    (void)fault_point("hdf5");
    limit(RLIMIT_NOFILE, 0);
    LS_TRY(h5_check_format(file, path, format, RECORD_FORMAT_VERSION));
    for (int i = 0; i < count; i++) {
        if (wanted[i].layout != NULL)
            LS_TRY(h5_find_table(&out[i], file, path, wanted[i].layout, content_bytes));
        else
            LS_TRY(h5_find_bytes(&out[i], file, path, wanted[i].name, content_bytes));
    }
done:
    if (file >= 0)
        (void)H5Fclose(file);
    return st;
}

static bool read_answer(struct answer *out, int from)
{
    size_t got = 0;
    while (got < sizeof *out) {
        ssize_t more = read(from, (char *)out + got, sizeof *out - got);
        if (more < 0 && errno == EINTR)
            continue;
        if (more <= 0)
            return false;
        got += (size_t)more;
    }
    out->text[TEXT_BYTES - 1] = '\0';
    return true;
}

static ls_status check_extents(const struct h5_extent *extents, const struct h5_wanted *wanted,
                               int count, const char *path, uint64_t content_bytes)
{
    for (int i = 0; i < count; i++) {
        const uint64_t bytes = wanted[i].layout != NULL ? wanted[i].layout->row_bytes : 1;
        if (extents[i].count > content_bytes / bytes ||
            extents[i].offset > content_bytes - extents[i].count * bytes)
            return LS_FAIL(LS_DATA, "%s: damaged: a table lies outside the file", path);
    }
    return LS_OK;
}

/* What the child's end means.  A child whose end somebody else has collected is judged by its
 * answer. */
static ls_status judge(const struct answer *answer, bool answered, int how, const char *path)
{
    if (WIFSIGNALED(how))
        return LS_FAIL(LS_DATA, "%s: refused: HDF5 died of signal %d (%s) while it opened the file",
                       path, WTERMSIG(how), strsignal(WTERMSIG(how)));
    if (!answered)
        return LS_FAIL(LS_DATA, "%s: refused: HDF5 ended the process that opened the file", path);
    return answer->status == LS_OK ? LS_OK : status_adopt(answer->status, answer->text);
}

ls_status h5_locate(struct h5_extent *out, const struct h5_wanted *wanted, int count,
                    const char *path, const char *format, uint64_t content_bytes)
{
    ls_status st = LS_OK;
    struct answer answer = {.status = LS_OK};
    int ends[2];
    int how = 0;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return LS_FAIL(LS_IO, "cannot make a pipe: %s", strerror(errno));
    pid_t child = fork();
    if (child < 0) {
        st = LS_FAIL(LS_IO, "cannot start a process: %s", strerror(errno));
        (void)close(ends[0]);
        (void)close(ends[1]);
        return st;
    }
    if (child == 0) {
        limit_child();
        answer.status = locate_here(answer.extents, wanted, count, path, format, content_bytes);
        if (answer.status != LS_OK)
            (void)snprintf(answer.text, sizeof answer.text, "%s", status_message());
        _exit(write(ends[1], &answer, sizeof answer) == sizeof answer ? 0 : 1);
    }
    (void)close(ends[1]);
    bool answered = read_answer(&answer, ends[0]);
    (void)close(ends[0]);
    while (waitpid(child, &how, 0) < 0) {
        if (errno != EINTR) {
            how = 0;
            break;
        }
    }
    LS_TRY(judge(&answer, answered, how, path));
    LS_TRY(check_extents(answer.extents, wanted, count, path, content_bytes));
    memcpy(out, answer.extents, (size_t)count * sizeof *out);
done:
    return st;
}
