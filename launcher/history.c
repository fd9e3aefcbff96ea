#include "launcher/history.h"

#include <cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"

enum { ROOM_FIRST = 1024 };

static ls_status widen(float **values, int64_t held, int64_t room)
{
    float *wider = realloc(*values, (size_t)room * sizeof *wider);
    if (wider == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for %lld steps of metrics", (long long)room);
    for (int64_t i = held; i < room; i++)
        wider[i] = NAN;
    *values = wider;
    return LS_OK;
}

static ls_status make_room(struct history *history)
{
    ls_status st = LS_OK;
    if (history->count < history->room)
        return LS_OK;
    int64_t room = history->room > 0 ? 2 * history->room : ROOM_FIRST;
    int64_t *steps = realloc(history->steps, (size_t)room * sizeof *steps);
    if (steps == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for %lld steps of metrics", (long long)room);
    history->steps = steps;
    for (int i = 0; i < history->series_count; i++)
        LS_TRY(widen(&history->values[i], history->count, room));
    history->room = room;
done:
    return st;
}

/* The series of that name, made when it is new; -1 where there is no place for more. */
static ls_status series_of(int *out, struct history *history, const char *name)
{
    for (int i = 0; i < history->series_count; i++)
        if (strcmp(history->names[i], name) == 0) {
            *out = i;
            return LS_OK;
        }
    *out = -1;
    if (history->series_count == HISTORY_SERIES_MAX || strlen(name) >= HISTORY_NAME_BYTES)
        return LS_OK;
    ls_status st = widen(&history->values[history->series_count], 0, history->room);
    if (st != LS_OK)
        return st;
    *out = history->series_count++;
    (void)snprintf(history->names[*out], HISTORY_NAME_BYTES, "%s", name);
    return LS_OK;
}

static ls_status put(struct history *history, const char *name, double value)
{
    int series = -1;
    ls_status st = series_of(&series, history, name);
    if (st == LS_OK && series >= 0)
        history->values[series][history->count] = (float)value;
    return st;
}

static ls_status put_list(struct history *history, const cJSON *list)
{
    ls_status st = LS_OK;
    int number = 0;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, list)
    {
        char name[2 * HISTORY_NAME_BYTES];
        (void)snprintf(name, sizeof name, "%.*s/%d", HISTORY_NAME_BYTES, list->string, number++);
        if (cJSON_IsNumber(item))
            LS_TRY(put(history, name, item->valuedouble));
    }
done:
    return st;
}

static ls_status put_line(struct history *history, const cJSON *line, int64_t step)
{
    ls_status st = LS_OK;
    const cJSON *item = NULL;
    while (history->count > 0 && history->steps[history->count - 1] >= step)
        history->count--;
    LS_TRY(make_room(history));
    history->steps[history->count] = step;
    for (int i = 0; i < history->series_count; i++)
        history->values[i][history->count] = NAN;
    cJSON_ArrayForEach(item, line)
    {
        if (cJSON_IsNumber(item) && strcmp(item->string, "step") != 0)
            LS_TRY(put(history, item->string, item->valuedouble));
        else if (cJSON_IsBool(item))
            LS_TRY(put(history, item->string, cJSON_IsTrue(item)));
        else if (cJSON_IsArray(item))
            LS_TRY(put_list(history, item));
    }
    history->count++;
done:
    return st;
}

/* A step that a float and an index can count; -1 for anything else. */
static int64_t step_of(const cJSON *line)
{
    const cJSON *step = cJSON_GetObjectItemCaseSensitive(line, "step");
    double value = cJSON_IsNumber(step) ? step->valuedouble : -1;
    return value >= 0 && value < 1e15 && value == floor(value) ? (int64_t)value : -1;
}

static ls_status read_lines(struct history *history, FILE *file, const char *path)
{
    ls_status st = LS_OK;
    char *line = NULL;
    size_t room = 0;
    ssize_t length = 0;
    while (st == LS_OK && (length = getline(&line, &room, file)) >= 0) {
        cJSON *json = cJSON_Parse(line);
        int64_t step = step_of(json);
        if (step >= 0)
            st = put_line(history, json, step);
        else if (length > 0 && line[length - 1] == '\n')
            history->bad_lines++;
        cJSON_Delete(json);
    }
    if (st == LS_OK && ferror(file) != 0)
        st = LS_FAIL(LS_IO, "%s: cannot read: %s", path, strerror(errno));
    free(line);
    return st;
}

ls_status history_open(struct history *out, const char *run)
{
    ls_status st = LS_OK;
    char *path = NULL;
    FILE *file = NULL;
    memset(out, 0, sizeof *out);
    LS_TRY(core_format(&path, "%s/metrics.jsonl", run));
    LS_TRY(make_room(out));
    file = fopen(path, "re");
    if (file != NULL)
        LS_TRY(read_lines(out, file, path));
    else if (errno != ENOENT)
        st = LS_FAIL(LS_IO, "%s: cannot open: %s", path, strerror(errno));
done:
    if (file != NULL)
        (void)fclose(file);
    free(path);
    return st;
}

void history_close(struct history *history)
{
    for (int i = 0; i < history->series_count; i++)
        free(history->values[i]);
    free(history->steps);
    memset(history, 0, sizeof *history);
}

const float *history_find(const struct history *history, const char *name)
{
    for (int i = 0; i < history->series_count; i++)
        if (strcmp(history->names[i], name) == 0)
            return history->values[i];
    return NULL;
}

struct history_range history_range(const float *values, int64_t from, int64_t to)
{
    struct history_range range = {.mean = NAN, .least = NAN, .largest = NAN};
    double sum = 0;
    for (int64_t i = from; values != NULL && i < to; i++) {
        if (!isfinite(values[i]))
            continue;
        sum += values[i];
        range.least = range.count > 0 ? fmin(range.least, values[i]) : values[i];
        range.largest = range.count > 0 ? fmax(range.largest, values[i]) : values[i];
        range.count++;
    }
    if (range.count > 0)
        range.mean = sum / (double)range.count;
    return range;
}
