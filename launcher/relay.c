/* mpirun prints what it notices between two lines of dashes, in prose of many lines, after each
 * worker that ends otherwise than with 0.  Users get one line instead, so the frames are taken out;
 * lines of our own programs (they begin with a time) pass even inside a frame, because mpirun and
 * the ranks share the pipe. */
#include "launcher/relay.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files.h"
#include "core/run.h"

enum { LINE_BYTES = 8192, FRAME_DASHES = 60, FRAME_LINES_MAX = 60 };

struct relay {
    int log;  /* -1: none */
    bool bar; /* on the terminal that stderr is too */
    char line[LINE_BYTES];
    size_t used;
    bool in_frame;
    int frame_lines;
    char frame[RELAY_NOTICE_BYTES]; /* the notice being read, in one line */
    char notice[RELAY_NOTICE_BYTES];
    char error[RELAY_NOTICE_BYTES];
    struct relay_loss loss;
    double save_s;
    bool heard;
    struct liveness *liveness; /* NULL: beats are lines like others */
};

ls_status relay_open(struct relay **out, const char *log, bool bar)
{
    struct relay *relay = NULL;
    ls_status st = core_alloc(&relay, 1);
    if (st != LS_OK)
        return st;
    relay->loss.rank = -1;
    relay->bar = bar && isatty(STDERR_FILENO) != 0;
    relay->log = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    *out = relay;
    return LS_OK;
}

void relay_close(struct relay **relay)
{
    if (*relay == NULL)
        return;
    if ((*relay)->log >= 0)
        (void)close((*relay)->log);
    free(*relay);
    *relay = NULL;
}

void relay_beats_to(struct relay *relay, struct liveness *liveness)
{
    relay->liveness = liveness;
}

static void write_line(int file, const char *line, size_t bytes)
{
    while (file >= 0 && bytes > 0) {
        ssize_t written = write(file, line, bytes);
        if (written <= 0)
            return;
        line += written;
        bytes -= (size_t)written;
    }
}

void relay_make_room(const struct relay *relay)
{
    static const char clear[] = "\r\033[K"; /* to the line's start, and clear to its end */
    if (relay->bar)
        write_line(STDERR_FILENO, clear, sizeof clear - 1);
}

static bool is_frame(const char *line)
{
    size_t dashes = strspn(line, "-");
    return dashes >= FRAME_DASHES && line[dashes] == '\0';
}

/* "2026-11-25T03:40:00Z level=": a line of core/log. */
static bool is_log_line(const char *line)
{
    return isdigit((unsigned char)line[0]) != 0 && strlen(line) > 27 &&
           strncmp(line + 19, "Z level=", 8) == 0;
}

static void append_words(char *text, size_t bytes, const char *line)
{
    size_t used = strlen(text);
    const char *from = line + strspn(line, " \t");
    if (*from != '\0')
        (void)snprintf(text + used, bytes - used, "%s%s", used > 0 ? " " : "", from);
}

/* "mpirun noticed that process rank 1 with PID 0 on node vm exited on signal 9 (Killed)." or
 * "ORTE has lost communication with a remote daemon. HNP daemon   : [[19349,0],0] on node node1
 * Remote daemon: [[19349,0],2] on node node3 This is usually ..." */
static void read_loss(struct relay *relay)
{
    struct relay_loss loss = {.rank = -1};
    long pid = 0;
    const char *rank = strstr(relay->frame, "process rank ");
    const char *daemon = strstr(relay->frame, "Remote daemon");
    const char *node = daemon != NULL ? strstr(daemon, "on node ") : NULL;
    if (relay->loss.node[0] != '\0')
        return;
    if (rank != NULL &&
        sscanf(rank, "process rank %d with PID %ld on node %127s exited on signal %d", &loss.rank,
               &pid, loss.node, &loss.signal) == 4)
        relay->loss = loss;
    else if (node != NULL)
        (void)sscanf(node, "on node %127s", relay->loss.node);
}

static void end_frame(struct relay *relay)
{
    relay->in_frame = false;
    read_loss(relay);
    if (relay->notice[0] == '\0')
        memcpy(relay->notice, relay->frame, sizeof relay->notice);
    relay->frame[0] = '\0';
    relay->frame_lines = 0;
}

