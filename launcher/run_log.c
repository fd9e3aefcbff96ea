/* Only lines of core/log.h's form count; what MPI says of itself lies between them.  Lines that
 * the events have, too, are passed over; the events come afterwards. */
#include "launcher/run_log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "launcher/run_events.h"

enum { MARKS_MAX = 1000, LEVEL_BYTES = 16 };

/* A line taken apart. */
struct log_line {
    time_t time;
    char level[LEVEL_BYTES];
    int rank;     /* -1: the launcher's */
    int64_t step; /* -1: none */
    const char *text;
};

static bool take_time(time_t *out, const char **at)
{
    struct tm utc;
    memset(&utc, 0, sizeof utc);
    char *end = strptime(*at, "%Y-%m-%dT%H:%M:%SZ ", &utc);
    if (end == NULL)
        return false;
    *out = timegm(&utc);
    *at = end;
    return true;
}

/* The number behind `key` ("rank=") at the beginning of the text; `otherwise` where it is not. */
static int64_t take_number(const char **at, const char *key, int64_t otherwise)
{
    size_t length = strlen(key);
    if (strncmp(*at, key, length) != 0)
        return otherwise;
    char *end = NULL;
    errno = 0;
    long long value = strtoll(*at + length, &end, 10);
    if (errno != 0 || end == *at + length || *end != ' ')
        return otherwise;
    *at = end + 1;
    return value;
}

static bool take_apart(struct log_line *out, const char *line)
{
    const char *at = line;
    memset(out, 0, sizeof *out);
    if (!take_time(&out->time, &at) || strncmp(at, "level=", 6) != 0)
        return false;
    at += 6;
    size_t length = strcspn(at, " ");
    if (at[length] != ' ' || length >= sizeof out->level)
        return false;
    memcpy(out->level, at, length);
    at += length + 1;
    out->rank = (int)take_number(&at, "rank=", -1);
    out->step = take_number(&at, "step=", -1);
    out->text = at;
    return true;
}

/* The number behind `key` anywhere in the text; -1 where it is not. */
static int64_t number_in(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at != NULL ? strtoll(at + strlen(key), NULL, 10) : -1;
}

static void copy_text(char *out, const char *text)
{
    (void)snprintf(out, RUN_LOG_TEXT_BYTES, "%s", text);
    out[strcspn(out, "\r\n")] = '\0';
}

static bool begins(const char *text, const char *words)
{
    return strncmp(text, words, strlen(words)) == 0;
}

