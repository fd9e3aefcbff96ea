/* The file is opened for each line: lines are rare, and a run folder that was away for a while is
 * found again. */
#include "worker/events.h"

#include <cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/files.h"
#include "core/log.h"

struct events {
    char *path;
    int64_t run_epoch;
};

ls_status events_open(struct events **out, const char *run, int64_t run_epoch)
{
    ls_status st = LS_OK;
    struct events *events = NULL;
    LS_TRY(core_alloc(&events, 1));
    events->run_epoch = run_epoch;
    LS_TRY(core_format(&events->path, "%s/events.jsonl", run));
    *out = events;
    events = NULL;
done:
    events_close(&events);
    return st;
}

void events_close(struct events **events)
{
    if (*events == NULL)
        return;
    free((*events)->path);
    free(*events);
    *events = NULL;
}

static double unix_time_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return floor(((double)now.tv_sec + 1e-9 * (double)now.tv_nsec) * 1e3 + 0.5) / 1e3;
}

/* The event's line with its newline; NULL without memory. */
static char *print(const struct events *events, const struct event *event)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *settings = NULL;
    bool whole = cJSON_AddNumberToObject(json, "step", (double)event->step) != NULL &&
                 cJSON_AddNumberToObject(json, "start", (double)events->run_epoch) != NULL &&
                 cJSON_AddNumberToObject(json, "time", unix_time_s()) != NULL &&
                 cJSON_AddStringToObject(json, "event", event->kind) != NULL &&
                 cJSON_AddBoolToObject(json, "warning", event->warning) != NULL;
    if (event->by != NULL)
        whole = whole && cJSON_AddStringToObject(json, "by", event->by) != NULL;
    /* cJSON writes null for a number that is not finite. */
    for (int i = 0; i < EVENTS_VALUES_MAX && event->values[i].key != NULL; i++)
        whole = whole &&
                cJSON_AddNumberToObject(json, event->values[i].key, event->values[i].value) != NULL;
    if (event->settings[0] != NULL)
        settings = cJSON_AddArrayToObject(json, "settings");
    for (int i = 0; i < EVENTS_SETTINGS_MAX && event->settings[i] != NULL; i++)
        whole =
            whole && cJSON_AddItemToArray(settings, cJSON_CreateString(event->settings[i])) != 0;
    whole = whole &&
            cJSON_AddStringToObject(json, "text", event->text != NULL ? event->text : "") != NULL;
    char *text = whole ? cJSON_PrintUnformatted(json) : NULL;
    char *line = NULL;
    if (text == NULL || core_format(&line, "%s\n", text) != LS_OK) {
        status_clear();
        line = NULL;
    }
    cJSON_Delete(json);
    free(text);
    return line;
}

void events_add(const struct events *events, const struct event *event)
{
    if (events == NULL)
        return;
    char *line = print(events, event);
    int file = open(events->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    ssize_t length = line != NULL ? (ssize_t)strlen(line) : 0;
    errno = line == NULL ? ENOMEM : errno;
    ssize_t written = file >= 0 && line != NULL ? write(file, line, (size_t)length) : -1;
    if (written != length || line == NULL)
        log_warn("events lost_line event=%s: %s: %s", event->kind, events->path,
                 strerror(written < 0 ? errno : ENOSPC));
    if (file >= 0)
        (void)close(file);
    free(line);
}