/* "[node1:00049] *** Process received signal ***" and the lines that follow: what Open MPI prints
 * of a crash, of mpirun too.  Stays in RUN/log; the user reads which rank it was. */
static bool is_backtrace(const char *line)
{
    static const char *const parts[] = {" *** Process received", " Signal", " Failing at ", " [",
                                        " *** End of error"};
    const char *end = strstr(line, "] ");
    bool found = false;
    if (line[0] != '[' || end == NULL || strchr(line, ':') > end)
        return false;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        found = found || strncmp(end + 1, parts[i], strlen(parts[i])) == 0;
    return found;
}

/* What mpirun says of its own notices and forwarding, when ranks abort or are asked to stop. */
static bool is_chatter(const char *line)
{
    static const char *const parts[] = {"] ORTE_ERROR_LOG: ", " sent help message help-",
                                        "] Set MCA parameter \"orte_base_help_aggregate\""};
    bool found = strncmp(line, "mpirun: Forwarding signal", 25) == 0 ||
                 strncmp(line, "mpirun: abort is already in progress", 36) == 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        found = found || strstr(line, parts[i]) != NULL;
    return found || is_backtrace(line);
}

/* "srun: error: node3: task 2: Killed"; of several ("tasks 0-2: ...") the others follow the first.
 */
static void read_srun_loss(struct relay *relay, const char *line)
{
    struct relay_loss loss = {.rank = -1};
    char word[64] = "";
    if (relay->loss.node[0] != '\0' ||
        sscanf(line, "srun: error: %127[^:]: task %d: %63[^(\n]", loss.node, &loss.rank, word) != 3)
        return;
    for (int number = 1; number < 32 && loss.signal == 0; number++)
        if (strncmp(word, strsignal(number), strlen(strsignal(number))) == 0)
            loss.signal = number;
    if (loss.signal != 0)
        relay->loss = loss;
}

/* One whole line, without its newline. */
static void take_line(struct relay *relay)
{
    char *line = relay->line;
    size_t length = relay->used;
    line[length] = '\0';
    if ((relay->liveness != NULL && liveness_take(relay->liveness, line)) ||
        run_saved_read(&relay->save_s, line)) {
        relay->used = 0;
        return;
    }
    line[length] = '\n';
    write_line(relay->log, line, length + 1);
    line[length] = '\0';
    relay->used = 0;
    bool ours = is_log_line(line);
    if (is_frame(line)) {
        if (relay->in_frame)
            end_frame(relay);
        else
            relay->in_frame = true;
        return;
    }
    if (relay->in_frame && !ours) {
        append_words(relay->frame, sizeof relay->frame, line);
        if (++relay->frame_lines > FRAME_LINES_MAX)
            end_frame(relay);
        return;
    }
    if (!ours && is_chatter(line))
        return;
    if (ours && strncmp(line + 20, " level=error", 12) == 0) {
        if (relay->error[0] == '\0')
            append_words(relay->error, sizeof relay->error, line);
        return;
    }
    relay->heard = relay->heard || (ours && strstr(line, " rank=0 ") != NULL);
    if (!ours)
        read_srun_loss(relay, line);
    line[length] = '\n';
    relay_make_room(relay);
    write_line(STDERR_FILENO, line, length + 1);
}

void relay_take(struct relay *relay, const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != '\n')
            relay->line[relay->used++] = bytes[i];
        if (bytes[i] == '\n' || relay->used == LINE_BYTES - 1)
            take_line(relay);
    }
}

void relay_finish(struct relay *relay)
{
    if (relay->used > 0)
        take_line(relay);
    if (relay->in_frame)
        end_frame(relay);
}

bool relay_heard(const struct relay *relay)
{
    return relay->heard;
}

double relay_save_s(const struct relay *relay)
{
    return relay->save_s;
}

const char *relay_error(const struct relay *relay)
{
    return relay->error;
}

const char *relay_notice(const struct relay *relay)
{
    return relay->notice;
}

const struct relay_loss *relay_loss(const struct relay *relay)
{
    return &relay->loss;
}
