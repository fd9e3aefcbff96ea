/* The curves: what was learnt, by what schedule, how fast, and where the time went. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "launcher/report.h"

enum { GROUPS_SHOWN = 4 };

/* Dense bf16 products, without sparsity, as NVIDIA's data sheets say; other cards have no figure
 * here, and so no utilisation. */
static const struct {
    const char *name; /* in the card's own name */
    double flops;
} peaks[] = {{"H100 PCIe", 756e12},
             {"H100 NVL", 835e12},
             {"H100", 989e12},
             {"H200", 989e12},
             {"A100", 312e12}};

static struct chart chart_of(const struct report *report, const char *title, const char *unit)
{
    return (struct chart){.title = title,
                          .unit = unit,
                          .steps = report->history.steps,
                          .count = report->history.count,
                          .marks = report->marks,
                          .mark_count = report->mark_count};
}

static void add(struct chart *chart, const struct report *report, const char *series,
                const char *name)
{
    chart->series[chart->series_count++] =
        (struct chart_series){.name = name, .values = history_find(&report->history, series)};
}

/* A chart of one series of the metrics. */
static void draw_one(FILE *out, const struct report *report, const char *series, const char *title,
                     const char *unit, bool log_scale, bool from_zero)
{
    struct chart chart = chart_of(report, title, unit);
    add(&chart, report, series, "");
    chart.log_scale = log_scale;
    chart.from_zero = from_zero;
    chart_draw(out, &chart);
}

static void draw_loss(FILE *out, const struct report *report)
{
    static const char *const names[GROUPS_SHOWN] = {"group 0", "group 1", "group 2", "group 3"};
    static const char *const series[GROUPS_SHOWN] = {"loss_groups/0", "loss_groups/1",
                                                     "loss_groups/2", "loss_groups/3"};
    struct chart chart = chart_of(report, "Loss", "");
    add(&chart, report, "loss", "all");
    for (int g = 0; g < GROUPS_SHOWN; g++)
        add(&chart, report, series[g], names[g]);
    chart_draw(out, &chart);
}

/* Peak of all cards of the run; NaN where it is not known. */
static double find_peak(const struct report *report)
{
    const struct run_log *log = report->log;
    int ranks = log->start_count > 0 ? log->starts[log->start_count - 1].ranks : 0;
    bool bf16 = report->stages.count > 0 && report->stages.list[0]->meta.dtype == CONFIG_BFLOAT16;
    const char *card = strstr(log->device, "card=\"");
    if (ranks < 1 || !bf16 || card == NULL)
        return NAN;
    for (size_t i = 0; i < sizeof peaks / sizeof peaks[0]; i++)
        if (strstr(card, peaks[i].name) != NULL)
            return peaks[i].flops * ranks;
    return NAN;
}

/* FLOP/s against the cards' peak, or in themselves where no peak is known. */
static void draw_flops(FILE *out, const struct report *report)
{
    const struct history *h = &report->history;
    const float *flops = history_find(h, "flops_per_s");
    double peak = find_peak(report);
    float *share = NULL;
    struct chart chart = chart_of(report, "Model FLOP/s", "FLOP/s");
    chart.from_zero = true;
    chart.series_count = 1;
    chart.series[0] = (struct chart_series){.name = "", .values = flops};
    chart.hint = "counted without padding and recomputation; no peak is known for this device";
    if (isfinite(peak) && flops != NULL && core_alloc(&share, h->count) == LS_OK) {
        for (int64_t i = 0; i < h->count; i++)
            share[i] = (float)(100 * flops[i] / peak);
        chart.title = "Utilisation";
        chart.unit = "%";
        chart.hint = "model FLOPs over the cards' dense bf16 peak (NVIDIA's figure)";
        chart.series[0].values = share;
    }
    chart_draw(out, &chart);
    free(share);
}

/* What a step's time is waited for, and the rest of it. */
static void draw_parts(FILE *out, const struct report *report)
{
    const struct history *h = &report->history;
    const float *step = history_find(h, "step_s");
    const float *data = history_find(h, "data_wait_s");
    const float *comm = history_find(h, "comm_wait_s");
    const float *ranks = history_find(h, "rank_wait_s");
    float *rest = NULL;
    if (step == NULL || data == NULL || comm == NULL || ranks == NULL)
        return;
    if (core_alloc(&rest, h->count) != LS_OK) {
        status_clear();
        return;
    }
    for (int64_t i = 0; i < h->count; i++)
        rest[i] = fmaxf(step[i] - data[i] - comm[i] - ranks[i], 0);
    struct chart chart = chart_of(report, "Where a step's time goes", "s");
    chart.stacked = true;
    chart.series_count = 4;
    chart.series[0] = (struct chart_series){.name = "computing", .values = rest};
    chart.series[1] = (struct chart_series){.name = "waits for data", .values = data};
    chart.series[2] = (struct chart_series){.name = "for the network", .values = comm};
    chart.series[3] = (struct chart_series){.name = "for slower ranks", .values = ranks};
    chart_draw(out, &chart);
    free(rest);
}

void report_print_charts(FILE *out, const struct report *report)
{
    if (report->history.count == 0)
        return;
    (void)fputs("<h2>Learning</h2>\n<div class=\"charts\">\n", out);
    draw_loss(out, report);
    draw_one(out, report, "target_std", "Spread of the targets (target_std)", "", false, true);
    draw_one(out, report, "target_rank", "Directions they use (target_rank)", "", false, true);
    draw_one(out, report, "prediction_cosine", "Likeness of predictions (cosine)", "", false,
             false);
    draw_one(out, report, "grad_norm", "Gradient norm", "", true, false);
    (void)fputs("</div>\n<h2>Schedules</h2>\n<div class=\"charts\">\n", out);
    draw_one(out, report, "lr", "Learning rate", "", false, true);
    draw_one(out, report, "weight_decay", "Weight decay", "", false, false);
    draw_one(out, report, "ema", "EMA: share of the old target kept", "", false, false);
    (void)fputs("</div>\n<h2>Speed</h2>\n<div class=\"charts\">\n", out);
    draw_one(out, report, "clips_per_s", "Clips a second", "", false, true);
    draw_flops(out, report);
    draw_parts(out, report);
    draw_one(out, report, "step_s", "Time of a step", "s", true, false);
    const struct history *h = &report->history;
    if (history_range(history_find(h, "padding_share"), 0, h->count).largest > 0)
        draw_one(out, report, "padding_share", "Padding, share of rows", "", false, true);
    (void)fputs("</div>\n", out);
    if (report->skew.window_count > 0) {
        (void)fputs("<h2>Ranks</h2>\n", out);
        skew_draw(out, &report->skew);
    }
}
