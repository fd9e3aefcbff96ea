/* Reading lists.  The public code reads them as comma-free CSV with a space between path and label,
 * which a path with a space breaks; here the label is what follows the last space, if it is a
 * number. */
#include "data/list.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/files.h"
#include "data/table.h"

#define LIST_BYTES_MAX ((size_t)8 << 30)

ls_status list_add(struct list *list, const char *path, int64_t label, double weight)
{
    ls_status st = LS_OK;
    LS_TRY(table_grow((void **)&list->entries, &list->room, list->count, sizeof *list->entries));
    struct list_entry *entry = &list->entries[list->count];
    *entry = (struct list_entry){.label = label, .weight = weight};
    LS_TRY(core_format(&entry->path, "%s", path));
    list->count++;
done:
    return st;
}

void list_close(struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->entries[i].path);
    free(list->entries);
    *list = (struct list){0};
}

static bool parse_label(const char *text, int64_t *out)
{
    char *end = NULL;
    if (!isdigit((unsigned char)text[0]) && !(text[0] == '-' && isdigit((unsigned char)text[1])))
        return false;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0')
        return false;
    *out = value;
    return true;
}

/* A weight or a rate. */
static bool parse_decimal(const char *text, double *out)
{
    char *end = NULL;
    if (strchr(text, '.') == NULL || strspn(text, "+-0123456789.eE") != strlen(text))
        return false;
    *out = strtod(text, &end);
    return end != text && *end == '\0';
}

/* `text` as a file: as it stands, or beside the list.  `*out` is new text, NULL when neither
 * exists. */
static ls_status find_file(char **out, const char *text, const char *list_path)
{
    ls_status st = LS_OK;
    const char *slash = strrchr(list_path, '/');
    *out = NULL;
    if (files_exists(text))
        return core_format(out, "%s", text);
    if (text[0] == '/' || slash == NULL)
        return LS_OK;
    LS_TRY(core_format(out, "%.*s/%s", (int)(slash - list_path), list_path, text));
    if (!files_exists(*out)) {
        free(*out);
        *out = NULL;
    }
done:
    return st;
}

struct line {
    char *path;
    int64_t label;
    double weight, rate;
    bool has_rate;
    const char *problem;
};

/* `"path" rest`: unquote in place; returns what follows, or NULL at an unclosed quote. */
static char *unquote(char *text)
{
    char *write = text;
    for (char *read = text + 1; *read != '\0'; read++) {
        if (*read == '"' && read[1] == '"')
            read++;
        else if (*read == '"') {
            *write = '\0';
            return read + 1;
        }
        *write++ = *read;
    }
    return NULL;
}

static void parse_quoted(char *text, struct line *out)
{
    char *rest = unquote(text);
    out->path = text;
    if (rest == NULL) {
        out->problem = "a quote is not closed";
        return;
    }
    rest += strspn(rest, " :");
    char *weight = strchr(rest, ' ');
    if (weight != NULL)
        *weight++ = '\0';
    char *rate = weight != NULL ? strchr(weight, ' ') : NULL;
    if (rate != NULL)
        *rate++ = '\0';
    out->has_rate = rate != NULL;
    if ((*rest != '\0' && !parse_label(rest, &out->label)) ||
        (weight != NULL && !parse_decimal(weight, &out->weight)) ||
        (rate != NULL && !parse_decimal(rate, &out->rate)))
        out->problem = "after a quoted path comes a label, then a weight, then a rate";
}

/* `label weight rate` or `label weight` at the end; where the path ends, NULL without these. */
static char *parse_decimals(char *text, struct line *out)
{
    char *cuts[3]; /* the last three spaces, from the end */
    double numbers[2];
    int count = 0;
    for (char *at = text + strlen(text); at > text && count < 3;)
        if (*--at == ' ')
            cuts[count++] = at;
    int decimals = 0;
    while (decimals < 2 && decimals + 1 < count) {
        char *end = decimals > 0 ? cuts[decimals - 1] : NULL;
        if (end != NULL)
            *end = '\0';
        const bool good = parse_decimal(cuts[decimals] + 1, &numbers[decimals]);
        if (end != NULL)
            *end = ' ';
        if (!good)
            break;
        decimals++;
    }
    if (decimals == 0)
        return NULL;
    char *path_end = cuts[decimals];
    *cuts[decimals - 1] = '\0';
    if (!parse_label(path_end + 1, &out->label)) {
        *cuts[decimals - 1] = ' ';
        return NULL;
    }
    out->weight = numbers[decimals - 1];
    out->has_rate = decimals == 2;
    out->rate = out->has_rate ? numbers[0] : 0;
    return path_end;
}

