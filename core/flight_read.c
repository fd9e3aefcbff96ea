/* The launcher's side of flight records: places are read and compared. */
#include <cJSON.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/flight.h"

enum { RECORD_LIMIT_BYTES = 1 << 20, NAMED_MAX = 8 };

/* Copy a text member; false when it is not there. */
static bool take_text(char *out, size_t bytes, const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    if (!cJSON_IsString(item))
        return false;
    (void)snprintf(out, bytes, "%s", item->valuestring);
    return true;
}

static bool take_number(double *out, const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    if (!cJSON_IsNumber(item) || !(item->valuedouble > -1e15 && item->valuedouble < 1e15))
        return false;
    *out = item->valuedouble;
    return true;
}

bool flight_parse(struct flight_place *out, const char *text)
{
    double rank = 0;
    double step = 0;
    double entered = 0;
    double sequence = 0;
    cJSON *json = cJSON_Parse(text);
    memset(out, 0, sizeof *out);
    out->known = take_number(&rank, json, "rank") && take_number(&step, json, "step") &&
                 take_number(&entered, json, "entered") &&
                 take_number(&sequence, json, "sequence") &&
                 take_number(&out->stood_still_s, json, "stood_still_s") &&
                 take_text(out->host, sizeof out->host, json, "host") &&
                 take_text(out->phase, sizeof out->phase, json, "phase") &&
                 take_text(out->kind, sizeof out->kind, json, "kind") && rank >= 0 && rank < 1e6;
    if (out->known) {
        out->rank = (int)rank;
        out->step = (int64_t)step;
        out->entered = (int64_t)entered;
        out->sequence = (int64_t)sequence;
        out->waits = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "waits")) != 0;
    }
    cJSON_Delete(json);
    return out->known;
}

bool flight_read(struct flight_place *out, const char *run, int64_t run_epoch, int rank)
{
    char *text = NULL;
    char *path = NULL;
    memset(out, 0, sizeof *out);
    if (core_format(&path, "%s/flight/%06" PRId64 "-%04d.json", run, run_epoch, rank) != LS_OK ||
        (files_exists(path) && files_read(&text, NULL, path, RECORD_LIMIT_BYTES) != LS_OK))
        status_clear();
    else if (text != NULL)
        (void)flight_parse(out, text);
    free(path);
    free(text);
    return out->known;
}

struct line {
    char *text;
    size_t used, bytes;
};

static void add(struct line *line, const char *format, ...) LS_PRINTF(2, 3);
static void add(struct line *line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(line->text + line->used, line->bytes - line->used, format, arguments);
    va_end(arguments);
    if (count > 0)
        line->used += (size_t)count;
    if (line->used >= line->bytes)
        line->used = line->bytes - 1;
}

/* A rank that did not arrive: where it is, and how long it has not been heard. */
static void add_missing(struct line *line, const struct flight_place *place, int rank)
{
    add(line, "%srank=%d", line->used > 0 ? "; " : "", rank);
    if (!place->known) {
        add(line, " never_heard");
        return;
    }
    add(line, " node=%s step=%" PRId64 " phase=%s", place->host, place->step, place->phase);
    if (place->sequence >= 0)
        add(line, " last_collective=\"%s %" PRId64 "\"", place->kind, place->sequence);
    if (place->silent_s > 0)
        add(line, " silent_s=%.0f", place->silent_s);
    if (place->stood_still_s > 0)
        add(line, " stood_still_s=%.0f", place->stood_still_s);
}

/* What makes a rank one that did not arrive: the strongest sign that any rank shows. */
enum sign { SIGN_SILENT, SIGN_STOOD_STILL, SIGN_BEHIND, SIGNS };

static bool shows(const struct flight_place *place, enum sign sign, int64_t furthest)
{
    bool spoke = place->known && place->silent_s <= 0;
    switch (sign) {
    case SIGN_SILENT:
        return !spoke;
    case SIGN_STOOD_STILL:
        return spoke && place->stood_still_s > 0;
    case SIGN_BEHIND:
        return spoke && place->entered < furthest;
    case SIGNS:
        break;
    }
    return false;
}

void flight_explain(char *out, size_t bytes, const struct flight_place *places, int size)
{
    struct line line = {.text = out, .bytes = bytes};
    int64_t furthest = -1;
    out[0] = '\0';
    for (int r = 0; r < size; r++)
        if (places[r].known && places[r].entered > furthest)
            furthest = places[r].entered;
    for (int sign = 0; sign < SIGNS; sign++) {
        int missing = 0;
        const struct flight_place *other = NULL;
        for (int r = 0; r < size; r++) {
            if (shows(&places[r], (enum sign)sign, furthest))
                missing++;
            else if (other == NULL || (places[r].waits && !other->waits))
                other = &places[r];
        }
        /* All silent: nobody is left to compare with, but where each was is worth telling. */
        if (missing == 0 || (other == NULL && (sign != SIGN_SILENT || furthest < 0)))
            continue;
        int named = 0;
        for (int r = 0; r < size && named < NAMED_MAX; r++)
            if (shows(&places[r], (enum sign)sign, furthest)) {
                add_missing(&line, &places[r], r);
                named++;
            }
        if (missing > named)
            add(&line, "; and %d more", missing - named);
        if (other != NULL)
            add(&line, "; others: rank=%d node=%s step=%" PRId64 " phase=%s %s=\"%s %" PRId64 "\"",
                other->rank, other->host, other->step, other->phase,
                other->waits ? "waits_for" : "last_collective", other->kind, other->sequence);
        return;
    }
}
