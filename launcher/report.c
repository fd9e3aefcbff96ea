/* Reading a run for its report. */
#include "launcher/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/files.h"
#include "core/log.h"
#include "launcher/html.h"
#include "launcher/run_folder.h"

enum { CONFIG_BYTES_MAX = 4 << 20, LAST_LEAST = 20 };

int64_t report_last_steps(const struct report *report)
{
    int64_t count = report->history.count;
    int64_t last = count / 50 > LAST_LEAST ? count / 50 : LAST_LEAST;
    return count > last ? count - last : 0;
}

static void judge(struct report *report)
{
    const struct history *h = &report->history;
    struct report_health *health = &report->health;
    int64_t last = report_last_steps(report);
    const float *loss = history_find(h, "loss");
    const float *skipped = history_find(h, "skipped");
    run_health_judge(&health->features, h, &report->stages);
    health->cosine = history_range(history_find(h, "prediction_cosine"), last, h->count).mean;
    health->loss = history_range(loss, last, h->count).mean;
    health->loss_was =
        history_range(loss, 0, h->count < REPORT_EARLY_STEPS ? h->count : REPORT_EARLY_STEPS).mean;
    for (int64_t i = 0; skipped != NULL && i < h->count; i++)
        health->skipped_steps += skipped[i] > 0;
}

static void add_mark(struct report *report, int64_t step, const char *text)
{
    if (report->mark_count == REPORT_MARKS_MAX)
        return;
    struct chart_mark *mark = &report->marks[report->mark_count];
    char *copy = report->mark_texts[report->mark_count++];
    (void)snprintf(copy, sizeof report->mark_texts[0], "%s", text);
    *mark = (struct chart_mark){.step = step, .text = copy};
}

static void find_marks(struct report *report)
{
    char text[64];
    for (int i = 1; i < report->log->start_count; i++)
        if (report->log->starts[i].from_step > 0) {
            (void)snprintf(text, sizeof text, "start %d goes on from step %" PRId64, i + 1,
                           report->log->starts[i].from_step);
            add_mark(report, report->log->starts[i].from_step, text);
        }
    for (int i = 1; i < report->stages.count; i++) {
        (void)snprintf(text, sizeof text, "stage %d begins after step %" PRId64, i + 1,
                       report->stages.list[i]->first_step);
        add_mark(report, report->stages.list[i]->first_step, text);
    }
}

static void read_config(struct report *report)
{
    char *path = NULL;
    if (core_format(&path, "%s/config.yaml", report->run) == LS_OK && files_exists(path) &&
        files_read(&report->config, NULL, path, CONFIG_BYTES_MAX) == LS_OK &&
        config_stages_open(&report->stages, path, NULL, 0) == LS_OK &&
        config_stages_resolve(&report->stages) != LS_OK)
        config_stages_close(&report->stages);
    status_clear();
    free(path);
}

static time_t modified(const char *run, const char *name)
{
    char *path = NULL;
    struct stat info;
    time_t time = 0;
    if (core_format(&path, "%s/%s", run, name) == LS_OK && stat(path, &info) == 0)
        time = info.st_mtime;
    free(path);
    return time;
}

/* Which start of the log wrote the record EPOCH-RANK.json; -1: none that can be told.  Starts that
 * died before their first line have numbers, too, but no place in the log: then the file's time
 * tells. */
static int start_of(const struct report *report, const char *name, int64_t epoch, int64_t epochs)
{
    const struct run_log *log = report->log;
    char path[300];
    for (int i = 0; i < log->start_count; i++)
        if (log->starts[i].epoch == epoch)
            return i;
    if (epochs == log->start_count)
        return epoch <= epochs ? (int)epoch - 1 : -1;
    (void)snprintf(path, sizeof path, "ends/%s", name);
    time_t time = modified(report->run, path);
    for (int i = log->start_count - 1; i >= 0; i--)
        if (time >= log->starts[i].first)
            return log->starts[i].epoch == 0 ? i : -1;
    return -1;
}

