/* What the run did and how it stands, in sentences and in figures. */
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/html.h"
#include "launcher/report.h"

static const char *state_words(const struct report *report)
{
    static const struct {
        const char *state, *words;
    } all[] = {{"finished", "has finished"},      {"failed", "has failed"},
               {"stopped", "was stopped"},        {"running", "is running"},
               {"restarting", "is restarting"},   {"stopping", "is stopping"},
               {"waiting", "waits in the queue"}, {"lost", "ended without a word"}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(report->facts.state, all[i].state) == 0)
            return all[i].words;
    const struct run_facts *facts = &report->facts;
    bool done = facts->total_steps > 0 && facts->progress.step >= facts->total_steps;
    return done ? "has finished" : "stands";
}

static int64_t last_step(const struct report *report)
{
    const struct history *h = &report->history;
    return h->count > 0 ? h->steps[h->count - 1] : 0;
}

static void print_model(FILE *out, const struct report *report)
{
    if (report->stages.count == 0)
        return;
    int stage = config_stages_at(&report->stages, last_step(report));
    const struct config *c = report->stages.list[stage];
    (void)fputs(" of ", out);
    if (strcmp(c->model.model_name, "custom") == 0)
        (void)fprintf(out, "a model of width %d and depth %d", c->model.embed_dim, c->model.depth);
    else
        html_text(out, c->model.model_name);
    (void)fprintf(out, " on clips of %d x %d x %d",
                  c->data.dataset_count > 0 ? c->data.datasets[0].frames_per_clip : 0,
                  c->data.crop_height, c->data.crop_width);
}

/* The first sentence: what was done. */
static void print_done(FILE *out, const struct report *report)
{
    char text[HTML_NUMBER_BYTES];
    int64_t total = report->facts.total_steps;
    int64_t step = last_step(report);
    const struct run_log *log = report->log;
    (void)fputs("This run", out);
    print_model(out, report);
    (void)fprintf(out, " %s", state_words(report));
    if (report->history.count == 0) {
        (void)fputs(" before its first step.", out);
        return;
    }
    (void)fprintf(out, " after step %s", html_count(text, step));
    if (total > 0)
        (void)fprintf(out, " of %s (%.0f %%)", html_count(text, total),
                      100.0 * (double)step / (double)total);
    if (report->clips > 0) {
        (void)fprintf(out, ": it saw %s clips", html_count(text, (int64_t)(report->clips + 0.5)));
        (void)fprintf(out, " in %s of steps", html_duration(text, report->step_seconds));
        (void)fprintf(out, ", %s clips/s", html_number(text, report->clips / report->step_seconds));
    }
    if (log->start_count > 1)
        (void)fprintf(out, ", in %d starts", log->start_count);
    (void)fputs(".", out);
}

static void print_share(FILE *out, const char *name, double now, double early)
{
    char text[HTML_NUMBER_BYTES];
    if (!isfinite(now) || !(early > 0))
        return;
    (void)fprintf(out, "%s %s, %.0f %% of its first value", name, html_number(text, now),
                  100 * now / early);
}

/* Both figures against their first values, the deciding one first. */
static void print_shares(FILE *out, const struct report_health *health)
{
    const struct collapse_signs *s = &health->features.signs;
    bool rank_first =
        health->features.reason != NULL && strcmp(health->features.reason, "target_rank") == 0;
    bool both = isfinite(s->std) && isfinite(s->rank);
    if (rank_first)
        print_share(out, "target_rank", s->rank, s->early_rank);
    else
        print_share(out, "target_std", s->std, s->early_std);
    if (both) {
        (void)fputs("; ", out);
        if (rank_first)
            print_share(out, "target_std", s->std, s->early_std);
        else
            print_share(out, "target_rank", s->rank, s->early_rank);
    }
}

