/* What other files tell of a run: videos that were passed over. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "launcher/html.h"
#include "launcher/report.h"

enum { FIELDS = 3, ROWS_SHOWN = 50 };

/* The first fields of an RFC 4180 line, in place: file, status, reason.  A field may hold line
 * breaks; the caller gives the whole record.  Returns how many there were. */
static int split(char **fields, char *record)
{
    int count = 0;
    char *at = record;
    while (count < FIELDS) {
        bool quoted = *at == '"';
        char *out = at;
        fields[count++] = at;
        if (quoted)
            at++;
        while (*at != '\0' && (quoted || (*at != ',' && *at != '\r' && *at != '\n'))) {
            if (quoted && *at == '"' && *++at != '"') {
                quoted = false;
                continue;
            }
            *out++ = *at++;
        }
        bool more = *at == ',';
        *out = '\0';
        if (!more)
            break;
        at++;
    }
    return count;
}

/* Whether all quotes of the text are closed: a record may go over several lines. */
static bool is_whole(const char *text)
{
    int quotes = 0;
    for (; *text != '\0'; text++)
        quotes += *text == '"';
    return quotes % 2 == 0;
}

/* A CSV record into `*record`; false at the end of the file. */
static bool next_record(char **record, size_t *room, FILE *file)
{
    char *line = NULL;
    size_t line_room = 0;
    ssize_t length = getline(record, room, file);
    while (length >= 0 && !is_whole(*record)) {
        ssize_t added = getline(&line, &line_room, file);
        char *wider = added >= 0 ? realloc(*record, (size_t)(length + added) + 1) : NULL;
        if (wider == NULL)
            break;
        memcpy(wider + length, line, (size_t)added + 1);
        *record = wider;
        length += added;
        *room = (size_t)length + 1;
    }
    free(line);
    return length >= 0;
}

/* What is shown of the videos that packing passed over, up to now. */
struct skipped {
    FILE *out;
    int64_t count;
};

static void print_skipped(struct skipped *skipped, char *const *fields)
{
    if (skipped->count++ >= ROWS_SHOWN)
        return;
    if (skipped->count == 1)
        (void)fputs(
            "<div class=\"scroll\"><table><tr><th>file</th><th>not packed because</th></tr>\n",
            skipped->out);
    (void)fputs("<tr><td>", skipped->out);
    html_text(skipped->out, fields[0]);
    (void)fputs("</td><td>", skipped->out);
    html_text(skipped->out, fields[2]);
    (void)fputs("</td></tr>\n", skipped->out);
}

/* The report that packing left in a dataset's folder, where there is one. */
static void print_pack_report(struct skipped *skipped, const char *folder)
{
    char *path = NULL;
    char *record = NULL;
    size_t room = 0;
    FILE *file = NULL;
    if (core_format(&path, "%s/pack-report.csv", folder) == LS_OK)
        file = fopen(path, "re");
    while (file != NULL && next_record(&record, &room, file)) {
        char *fields[FIELDS];
        if (split(fields, record) == FIELDS && strcmp(fields[1], "skipped") == 0)
            print_skipped(skipped, fields);
    }
    if (file != NULL)
        (void)fclose(file);
    free(record);
    free(path);
}

/* Datasets that were packed for this run. */
static void print_packed(struct skipped *skipped, const char *folder)
{
    char **names = NULL;
    size_t count = 0;
    if (!files_is_folder(folder) || files_list(&names, &count, folder) != LS_OK) {
        status_clear();
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char *path = NULL;
        if (core_format(&path, "%s/%s", folder, names[i]) == LS_OK)
            print_pack_report(skipped, path);
        free(path);
    }
    files_list_free(&names, count);
}

static bool named_before(const struct config_stages *stages, int stage, int dataset)
{
    const char *path = stages->list[stage]->data.datasets[dataset].path;
    for (int s = 0; s <= stage; s++)
        for (int d = 0; d < (s < stage ? stages->list[s]->data.dataset_count : dataset); d++)
            if (strcmp(stages->list[s]->data.datasets[d].path, path) == 0)
                return true;
    return false;
}

static void print_replaced(FILE *out, const struct run_log *log)
{
    if (log->videos_replaced == 0)
        return;
    (void)fprintf(out,
                  "<p>%" PRId64 " could not be read while training; other draws took their "
                  "place:</p>\n<div class=\"scroll\"><table>\n",
                  log->videos_replaced);
    for (int i = 0; i < log->video_count; i++) {
        (void)fputs("<tr><td><code>", out);
        html_text(out, log->videos[i]);
        (void)fputs("</code></td></tr>\n", out);
    }
    (void)fputs("</table></div>\n", out);
}

void report_print_videos(FILE *out, const struct report *report)
{
    struct skipped skipped = {.out = out};
    const struct config_stages *stages = &report->stages;
    char *folder = NULL;
    (void)fputs("<h2>Videos that were passed over</h2>\n", out);
    print_replaced(out, report->log);
    for (int s = 0; s < stages->count; s++)
        for (int d = 0; d < stages->list[s]->data.dataset_count; d++)
            if (!named_before(stages, s, d))
                print_pack_report(&skipped, stages->list[s]->data.datasets[d].path);
    const char *packed = stages->count > 0 ? stages->list[0]->data.packed_folder : NULL;
    if (core_format(&folder, "%s%s", packed != NULL ? packed : report->run,
                    packed != NULL ? "" : "/datasets") == LS_OK)
        print_packed(&skipped, folder);
    free(folder);
    if (skipped.count > 0)
        (void)fputs("</table></div>\n", out);
    if (skipped.count > ROWS_SHOWN)
        (void)fprintf(out,
                      "<p class=\"soft\">%d of %" PRId64 "; pack-report.csv of the dataset has "
                      "all.</p>\n",
                      ROWS_SHOWN, skipped.count);
    if (skipped.count == 0 && report->log->videos_replaced == 0)
        (void)fputs("<p class=\"soft\">None.</p>\n", out);
}