static void parse_plain(char *text, struct line *out)
{
    out->path = text;
    char *cut = parse_decimals(text, out);
    if (cut == NULL) {
        cut = strrchr(text, ' ');
        if (cut == NULL || !parse_label(cut + 1, &out->label)) {
            cut = NULL;
            for (char *at = strstr(text, "::"); at != NULL; at = strstr(at + 2, "::"))
                cut = at;
            if (cut == NULL || !parse_label(cut + 2, &out->label))
                return;
        }
    }
    *cut = '\0';
}

static ls_status add_line(struct list *list, const char *list_path, char *text, long long number)
{
    ls_status st = LS_OK;
    struct line line = {.label = -1, .weight = 1};
    char *whole = NULL;
    char *found = NULL;
    LS_TRY(core_format(&whole, "%s", text));
    if (text[0] == '"')
        parse_quoted(text, &line);
    else
        parse_plain(text, &line);
    if (line.problem == NULL && !(line.weight > 0 && isfinite(line.weight)))
        line.problem = "a weight is a positive number";
    if (line.problem == NULL && line.has_rate && !(line.rate > 0 && isfinite(line.rate)))
        line.problem = "a rate is a positive number";
    if (line.problem == NULL && line.path[0] == '\0')
        line.problem = "no path";
    if (line.problem != NULL) {
        st = LS_FAIL(LS_DATA, "%s:%lld: %s: '%.200s'", list_path, number, line.problem, whole);
        goto done;
    }
    LS_TRY(find_file(&found, line.path, list_path));
    if (found == NULL && strcmp(whole, line.path) != 0) {
        LS_TRY(find_file(&found, whole, list_path));
        if (found != NULL) {
            line.label = -1;
            line.weight = 1;
            line.rate = 0;
        }
    }
    LS_TRY(list_add(list, found != NULL ? found : line.path, line.label, line.weight));
    list->entries[list->count - 1].rate = line.rate;
done:
    free(whole);
    free(found);
    return st;
}

ls_status list_add_file(struct list *list, const char *path)
{
    ls_status st = LS_OK;
    char *text = NULL;
    size_t bytes = 0;
    long long number = 0;
    LS_TRY(files_read(&text, &bytes, path, LIST_BYTES_MAX));
    char *end = text + bytes;
    char *line = text;
    if (bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        line += 3;
    while (line < end) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        if (stop == NULL)
            stop = end;
        number++;
        *stop = '\0';
        if (strlen(line) != (size_t)(stop - line)) {
            st = LS_FAIL(LS_DATA, "%s:%lld: a 0 byte: not a list of videos", path, number);
            goto done;
        }
        char *last = stop;
        while (last > line && (last[-1] == '\r' || last[-1] == ' ' || last[-1] == '\t'))
            *--last = '\0';
        if (last > line)
            LS_TRY(add_line(list, path, line, number));
        line = stop + 1;
    }
done:
    free(text);
    return st;
}

ls_status list_add_folder(struct list *list, const char *path)
{
    ls_status st = LS_OK;
    char **names = NULL;
    size_t count = 0;
    char *inner = NULL;
    size_t length = strlen(path);
    LS_TRY(files_list(&names, &count, path));
    for (size_t i = 0; i < count; i++) {
        struct stat info;
        if (names[i][0] == '.')
            continue;
        LS_TRY(core_format(&inner, "%s%s%s", path, length > 0 && path[length - 1] == '/' ? "" : "/",
                           names[i]));
        if (lstat(inner, &info) != 0) {
            st = LS_FAIL(LS_IO, "%s: cannot look at: %s", inner, strerror(errno));
            goto done;
        }
        if (S_ISDIR(info.st_mode))
            LS_TRY(list_add_folder(list, inner));
        else if (!(S_ISLNK(info.st_mode) && files_is_folder(inner)))
            LS_TRY(list_add(list, inner, -1, 1));
        free(inner);
        inner = NULL;
    }
done:
    free(inner);
    files_list_free(&names, count);
    return st;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

ls_status list_add_input(struct list *list, const char *path)
{
    if (files_is_folder(path))
        return list_add_folder(list, path);
    if (!files_exists(path))
        return LS_FAIL(LS_IO, "%s: no such file or folder", path);
    if (ends_with(path, ".csv") || ends_with(path, ".txt"))
        return list_add_file(list, path);
    return list_add(list, path, -1, 1);
}