/* What the first probe says, which is the only word on how good features are. */
static void print_probe(FILE *out, const struct report *report)
{
    const struct probe_result *found = NULL;
    for (int i = 0; i < report->probes.count && found == NULL; i++)
        if (!report->probes.list[i].random && isfinite(report->probes.list[i].top1))
            found = &report->probes.list[i];
    if (found == NULL) {
        (void)fputs("whether they are good only a probe can tell.", out);
        return;
    }
    const struct probe_result *random = probe_results_random(&report->probes, found);
    (void)fprintf(out, "a probe of them is right in %.1f %% of its test videos", 100 * found->top1);
    if (random != NULL && isfinite(random->top1))
        (void)fprintf(out, ", of an untrained encoder in %.1f %%", 100 * random->top1);
    (void)fputs(".", out);
}

/* A collapse that the run warned of, where the figures of now are no worse than a healthy run's: it
 * may have recovered, or show in what they do not tell (one direction holds what clips differ in).
 */
static bool print_warned(FILE *out, const struct report *report)
{
    static const char name[] = "collapse by ";
    const struct run_log_kind *found = NULL;
    for (int i = 0; i < report->log->kind_count; i++)
        if (strncmp(report->log->kinds[i].name, name, sizeof name - 1) == 0)
            found = &report->log->kinds[i];
    if (found == NULL)
        return false;
    (void)fprintf(out,
                  "<b class=\"warn\">the run warned of a collapse after step %" PRId64 "</b> (by ",
                  found->last_step);
    html_text(out, found->name + sizeof name - 1);
    (void)fputs("; now ", out);
    print_shares(out, &report->health);
    (void)fputs("): see its warnings below; ", out);
    print_probe(out, report);
    return true;
}

/* The second sentence: how it stands. */
static void print_verdict(FILE *out, const struct report *report)
{
    char text[HTML_NUMBER_BYTES];
    const struct report_health *health = &report->health;
    if (!isfinite(health->loss)) {
        (void)fputs(report->history.count > 0 ? "Its loss is not finite." : "", out);
        return;
    }
    if (report->history.count <= REPORT_EARLY_STEPS) {
        (void)fprintf(out, "The loss is %s, and ", html_number(text, health->loss));
    } else {
        (void)fprintf(out, "The loss %s from %s", health->loss < health->loss_was ? "fell" : "rose",
                      html_number(text, health->loss_was));
        (void)fprintf(out, " to %s, and ", html_number(text, health->loss));
    }
    switch (health->features.state) {
    case COLLAPSE_FULL:
        (void)fputs("<b class=\"bad\">the features have collapsed</b> (", out);
        print_shares(out, health);
        (void)fputs("): what the encoder gives hardly depends on the clip any more.", out);
        break;
    case COLLAPSE_NEAR:
        (void)fputs("<b class=\"warn\">the features have lost much of their spread</b> (", out);
        print_shares(out, health);
        (void)fputs("): they may be about to collapse.", out);
        break;
    case COLLAPSE_NONE:
        if (print_warned(out, report))
            break;
        (void)fputs("<b class=\"good\">the features have not collapsed</b> (", out);
        print_shares(out, health);
        (void)fputs("); ", out);
        print_probe(out, report);
        break;
    case COLLAPSE_UNKNOWN:
        (void)fputs("it is too early to tell whether its features collapse; ", out);
        print_probe(out, report);
    }
}

/* How the run was last heard of, where that needs words. */
static void print_reason(FILE *out, const struct report *report)
{
    const struct job_file *file = &report->facts.file;
    if (file->message[0] != '\0') {
        (void)fputs("<p class=\"bad\">", out);
        html_text(out, file->message);
        (void)fputs("</p>\n", out);
    }
    if (file->restarts > 0 && file->loss[0] != '\0') {
        (void)fprintf(out,
                      "<p class=\"soft\">Workers were started again %d time%s by the newest "
                      "launcher, last because: ",
                      file->restarts, file->restarts > 1 ? "s" : "");
        html_text(out, file->loss);
        (void)fputs("</p>\n", out);
    }
}

static void tile(FILE *out, const char *label, const char *value)
{
    (void)fprintf(out, "<div class=\"tile\"><b>%s</b><span>%s</span></div>\n", value, label);
}

static void tile_last(FILE *out, const struct report *report, const char *label, const char *series)
{
    char text[HTML_NUMBER_BYTES];
    const struct history *h = &report->history;
    struct history_range range =
        history_range(history_find(h, series), report_last_steps(report), h->count);
    if (range.count > 0)
        tile(out, label, html_number(text, range.mean));
}

