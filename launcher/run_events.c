/* A line is one JSON object.  What a warning says, in the log and here, is the same text. */
#include "launcher/run_events.h"

#include <cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"

static int64_t take_number(const cJSON *root, const char *key)
{
    const double value = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(root, key));
    return value >= 0 && value < 9e15 ? (int64_t)value : -1;
}

static bool take_text(char *out, size_t bytes, const cJSON *root, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, key));
    (void)snprintf(out, bytes, "%s", text != NULL ? text : "");
    return text != NULL;
}

static bool take_apart(struct run_event *out, const cJSON *root)
{
    *out = (struct run_event){.time = (time_t)take_number(root, "time"),
                              .step = take_number(root, "step"),
                              .start = take_number(root, "start"),
                              .warning =
                                  cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "warning")),
                              .finished_steps = take_number(root, "finished_steps"),
                              .workers = take_number(root, "workers")};
    (void)take_text(out->by, sizeof out->by, root, "by");
    (void)take_text(out->text, sizeof out->text, root, "text");
    return take_text(out->kind, sizeof out->kind, root, "event") && out->time > 0 &&
           out->step >= 0 && out->start > 0;
}

static ls_status add(struct run_events *events, const char *line)
{
    struct run_event event;
    cJSON *root = cJSON_Parse(line);
    const bool good = root != NULL && take_apart(&event, root);
    cJSON_Delete(root);
    if (!good)
        return LS_OK;
    if ((events->count & (events->count - 1)) == 0) { /* room is the next power of two */
        const size_t room = events->count > 0 ? 2 * (size_t)events->count : 1;
        struct run_event *wider = realloc(events->list, room * sizeof *wider);
        if (wider == NULL)
            return LS_FAIL(LS_NOMEM, "out of memory for the run's events");
        events->list = wider;
    }
    events->list[events->count++] = event;
    return LS_OK;
}

ls_status run_events_open(struct run_events *out, const char *run)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *line = NULL;
    size_t room = 0;
    FILE *file = NULL;
    *out = (struct run_events){0};
    LS_TRY(core_format(&path, "%s/events.jsonl", run));
    file = fopen(path, "re");
    if (file == NULL && errno != ENOENT) {
        st = LS_FAIL(LS_IO, "%s: cannot open: %s", path, strerror(errno));
        goto done;
    }
    while (file != NULL && getline(&line, &room, file) >= 0)
        LS_TRY(add(out, line));
    if (file != NULL && ferror(file) != 0)
        st = LS_FAIL(LS_IO, "%s: cannot read: %s", path, strerror(errno));
done:
    if (file != NULL)
        (void)fclose(file);
    if (st != LS_OK)
        run_events_close(out);
    free(line);
    free(path);
    return st;
}

void run_events_close(struct run_events *events)
{
    free(events->list);
    *events = (struct run_events){0};
}

bool run_events_have(const struct run_events *events, time_t time, const char *line)
{
    static const char *const words[] = {
        "collapse by=",   "divergence by=", "data_too_slow ",  "loader_stalled ",
        "learning_rate ", "step skipped=",  "checkpoint saved"};
    if (events->count == 0 || time < events->list[0].time)
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strncmp(line, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}
