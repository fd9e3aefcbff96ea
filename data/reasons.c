/* A reason is its message without the path or name before it, names in it replaced by '...' and
 * numbers by #. */
#include "data/reasons.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { TOLD = 3 };

/* Behind "NAME: ", or "PATH: " of the shard that the video lies in. */
static const char *without_head(const char *name, const char *message)
{
    const size_t length = strlen(name);
    if (strncmp(message, name, length) == 0 && strncmp(message + length, ": ", 2) == 0)
        return message + length + 2;
    const char *end = message[0] == '/' ? strstr(message, ": ") : NULL;
    return end != NULL ? end + 2 : message;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void simplify(char *out, size_t bytes, const char *message)
{
    size_t used = 0;
    const char *at = message;
    while (*at != '\0' && used + 6 < bytes) {
        const char *quoted = *at == '\'' ? strchr(at + 1, '\'') : NULL;
        if (quoted != NULL) {
            memcpy(out + used, "'...'", 5);
            used += 5;
            at = quoted + 1;
        } else if (is_digit(*at)) {
            out[used++] = '#';
            while (is_digit(*at))
                at++;
        } else {
            out[used++] = *at++;
        }
    }
    out[used] = '\0';
}

static void add(struct reasons *reasons, int dataset, const char *text, int64_t count)
{
    for (int64_t i = 0; i < reasons->kinds; i++) {
        struct reason *known = &reasons->list[i];
        if (known->dataset == dataset && strcmp(known->text, text) == 0) {
            known->count += count;
            return;
        }
    }
    if (reasons->kinds == REASONS_MAX)
        return;
    struct reason *reason = &reasons->list[reasons->kinds++];
    reason->dataset = dataset;
    reason->count = count;
    (void)snprintf(reason->text, sizeof reason->text, "%s", text);
}

void reasons_add(struct reasons *reasons, int dataset, const char *name, const char *message)
{
    char text[REASON_TEXT_BYTES];
    simplify(text, sizeof text, without_head(name, message));
    add(reasons, dataset, text, 1);
}

void reasons_merge(struct reasons *into, const struct reasons *from)
{
    for (int64_t i = 0; i < from->kinds; i++)
        add(into, from->list[i].dataset, from->list[i].text, from->list[i].count);
}

/* The most frequent one that is not told yet, of equals the first by its text; -1: none. */
static int next(const struct reasons *reasons, int dataset, const bool *told)
{
    int best = -1;
    for (int i = 0; i < (int)reasons->kinds; i++) {
        const struct reason *one = &reasons->list[i];
        if (told[i] || one->dataset != dataset)
            continue;
        if (best < 0 || one->count > reasons->list[best].count ||
            (one->count == reasons->list[best].count &&
             strcmp(one->text, reasons->list[best].text) < 0))
            best = i;
    }
    return best;
}

void reasons_text(char *out, size_t bytes, const struct reasons *reasons, int dataset)
{
    bool told[REASONS_MAX] = {false};
    size_t used = 0;
    out[0] = '\0';
    for (int n = 0; n < TOLD; n++) {
        int i = next(reasons, dataset, told);
        if (i < 0)
            return;
        told[i] = true;
        int count = snprintf(out + used, bytes - used, "%s%lld x %s", n > 0 ? "; " : "",
                             (long long)reasons->list[i].count, reasons->list[i].text);
        if (count < 0 || (size_t)count >= bytes - used)
            return;
        used += (size_t)count;
    }
}

void bad_videos_add(struct bad_videos *videos, int dataset, int64_t video, const char *message)
{
    for (int64_t i = 0; i < videos->count; i++)
        if (videos->list[i].dataset == dataset && videos->list[i].video == video)
            return;
    if (videos->count == BAD_VIDEOS_MAX)
        return;
    struct bad_video *one = &videos->list[videos->count++];
    one->dataset = dataset;
    one->video = video;
    (void)snprintf(one->text, sizeof one->text, "%s", message);
}

void bad_videos_merge(struct bad_videos *into, const struct bad_videos *from)
{
    for (int64_t i = 0; i < from->count; i++)
        bad_videos_add(into, from->list[i].dataset, from->list[i].video, from->list[i].text);
}
