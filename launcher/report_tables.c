/* What happened: starts and saves on a time line, warnings, videos, the config. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "launcher/html.h"
#include "launcher/report.h"

enum { WIDTH = 900, LEFT = 66, RIGHT = 10, SAVES_SHOWN = 300, STARTS_SHOWN = 60, ROW = 22 };

struct time_line {
    FILE *out;
    double first, last;
};

static double x_of(const struct time_line *line, time_t time)
{
    double share = ((double)time - line->first) / (line->last - line->first);
    return LEFT + fmin(fmax(share, 0), 1) * (WIDTH - LEFT - RIGHT);
}

static const char *end_words(const struct report *report, int start)
{
    bool newest = start == report->log->start_count - 1;
    const struct run_end *end = &report->ends[start];
    if (end->status == LS_OK)
        return "all steps done";
    if (end->status == LS_STOP)
        return "stopped, state saved";
    if (end->status == LS_EOF)
        return newest && run_facts_say_it_runs(report->facts.state) ? "runs" : "without a word";
    return end->message != NULL ? end->message : status_name(end->status);
}

static const char *end_class(const struct report *report, int start)
{
    bool newest = start == report->log->start_count - 1;
    ls_status status = report->ends[start].status;
    if (status == LS_OK)
        return "fgood";
    if (status == LS_STOP)
        return "a1";
    if (status == LS_EOF)
        return newest && run_facts_say_it_runs(report->facts.state) ? "a1" : "fwarn";
    return "fbad";
}

static time_t end_of(const struct report *report, int start)
{
    bool newest = start == report->log->start_count - 1;
    return newest ? report->ended : report->log->starts[start].last;
}

static void draw_starts(const struct time_line *line, const struct report *report)
{
    char text[HTML_NUMBER_BYTES];
    for (int i = 0; i < report->log->start_count; i++) {
        const struct run_log_start *start = &report->log->starts[i];
        double left = x_of(line, start->first);
        double width = fmax(x_of(line, end_of(report, i)) - left, 1.5);
        (void)fprintf(line->out,
                      "<rect class=\"%s\" x=\"%.1f\" y=\"4\" width=\"%.1f\" height=\"%d\" "
                      "fill-opacity=\".75\"><title>start %d, %s UTC\n",
                      end_class(report, i), left, width, ROW - 6, i + 1,
                      html_time(text, start->first));
        (void)fprintf(line->out, "%s\n",
                      html_duration(text, (double)(end_of(report, i) - start->first)));
        html_text(line->out, end_words(report, i));
        (void)fputs("</title></rect>", line->out);
    }
}

static void draw_saves(const struct time_line *line, const struct report *report)
{
    char text[HTML_NUMBER_BYTES];
    const struct run_log *log = report->log;
    int every = log->save_count / SAVES_SHOWN + 1;
    for (int i = 0; i < log->save_count; i++) {
        if (i % every != 0 && i != log->save_count - 1)
            continue;
        (void)fprintf(
            line->out,
            "<rect class=\"a3\" x=\"%.1f\" y=\"%d\" width=\"2.5\" height=\"%d\"><title>saved "
            "after step %s\n",
            x_of(line, log->saves[i].time) - 1.2, ROW + 4, ROW - 6,
            html_count(text, log->saves[i].step));
        (void)fprintf(line->out, "%s UTC</title></rect>", html_time(text, log->saves[i].time));
    }
}

static void draw_warnings(const struct time_line *line, const struct report *report)
{
    char text[HTML_NUMBER_BYTES];
    const struct run_log *log = report->log;
    int every = log->mark_count / SAVES_SHOWN + 1;
    for (int i = 0; i < log->mark_count; i++) {
        const struct run_log_mark *mark = &log->marks[i];
        if (i % every != 0 && !mark->error)
            continue;
        (void)fprintf(
            line->out, "<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"2.5\" height=\"%d\"><title>",
            mark->error ? "fbad" : "fwarn", x_of(line, mark->time) - 1.2, 2 * ROW + 4, ROW - 6);
        html_text(line->out, mark->text);
        (void)fprintf(line->out, "\n%s UTC</title></rect>", html_time(text, mark->time));
    }
}

static void draw_time_line(FILE *out, const struct report *report)
{
    static const char *const rows[] = {"workers", "saves", "warnings"};
    char text[HTML_NUMBER_BYTES];
    struct time_line line = {
        .out = out, .first = (double)report->log->starts[0].first, .last = (double)report->ended};
    if (!(line.last > line.first))
        line.last = line.first + 1;
    (void)fprintf(out,
                  "<figure class=\"wide\"><svg viewBox=\"0 0 %d %d\" "
                  "role=\"img\" aria-label=\"Time line\">",
                  WIDTH, 3 * ROW + 24);
    for (int i = 0; i < 3; i++)
        (void)fprintf(out,
                      "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text><path class=\"grid\" "
                      "d=\"M%d %dH%d\"/>",
                      LEFT - 8, i * ROW + ROW - 7, rows[i], LEFT, (i + 1) * ROW, WIDTH - RIGHT);
    draw_starts(&line, report);
    draw_saves(&line, report);
    draw_warnings(&line, report);
    for (int i = 0; i <= 3; i++) {
        time_t time = (time_t)(line.first + (line.last - line.first) * i / 3);
        (void)fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%s</text>",
                      x_of(&line, time), 3 * ROW + 18,
                      i == 0  ? "start"
                      : i < 3 ? "middle"
                              : "end",
                      html_time(text, time));
    }
    (void)fputs("</svg></figure>\n", out);
}

static void print_start(FILE *out, const struct report *report, int number)
{
    char text[HTML_NUMBER_BYTES];
    const struct run_log_start *start = &report->log->starts[number];
    (void)fprintf(out, "<tr><td class=\"n\">%d</td><td class=\"t\">%s</td>", number + 1,
                  html_time(text, start->first));
    (void)fprintf(out, "<td class=\"n\">%s</td>",
                  html_duration(text, (double)(end_of(report, number) - start->first)));
    (void)fprintf(out, "<td class=\"n\">%s</td>",
                  start->from_step >= 0 ? html_count(text, start->from_step) : "-");
    (void)fprintf(out, "<td class=\"n\">%s</td>",
                  start->ranks > 0 ? html_count(text, start->ranks) : "-");
    (void)fprintf(out, "<td class=\"n\">%s</td><td>", html_count(text, start->saves));
    html_text(out, end_words(report, number));
    (void)fputs("</td></tr>\n", out);
}

void report_print_starts(FILE *out, const struct report *report)
{
    int count = report->log->start_count;
    int first = count > STARTS_SHOWN ? count - STARTS_SHOWN : 0;
    if (count == 0)
        return;
    (void)fputs("<h2>Starts and saves</h2>\n", out);
    draw_time_line(out, report);
    if (first > 0)
        (void)fprintf(out, "<p class=\"soft\">The last %d of %d starts:</p>\n", STARTS_SHOWN,
                      count);
    (void)fputs(
        "<div class=\"scroll\"><table><tr><th class=\"n\">start</th><th>began (UTC)</th>"
        "<th class=\"n\">lasted</th><th class=\"n\">from step</th><th class=\"n\">ranks</th>"
        "<th class=\"n\">saves</th><th>ended</th></tr>\n",
        out);
    for (int i = first; i < count; i++)
        print_start(out, report, i);
    (void)fputs("</table></div>\n", out);
}

static void print_kind(FILE *out, const struct run_log_kind *kind)
{
    char text[HTML_NUMBER_BYTES];
    (void)fprintf(out, "<tr><td class=\"t %s\">", kind->error ? "bad" : "warn");
    html_text(out, kind->name);
    (void)fprintf(out, "</td><td class=\"n\">%s</td><td class=\"n\">",
                  html_count(text, kind->count));
    if (kind->first_step >= 0)
        (void)fputs(html_count(text, kind->first_step), out);
    if (kind->last_step > kind->first_step)
        (void)fprintf(out, " to %s", html_count(text, kind->last_step));
    (void)fputs("</td><td><code>", out);
    html_text(out, kind->text);
    (void)fputs("</code></td></tr>\n", out);
}

void report_print_events(FILE *out, const struct report *report)
{
    const struct run_log *log = report->log;
    (void)fputs("<h2>Warnings</h2>\n", out);
    if (log->kind_count == 0) {
        (void)fputs("<p class=\"soft\">None.</p>\n", out);
        return;
    }
    (void)fputs("<div class=\"scroll\"><table><tr><th>what</th><th class=\"n\">times</th>"
                "<th class=\"n\">steps</th><th>the last</th></tr>\n",
                out);
    for (int i = 0; i < log->kind_count; i++)
        print_kind(out, &log->kinds[i]);
    (void)fputs("</table></div>\n", out);
    if (log->kinds_lost > 0)
        (void)fprintf(out, "<p class=\"soft\">And %" PRId64 " of other kinds; see RUN/log.</p>\n",
                      log->kinds_lost);
}

void report_print_config(FILE *out, const struct report *report)
{
    if (report->config == NULL)
        return;
    (void)fputs("<h2>Config</h2>\n<details><summary>As it was understood, with all defaults"
                "</summary>\n<pre>",
                out);
    html_text(out, report->config);
    (void)fputs("</pre></details>\n", out);
}