static void print_tiles(FILE *out, const struct report *report)
{
    char text[HTML_NUMBER_BYTES];
    const struct history *h = &report->history;
    int64_t last = report_last_steps(report);
    (void)fputs("<div class=\"tiles\">\n", out);
    tile_last(out, report, "loss", "loss");
    tile_last(out, report, "target_std", "target_std");
    if (isfinite(report->health.features.signs.rank))
        tile(out, "target_rank", html_number(text, report->health.features.signs.rank));
    tile_last(out, report, "prediction cosine", "prediction_cosine");
    tile_last(out, report, "clips/s", "clips_per_s");
    struct history_range wait = history_range(history_find(h, "data_wait_s"), last, h->count);
    struct history_range step = history_range(history_find(h, "step_s"), last, h->count);
    if (step.mean > 0) {
        tile(out, "a step", html_duration(text, step.mean));
        (void)snprintf(text, sizeof text, "%.1f %%", 100 * wait.mean / step.mean);
        if (wait.count > 0)
            tile(out, "of it waiting for data", text);
    }
    if (report->facts.saved_step >= 0)
        tile(out, "last step saved", html_count(text, report->facts.saved_step));
    if (report->log->start_count > 0)
        tile(out, "starts", html_count(text, report->log->start_count));
    if (report->health.skipped_steps > 0)
        tile(out, "steps skipped: not finite", html_count(text, report->health.skipped_steps));
    (void)fputs("</div>\n", out);
}

void report_print_words(FILE *out, const struct report *report)
{
    (void)fputs("<header>\n<h1>", out);
    html_text(out, report->run);
    (void)fputs("</h1>\n<p class=\"lead\">", out);
    print_done(out, report);
    (void)fputs(" ", out);
    print_verdict(out, report);
    (void)fputs("</p>\n", out);
    print_reason(out, report);
    (void)fputs("</header>\n", out);
    if (report->history.count > 0)
        print_tiles(out, report);
}

void report_print_health(FILE *out, const struct report *report)
{
    const struct report_health *health = &report->health;
    const struct history *h = &report->history;
    char text[HTML_NUMBER_BYTES];
    struct history_range std = history_range(history_find(h, "target_std"), 0, h->count);
    if (health->features.state == COLLAPSE_UNKNOWN)
        return;
    (void)fputs("<h2>Is it healthy?</h2>\n<p>", out);
    (void)fputs(
        "The target is the model's own, so a falling loss alone proves nothing: it also falls "
        "when the features collapse. ",
        out);
    (void)fprintf(out, "The spread of the target features was %s at first, ",
                  html_number(text, health->features.signs.early_std));
    (void)fprintf(out, "%s at the least ", html_number(text, std.least));
    (void)fprintf(out, "and is %s now", html_number(text, health->features.signs.std));
    if (isfinite(health->features.signs.rank)) {
        (void)fprintf(out, "; they used %s directions",
                      html_number(text, health->features.signs.early_rank));
        (void)fprintf(out, " and use %s now", html_number(text, health->features.signs.rank));
    }
    (void)fputs(". ", out);
    if (health->cosine > 0.98)
        (void)fprintf(out,
                      "Predictions are nearly all alike (cosine %.3f to their mean): the predictor "
                      "says the mean so far. That is usual in the first thousand steps, and a bad "
                      "sign later. ",
                      health->cosine);
    if (health->skipped_steps > 0)
        (void)fprintf(
            out, "%s step%s had a loss or gradient that was not finite and changed nothing. ",
            html_count(text, health->skipped_steps), health->skipped_steps > 1 ? "s" : "");
    if (health->features.state >= COLLAPSE_NEAR)
        (void)fputs("<b>What helps:</b> a lower <code>optimization.lr</code>, a slower target "
                    "(<code>optimization.ema</code> nearer to 1), a longer warm-up, "
                    "<code>model.init_std</code> about 0.02 x sqrt(1024 / width). Go back to a "
                    "checkpoint from before the fall.",
                    out);
    (void)fputs("</p>\n", out);
}
