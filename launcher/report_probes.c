/* RUN/probe/: each file is one JSON object; what it says is shown as it stands, so that a new
 * figure needs no line here. */
#include <cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "launcher/html.h"
#include "launcher/report.h"

enum { FILE_BYTES_MAX = 16 << 20, ROWS_MOST = 60, LIST_MOST = 12, DEPTH_MOST = 2 };

static void print_value(FILE *out, const cJSON *item)
{
    char text[HTML_NUMBER_BYTES];
    if (cJSON_IsNumber(item))
        (void)fputs(html_number(text, item->valuedouble), out);
    else if (cJSON_IsString(item))
        html_text(out, item->valuestring);
    else
        (void)fputs(cJSON_IsTrue(item) ? "yes" : cJSON_IsFalse(item) ? "no" : "-", out);
}

static bool is_plain(const cJSON *item)
{
    return !cJSON_IsArray(item) && !cJSON_IsObject(item);
}

/* A short list of plain values in one row; longer ones, such as a confusion matrix, stay in the
 * file. */
static void print_list(FILE *out, const cJSON *list)
{
    int count = cJSON_GetArraySize(list);
    const cJSON *item = NULL;
    bool plain = count <= LIST_MOST;
    cJSON_ArrayForEach(item, list) plain = plain && is_plain(item);
    if (!plain) {
        (void)fprintf(out, "<span class=\"soft\">%d values, see the file</span>", count);
        return;
    }
    cJSON_ArrayForEach(item, list)
    {
        print_value(out, item);
        if (item->next != NULL)
            (void)fputs(", ", out);
    }
}

static void print_rows(FILE *out, const cJSON *object, const char *before, int depth, int *rows)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, object)
    {
        char name[200];
        (void)snprintf(name, sizeof name, "%s%s%s", before, before[0] != '\0' ? "." : "",
                       item->string != NULL ? item->string : "");
        if (cJSON_IsObject(item) && depth < DEPTH_MOST) {
            print_rows(out, item, name, depth + 1, rows);
            continue;
        }
        if ((*rows)++ >= ROWS_MOST)
            return;
        (void)fputs("<tr><td>", out);
        html_text(out, name);
        (void)fputs("</td><td>", out);
        if (cJSON_IsArray(item))
            print_list(out, item);
        else
            print_value(out, item);
        (void)fputs("</td></tr>\n", out);
    }
}

static void print_file(FILE *out, const char *folder, const char *name)
{
    char *path = NULL;
    char *text = NULL;
    cJSON *json = NULL;
    int rows = 0;
    if (core_format(&path, "%s/%s", folder, name) == LS_OK &&
        files_read(&text, NULL, path, FILE_BYTES_MAX) == LS_OK)
        json = cJSON_Parse(text);
    status_clear();
    if (cJSON_IsObject(json)) {
        (void)fputs("<h3>", out);
        html_text(out, name);
        (void)fputs("</h3>\n<div class=\"scroll\"><table>\n", out);
        print_rows(out, json, "", 0, &rows);
        (void)fputs("</table></div>\n", out);
    }
    cJSON_Delete(json);
    free(text);
    free(path);
}

void report_print_probes(FILE *out, const struct report *report)
{
    char *folder = NULL;
    char **names = NULL;
    size_t count = 0;
    (void)fputs("<h2>Probes</h2>\n", out);
    if (core_format(&folder, "%s/probe", report->run) == LS_OK && files_is_folder(folder) &&
        files_list(&names, &count, folder) != LS_OK)
        status_clear();
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(names[i]);
        if (length < 5 || strcmp(names[i] + length - 5, ".json") != 0)
            continue;
        print_file(out, folder, names[i]);
        any = true;
    }
    if (!any)
        (void)fputs(
            "<p class=\"soft\">None yet: how good the features are, nobody has measured.</p>\n",
            out);
    files_list_free(&names, count);
    free(folder);
}
