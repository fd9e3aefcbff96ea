/* `lockstep report`: the page, once or for as long as the run runs. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/files.h"
#include "launcher/commands.h"
#include "launcher/report.h"
#include "launcher/stop_signals.h"

struct report_options {
    struct option_list paths; /* one */
    const char *output;
    bool watch;
    int64_t every_s;
};

static const double LOOK_S = 0.25;

/* Write the page of the run as it is; `*runs`: it may get longer yet. */
static ls_status write_page(bool *runs, const char *run, const char *path, int refresh_s)
{
    ls_status st = LS_OK;
    struct report report;
    char *text = NULL;
    size_t bytes = 0;
    FILE *page = NULL;
    LS_TRY(report_open(&report, run));
    *runs = run_facts_say_it_runs(report.facts.state) || strcmp(report.facts.state, "waiting") == 0;
    page = open_memstream(&text, &bytes);
    if (page != NULL)
        report_print(page, &report, *runs ? refresh_s : 0);
    report_close(&report);
    if (page == NULL || fclose(page) != 0) {
        st = LS_FAIL(LS_NOMEM, "out of memory for the report of %s", run);
        goto done;
    }
    LS_TRY(files_replace(path, text, bytes));
done:
    free(text);
    return st;
}

static void pause_between(double seconds)
{
    for (double until = clock_now_s() + seconds; clock_now_s() < until && !stop_asked();)
        clock_sleep_s(LOOK_S);
}

static ls_status run_report(const void *given)
{
    ls_status st = LS_OK;
    const struct report_options *options = given;
    const char *run = options->paths.values[0];
    char *path = NULL;
    bool runs = false;
    if (options->output != NULL)
        LS_TRY(core_format(&path, "%s", options->output));
    else
        LS_TRY(core_format(&path, "%s/report.html", run));
    LS_TRY(write_page(&runs, run, path, options->watch ? (int)options->every_s : 0));
    (void)printf("%s\n", path);
    (void)fflush(stdout);
    if (options->watch)
        LS_TRY(stop_signals_catch());
    while (options->watch && runs && !stop_asked()) {
        pause_between((double)options->every_s);
        LS_TRY(write_page(&runs, run, path, stop_asked() ? 0 : (int)options->every_s));
    }
done:
    free(path);
    return st;
}

static const struct option report_table[] = {
    {.name = "output",
     .letter = 'o',
     .type = OPTION_TEXT,
     .offset = offsetof(struct report_options, output),
     .word = "FILE",
     .help = "Where the page goes; without it RUN/report.html."},
    {.name = "watch",
     .type = OPTION_FLAG,
     .offset = offsetof(struct report_options, watch),
     .help = "Write it again and again until the run has ended, or Ctrl-C; a browser that shows it "
             "keeps up."},
    {.name = "every",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct report_options, every_s),
     .word = "SECONDS",
     .initial = "10",
     .low = 1,
     .high = 86400,
     .help = "With --watch: seconds between two writings."},
};

const struct command command_report = {
    .name = "report",
    .arguments = "RUN",
    .summary = "writes an HTML page about a run: curves, speed, restarts, warnings",
    .details = "Writes one HTML file without links to the outside about a run, finished or not: "
               "whether its features collapse, loss, schedules, speed, where a step's time goes, "
               "rank skew, starts and saves, warnings, skipped videos, probes, and the config.",
    .arguments_least = 1,
    .arguments_most = 1,
    .arguments_offset = offsetof(struct report_options, paths),
    .options = report_table,
    .option_count = sizeof report_table / sizeof report_table[0],
    .bytes = sizeof(struct report_options),
    .run = run_report,
};
