/* Texts about the table's keys: numbers, what is allowed, the nearest known key. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config_read.h"
#include "core/files.h"
#include "core/text.h"

void config_number_text(char *out, double value)
{
    char text[CONFIG_NUMBER_BYTES];
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        bool short_integer = fabs(value) >= 1 && fabs(value) < 1e15; /* 300, not 3e+02 */
        if (strtod(text, NULL) == value && !(short_integer && strchr(text, 'e') != NULL))
            break;
    }
    bool pointed = strpbrk(text, ".n") != NULL; /* or inf, nan */
    int mantissa = (int)strcspn(text, "e");
    (void)snprintf(out, CONFIG_NUMBER_BYTES, "%.*s%s%s", mantissa, text, pointed ? "" : ".0",
                   text + mantissa);
}

/* A bound as people write it: 65536, 0.5. */
static void bound_text(char *out, double value)
{
    (void)snprintf(out, CONFIG_NUMBER_BYTES, "%.15g", value);
}

static ls_status range_text(char **out, const struct config_key *key, const char *what)
{
    char low[CONFIG_NUMBER_BYTES];
    char high[CONFIG_NUMBER_BYTES];
    bound_text(low, key->low);
    bound_text(high, key->high);
    const char *from = (key->flags & CONFIG_ABOVE_LOW) != 0 ? "above" : "from";
    const char *to = (key->flags & CONFIG_BELOW_HIGH) != 0 ? "to below" : "to";
    return core_format(out, "%s %s %s %s %s%s", what, from, low, to, high,
                       (key->flags & CONFIG_NULLABLE) != 0 ? ", or null" : "");
}

static ls_status choices_text(char **out, const struct config_key *key)
{
    char text[256] = "";
    size_t used = 0;
    for (int i = 0; key->choices[i] != NULL && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i > 0 ? ", " : "",
                                 key->choices[i]);
    return core_format(out, "%s", text);
}

ls_status config_key_allowed(char **out, const struct config_key *key)
{
    switch (key->type) {
    case CONFIG_TYPE_BOOL:
        return core_format(
            out, "%s", key->low == key->high ? (key->low == 1 ? "true" : "false") : "true, false");
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        return range_text(out, key, "an integer");
    case CONFIG_TYPE_DOUBLE:
        return range_text(out, key, "a number");
    case CONFIG_TYPE_PAIR:
        return range_text(out, key,
                          (key->flags & CONFIG_ASCENDING) != 0 ? "[low, high], numbers"
                                                               : "[first, second], numbers");
    case CONFIG_TYPE_SIZE:
        return range_text(out, key, "an integer, or [height, width],");
    case CONFIG_TYPE_TEXT:
        return core_format(out, "a text%s", (key->flags & CONFIG_NULLABLE) != 0 ? ", or null" : "");
    case CONFIG_TYPE_CHOICE:
        return choices_text(out, key);
    case CONFIG_TYPE_PATHS:
        return core_format(out, "a list of paths");
    case CONFIG_TYPE_WEIGHTS:
        return core_format(out, "a list of numbers from 0, one a dataset, or null");
    case CONFIG_TYPE_FRAMES:
        return range_text(out, key, "a list of integers, one a dataset,");
    case CONFIG_TYPE_MASKS:
        return core_format(out, "a list of 1 to %d mask groups", CONFIG_MASK_GROUPS_MAX);
    case CONFIG_TYPE_IGNORED:
        return key->choices == NULL ? core_format(out, "anything") : choices_text(out, key);
    }
    return core_format(out, "nothing");
}

static const char *leaf(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot != NULL ? dot + 1 : path;
}

/* How far a mistyped path is from a known one: edits of the last word, one more for another
 * section. */
static int path_distance(const char *path, const char *known)
{
    const char *a = leaf(path);
    const char *b = leaf(known);
    bool same_section = a - path == b - known && strncmp(path, known, (size_t)(a - path)) == 0;
    return 2 * text_distance(a, b) + (same_section ? 0 : 1);
}

const char *config_nearest(const char *path)
{
    const char *best = NULL;
    int least = 2 * TEXT_WORD_BYTES;
    for (int i = 0; i < config_key_count; i++) {
        int distance = path_distance(path, config_keys[i].path);
        if (distance < least) {
            least = distance;
            best = config_keys[i].path;
        }
    }
    return text_near(leaf(path), least) ? best : NULL;
}

int config_nearest_mask_key(const char *name)
{
    int best = -1;
    int least = 2 * TEXT_WORD_BYTES;
    for (int i = 0; i < config_mask_key_count; i++) {
        int distance = 2 * text_distance(name, config_mask_keys[i].path);
        if (distance < least) {
            least = distance;
            best = i;
        }
    }
    return text_near(name, least) ? best : -1;
}

const char *config_nearest_section(char *out, const char *name)
{
    int least = TEXT_WORD_BYTES;
    out[0] = '\0';
    for (int i = 0; i < config_key_count; i++) {
        const char *path = config_keys[i].path;
        size_t length = (size_t)(leaf(path) - path);
        char section[CONFIG_NUMBER_BYTES];
        if (length < 2 || length > sizeof section)
            continue;
        (void)snprintf(section, sizeof section, "%.*s", (int)length - 1, path);
        int distance = text_distance(name, section);
        if (distance < least) {
            least = distance;
            memcpy(out, section, sizeof section);
        }
    }
    return text_near(name, 2 * least) ? out : NULL;
}
