/* Log sink: builds a line in a stack buffer and hands it to one write(2), so that lines of many
 * processes that share a terminal or a pipe do not mix. */
#include "core/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 3072 };

static int log_rank = -1;
static enum log_level log_limit = LOG_LEVEL_INFO;
static _Atomic int64_t log_current_step = -1;

void log_open(int rank, enum log_level level)
{
    log_rank = rank;
    log_limit = level;
}

void log_step(int64_t step)
{
    atomic_store_explicit(&log_current_step, step, memory_order_relaxed);
}

static size_t append(char *line, size_t used, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(line + used, LINE_BYTES - used, format, arguments);
    va_end(arguments);
    if (count < 0)
        return used;
    size_t end = used + (size_t)count;
    return end < LINE_BYTES - 2 ? end : LINE_BYTES - 2;
}

static void write_line(enum log_level level, const char *format, va_list arguments)
{
    static const char *const name[] = {"error", "warn", "info", "debug"};
    if (level > log_limit || (log_rank > 0 && level >= LOG_LEVEL_INFO))
        return;
    char line[LINE_BYTES];
    struct timespec now;
    struct tm utc;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%SZ", &utc);
    used = append(line, used, " level=%s", name[level]);
    if (log_rank >= 0)
        used = append(line, used, " rank=%d", log_rank);
    int64_t step = atomic_load_explicit(&log_current_step, memory_order_relaxed);
    if (step >= 0)
        used = append(line, used, " step=%lld", (long long)step);
    line[used++] = ' ';
    int count = vsnprintf(line + used, LINE_BYTES - used - 1, format, arguments);
    size_t room = LINE_BYTES - used - 2;
    size_t length = count < 0 ? 0 : (size_t)count;
    size_t end = used + (length < room ? length : room);
    for (; used < end; used++) /* a control character in a name must not break the line */
        if (line[used] == '\n' || line[used] == '\r' || line[used] == '\t')
            line[used] = ' ';
    line[used++] = '\n';
    /* A log that cannot be written must not stop the program. */
    ssize_t written = write(STDERR_FILENO, line, used);
    (void)written;
}

#define DEFINE_LOG(function, level)                                                                \
    void function(const char *format, ...)                                                         \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, format);                                                               \
        write_line(level, format, arguments);                                                      \
        va_end(arguments);                                                                         \
    }

DEFINE_LOG(log_error, LOG_LEVEL_ERROR)
DEFINE_LOG(log_warn, LOG_LEVEL_WARN)
DEFINE_LOG(log_info, LOG_LEVEL_INFO)
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)