static void take_end(struct report *report, const char *name, int64_t epochs)
{
    struct run_end *list = NULL;
    int count = 0;
    int64_t epoch = strtoll(name, NULL, 10);
    int start = epoch > 0 ? start_of(report, name, epoch, epochs) : -1;
    if (start < 0)
        return;
    if (run_ends_read(&list, &count, report->run, epoch) != LS_OK)
        status_clear();
    const struct run_end *cause = run_ends_cause(list, count);
    if (cause != NULL) {
        free(report->ends[start].message);
        report->ends[start] = *cause;
        report->ends[start].message = cause->message != NULL ? strdup(cause->message) : NULL;
    }
    run_ends_free(&list, count);
}

/* How each start ended, as far as its workers wrote it down. */
static ls_status read_ends(struct report *report)
{
    ls_status st = LS_OK;
    char *folder = NULL;
    char **names = NULL;
    size_t count = 0;
    int64_t epochs = 0;
    report->end_count = report->log->start_count;
    LS_TRY(core_alloc(&report->ends, report->end_count));
    for (int i = 0; i < report->end_count; i++)
        report->ends[i].status = LS_EOF;
    LS_TRY(core_format(&folder, "%s/ends", report->run));
    if (!files_is_folder(folder))
        goto done;
    LS_TRY(files_list(&names, &count, folder));
    if (run_folder_starts(&epochs, report->run) != LS_OK)
        status_clear();
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strtoll(names[i], NULL, 10) != strtoll(names[i - 1], NULL, 10))
            take_end(report, names[i], epochs);
done:
    files_list_free(&names, count);
    free(folder);
    return st;
}

static void sum_up(struct report *report)
{
    const struct history *h = &report->history;
    const float *seconds = history_find(h, "step_s");
    const float *rate = history_find(h, "clips_per_s");
    for (int64_t i = 0; i < h->count; i++) {
        if (seconds == NULL || !isfinite(seconds[i]))
            continue;
        report->step_seconds += seconds[i];
        if (rate != NULL && isfinite(rate[i]))
            report->clips += (double)seconds[i] * rate[i];
    }
    const struct run_log *log = report->log;
    bool runs = run_facts_say_it_runs(report->facts.state);
    report->ended = runs || log->start_count == 0 ? modified(report->run, "metrics.jsonl") : 0;
    if (log->start_count > 0 && log->starts[log->start_count - 1].last > report->ended)
        report->ended = log->starts[log->start_count - 1].last;
}

ls_status report_open(struct report *out, const char *run)
{
    ls_status st = LS_OK;
    memset(out, 0, sizeof *out);
    out->run = run;
    LS_TRY(run_facts_read(&out->facts, run));
    LS_TRY(history_open(&out->history, run));
    LS_TRY(run_log_open(&out->log, run));
    LS_TRY(skew_open(&out->skew, run));
    LS_TRY(probe_results_open(&out->probes, run));
    read_config(out);
    LS_TRY(read_ends(out));
    find_marks(out);
    sum_up(out);
    judge(out);
done:
    if (st != LS_OK)
        report_close(out);
    return st;
}

void report_close(struct report *report)
{
    for (int i = 0; i < report->end_count; i++)
        free(report->ends[i].message);
    free(report->ends);
    free(report->config);
    config_stages_close(&report->stages);
    probe_results_close(&report->probes);
    skew_close(&report->skew);
    run_log_close(&report->log);
    history_close(&report->history);
    run_facts_close(&report->facts);
    memset(report, 0, sizeof *report);
}

void report_print(FILE *out, const struct report *report, int refresh_s)
{
    char text[HTML_NUMBER_BYTES];
    const char *name = strrchr(report->run, '/');
    name = name != NULL && name[1] != '\0' ? name + 1 : report->run;
    html_begin(out, name, refresh_s);
    report_print_words(out, report);
    report_print_health(out, report);
    report_print_charts(out, report);
    report_print_starts(out, report);
    report_print_probes(out, report);
    report_print_events(out, report);
    report_print_videos(out, report);
    report_print_config(out, report);
    (void)fputs("<footer>Made by <code>lockstep report</code> at ", out);
    (void)fputs(html_time(text, time(NULL)), out);
    (void)fputs(
        " UTC. Lines are means over spans of steps, bands reach from the least to the largest "
        "value; point at a chart for its numbers. Dashed: a restart, or a new stage.",
        out);
    if (report->history.bad_lines > 0)
        (void)fprintf(out, " %" PRId64 " damaged lines of metrics.jsonl were passed over.",
                      report->history.bad_lines);
    (void)fputs("</footer>\n", out);
    html_end(out);
}
