/* What `lockstep report` knows of a run, and the page it makes of it. */
#ifndef LOCKSTEP_LAUNCHER_REPORT_H
#define LOCKSTEP_LAUNCHER_REPORT_H

#include <stdio.h>
#include <time.h>

#include "core/config_stages.h"
#include "core/run.h"
#include "launcher/chart.h"
#include "launcher/history.h"
#include "launcher/probe_results.h"
#include "launcher/run_facts.h"
#include "launcher/run_health.h"
#include "launcher/run_log.h"
#include "launcher/skew.h"

enum { REPORT_MARKS_MAX = 40, REPORT_EARLY_STEPS = 10 };

/* How the features stand. */
struct report_health {
    struct run_health features;
    double cosine;         /* of the last steps; NaN: unknown */
    double loss, loss_was; /* of the last steps, of the first ones */
    int64_t skipped_steps; /* that were not finite */
};

struct report {
    const char *run; /* as it was given; borrowed */
    struct run_facts facts;
    struct history history;
    struct run_log *log;
    struct skew skew;
    struct probe_results probes;
    struct config_stages stages; /* none where the config cannot be read */
    char *config;                /* its text; NULL: none */
    struct run_end *ends;        /* how each start ended, by start; status LS_EOF: not told */
    int end_count;
    struct report_health health;
    struct chart_mark marks[REPORT_MARKS_MAX]; /* restarts and stages */
    char mark_texts[REPORT_MARKS_MAX][64];
    int mark_count;
    double step_seconds, clips; /* of all steps in the metrics */
    time_t ended;               /* of the newest sign of life; 0: none */
};

/* Read all that is there; what is missing or damaged is left out.  Close with report_close.  Local.
 * Errors: LS_USAGE when `run` is no run folder; LS_IO, LS_NOMEM. */
ls_status report_open(struct report *out, const char *run) LS_MUST_CHECK;
void report_close(struct report *report);

/* The page.  `refresh_s`: a browser loads it again after as many seconds; 0: it is final.  Local.
 */
void report_print(FILE *out, const struct report *report, int refresh_s);

/* Its parts: words (report_words.c), charts (report_charts.c), time line and tables
 * (report_tables.c). */
void report_print_words(FILE *out, const struct report *report);
void report_print_health(FILE *out, const struct report *report);
void report_print_charts(FILE *out, const struct report *report);
void report_print_starts(FILE *out, const struct report *report);
void report_print_events(FILE *out, const struct report *report);
void report_print_videos(FILE *out, const struct report *report);
void report_print_probes(FILE *out, const struct report *report);
void report_print_config(FILE *out, const struct report *report);

/* From where on the steps are "the last ones", for means.  Local. */
int64_t report_last_steps(const struct report *report);

#endif