/* Room for one more entry of an array that doubles. */
static ls_status more(void **array, int count, size_t bytes)
{
    if (*array != NULL && (count & (count - 1)) != 0) /* room is the next power of two */
        return LS_OK;
    void *wider = realloc(*array, (count > 0 ? 2 * (size_t)count : 1) * bytes);
    if (wider == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for the run's log");
    *array = wider;
    return LS_OK;
}

/* A start begins with the line that tells that its ranks have met; older logs only tell what it
 * goes on from. */
static ls_status take_start(struct run_log *log, const struct log_line *line)
{
    bool joined = begins(line->text, "joined ranks=");
    bool origin = begins(line->text, "start seed=") || begins(line->text, "resume from=") ||
                  begins(line->text, "anneal from=");
    struct run_log_start *newest = log->start_count > 0 ? &log->starts[log->start_count - 1] : NULL;
    if (joined || (origin && (newest == NULL || newest->from_step >= 0))) {
        ls_status st = more((void **)&log->starts, log->start_count, sizeof *log->starts);
        if (st != LS_OK)
            return st;
        newest = &log->starts[log->start_count++];
        *newest = (struct run_log_start){.first = line->time, .last = line->time, .from_step = -1};
    }
    if (joined)
        newest->ranks = (int)number_in(line->text, "ranks=");
    if (origin)
        newest->from_step =
            begins(line->text, "resume") ? number_in(line->text, "finished_steps=") : 0;
    return LS_OK;
}

static ls_status add_save(struct run_log *log, time_t time, int64_t step,
                          struct run_log_start *start)
{
    ls_status st = more((void **)&log->saves, log->save_count, sizeof *log->saves);
    if (st != LS_OK)
        return st;
    log->saves[log->save_count++] = (struct run_log_save){.time = time, .step = step};
    if (start != NULL)
        start->saves++;
    return LS_OK;
}

static ls_status take_save(struct run_log *log, const struct log_line *line)
{
    const int64_t step = number_in(line->text, "finished_steps=");
    return add_save(log, line->time, step >= 0 ? step : line->step,
                    log->start_count > 0 ? &log->starts[log->start_count - 1] : NULL);
}

/* "checkpoint not_saved" of "checkpoint not_saved try=1 ...": the words before the first value. */
static void name_kind(char *out, size_t bytes, const struct log_line *line)
{
    if (strcmp(line->level, "error") == 0) {
        (void)snprintf(out, bytes, "error");
        return;
    }
    size_t end = strcspn(line->text, "=:\r\n");
    if (line->text[end] == '=')
        while (end > 0 && line->text[end] != ' ')
            end--;
    if (end == 0 || begins(line->text, "step "))
        end = strcspn(line->text, " :\r\n");
    (void)snprintf(out, bytes, "%.*s", (int)end, line->text);
}

static ls_status take_mark(struct run_log *log, const struct log_line *line)
{
    if (log->mark_count == MARKS_MAX)
        return LS_OK;
    ls_status st = more((void **)&log->marks, log->mark_count, sizeof *log->marks);
    if (st != LS_OK)
        return st;
    struct run_log_mark *mark = &log->marks[log->mark_count++];
    mark->time = line->time;
    mark->error = strcmp(line->level, "error") == 0;
    copy_text(mark->text, line->text);
    return LS_OK;
}

static ls_status add_warning(struct run_log *log, const struct log_line *line, const char *name)
{
    struct run_log_kind *kind = NULL;
    for (int i = 0; i < log->kind_count && kind == NULL; i++)
        if (strcmp(log->kinds[i].name, name) == 0)
            kind = &log->kinds[i];
    if (kind == NULL && log->kind_count == RUN_LOG_KINDS_MAX) {
        log->kinds_lost++;
        return LS_OK;
    }
    if (kind == NULL) {
        kind = &log->kinds[log->kind_count++];
        (void)snprintf(kind->name, sizeof kind->name, "%s", name);
        kind->error = strcmp(line->level, "error") == 0;
        kind->first = line->time;
        kind->first_step = line->step;
    }
    kind->count++;
    kind->last = line->time;
    kind->last_step = line->step;
    copy_text(kind->text, line->text);
    return take_mark(log, line);
}

static ls_status take_warning(struct run_log *log, const struct log_line *line)
{
    char name[sizeof log->kinds[0].name];
    name_kind(name, sizeof name, line);
    return add_warning(log, line, name);
}

static ls_status take_line(struct run_log *log, const struct run_events *events, const char *text)
{
    ls_status st = LS_OK;
    struct log_line line;
    if (!take_apart(&line, text))
        return LS_OK;
    LS_TRY(take_start(log, &line));
    if (log->start_count > 0 && line.time > log->starts[log->start_count - 1].last)
        log->starts[log->start_count - 1].last = line.time;
    if (run_events_have(events, line.time, line.text))
        goto done;
    if (begins(line.text, "checkpoint saved"))
        LS_TRY(take_save(log, &line));
    else if (begins(line.text, "device_open "))
        copy_text(log->device, line.text + strlen("device_open "));
    else if (begins(line.text, "video_replaced ")) {
        log->videos_replaced++;
        if (log->video_count < RUN_LOG_VIDEOS_MAX)
            copy_text(log->videos[log->video_count++], line.text + strlen("video_replaced "));
    } else if (strcmp(line.level, "warn") == 0 || strcmp(line.level, "error") == 0) {
        LS_TRY(take_warning(log, &line));
    }
done:
    return st;
}

/* The log's start that an event's start is: the newest one that began before it and has no number
 * yet.  The log's time has whole seconds, and its line comes first. */
static struct run_log_start *find_start(struct run_log *log, const struct run_event *event)
{
    for (int i = log->start_count - 1; i >= 0; i--)
        if (log->starts[i].epoch == event->start)
            return &log->starts[i];
    for (int i = log->start_count - 1; i >= 0; i--)
        if (log->starts[i].first <= event->time)
            return log->starts[i].epoch == 0 ? &log->starts[i] : NULL;
    return NULL;
}

/* A start that the log does not have (any more), in its place. */
static ls_status insert_start(struct run_log_start **out, struct run_log *log, time_t time)
{
    int at = log->start_count;
    assert(log->starts != NULL || at == 0);
    ls_status st = more((void **)&log->starts, log->start_count, sizeof *log->starts);
    if (st != LS_OK)
        return st;
    while (at > 0 && log->starts[at - 1].first > time)
        at--;
    memmove(log->starts + at + 1, log->starts + at,
            (size_t)(log->start_count - at) * sizeof *log->starts);
    log->start_count++;
    *out = &log->starts[at];
    **out = (struct run_log_start){.first = time, .last = time, .from_step = -1};
    return LS_OK;
}

/* A warning of these kinds is in the log in other words, with the cause. */
static bool log_says_more(const struct run_event *event)
{
    return strcmp(event->kind, "not_saved") == 0 || strcmp(event->kind, "save_passed_over") == 0;
}

static ls_status take_event(struct run_log *log, const struct run_event *event)
{
    ls_status st = LS_OK;
    char name[sizeof log->kinds[0].name];
    struct run_log_start *start = find_start(log, event);
    if (start == NULL)
        LS_TRY(insert_start(&start, log, event->time));
    start->epoch = event->start;
    if (event->time > start->last)
        start->last = event->time;
    if (strcmp(event->kind, "start") == 0) {
        start->from_step = event->step;
        start->ranks = event->workers > 0 ? (int)event->workers : start->ranks;
    } else if (strcmp(event->kind, "saved") == 0) {
        LS_TRY(add_save(log, event->time, event->finished_steps, start));
    } else if (event->warning && !log_says_more(event)) {
        const struct log_line line = {
            .time = event->time, .level = "warn", .step = event->step, .text = event->text};
        (void)snprintf(name, sizeof name, "%s%s%s", event->kind, event->by[0] != '\0' ? " by " : "",
                       event->by);
        LS_TRY(add_warning(log, &line, name));
    }
done:
    return st;
}

ls_status run_log_open(struct run_log **out, const char *run)
{
    ls_status st = LS_OK;
    struct run_log *log = NULL;
    struct run_events events = {0};
    char *path = NULL;
    char *line = NULL;
    size_t room = 0;
    FILE *file = NULL;
    LS_TRY(core_alloc(&log, 1));
    LS_TRY(run_events_open(&events, run));
    LS_TRY(core_format(&path, "%s/log", run));
    file = fopen(path, "re");
    if (file == NULL && errno != ENOENT) {
        st = LS_FAIL(LS_IO, "%s: cannot open: %s", path, strerror(errno));
        goto done;
    }
    while (file != NULL && getline(&line, &room, file) >= 0)
        LS_TRY(take_line(log, &events, line));
    if (file != NULL && ferror(file) != 0) {
        st = LS_FAIL(LS_IO, "%s: cannot read: %s", path, strerror(errno));
        goto done;
    }
    for (int i = 0; i < events.count; i++)
        LS_TRY(take_event(log, &events.list[i]));
    *out = log;
    log = NULL;
done:
    run_log_close(&log);
    run_events_close(&events);
    if (file != NULL)
        (void)fclose(file);
    free(line);
    free(path);
    return st;
}

void run_log_close(struct run_log **log)
{
    if (*log == NULL)
        return;
    free((*log)->starts);
    free((*log)->saves);
    free((*log)->marks);
    free(*log);
    *log = NULL;
}
