/* The picture is drawn in units that are pixels at the usual width, and grows and shrinks with it.
 */
#include "launcher/chart.h"

#include <math.h>

#include "core/median.h"
#include "launcher/history.h"
#include "launcher/html.h"

enum { WIDTH = 440, HEIGHT = 190, LEFT = 50, RIGHT = 10, TOP = 8, BOTTOM = 22, COLOURS = 5 };

/* What the drawing needs: the chart, its spans and its scales. */
struct drawing {
    FILE *out;
    const struct chart *chart;
    int spans;
    int64_t bounds[CHART_POINTS_MAX + 1]; /* span i is steps[bounds[i] .. bounds[i + 1]) */
    struct history_range ranges[CHART_SERIES_MAX][CHART_POINTS_MAX];
    double low, high; /* of the y axis; logarithms where that is its scale */
};

static double x_of(const struct drawing *d, double step)
{
    double first = (double)d->chart->steps[0];
    double last = (double)d->chart->steps[d->chart->count - 1];
    double share = last > first ? (step - first) / (last - first) : 0.5;
    return LEFT + share * (WIDTH - LEFT - RIGHT);
}

static double x_of_span(const struct drawing *d, int span)
{
    const int64_t *steps = d->chart->steps;
    double first = (double)steps[d->bounds[span]];
    double last = (double)steps[d->bounds[span + 1] - 1];
    return x_of(d, (first + last) / 2);
}

static double scaled(const struct drawing *d, double value)
{
    return d->chart->log_scale ? (value > 0 ? log10(value) : NAN) : value;
}

/* Values beyond the axis, which is made for the means, lie on its edge. */
static double y_of(const struct drawing *d, double value)
{
    double share = (scaled(d, value) - d->low) / (d->high - d->low);
    share = fmin(fmax(share, 0), 1);
    return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM);
}

int chart_ticks(double *out, int most, double low, double high)
{
    int count = 0;
    if (!(high > low) || most < 2)
        return 0;
    double step = pow(10, floor(log10((high - low) / most)));
    const double factors[] = {1, 2, 5, 10};
    int i = 0;
    while (i < 3 && floor(high / (step * factors[i])) - ceil(low / (step * factors[i])) + 1 > most)
        i++;
    step *= factors[i];
    for (double k = ceil(low / step); k * step <= high && count < most; k++)
        out[count++] = k * step == 0 ? 0 : k * step;
    return count;
}

/* Cut the steps into spans of equal width on the axis. */
static void cut(struct drawing *d)
{
    const struct chart *chart = d->chart;
    double first = (double)chart->steps[0];
    double width = ((double)chart->steps[chart->count - 1] - first + 1) / CHART_POINTS_MAX;
    int64_t at = 0;
    d->spans = 0;
    for (int i = 0; i < CHART_POINTS_MAX && at < chart->count; i++) {
        int64_t end = at;
        while (end < chart->count && (double)chart->steps[end] < first + (i + 1) * width)
            end++;
        if (i == CHART_POINTS_MAX - 1)
            end = chart->count;
        if (end == at)
            continue;
        d->bounds[d->spans++] = at;
        at = end;
    }
    d->bounds[d->spans] = chart->count;
    for (int s = 0; s < chart->series_count; s++)
        for (int i = 0; i < d->spans; i++)
            d->ranges[s][i] =
                history_range(chart->series[s].values, d->bounds[i], d->bounds[i + 1]);
}

/* Widen [low, high] by the bands' edges, less the outermost twentieth: one bad step in a long run
 * must not flatten all others. */
static void cover_bands(const struct drawing *d, int series, double *low, double *high)
{
    double least[CHART_POINTS_MAX];
    double largest[CHART_POINTS_MAX];
    int count = 0;
    for (int i = 0; i < d->spans; i++) {
        double a = scaled(d, d->ranges[series][i].least);
        double b = scaled(d, d->ranges[series][i].largest);
        if (!isfinite(a) || !isfinite(b))
            continue;
        least[count] = a;
        largest[count++] = b;
    }
    if (count == 0)
        return;
    median_sort(least, count);
    median_sort(largest, count);
    *low = fmin(*low, least[count / 20]);
    *high = fmax(*high, largest[count - 1 - count / 20]);
}

/* The axis: all means, and most of the bands; false where there is nothing. */
static bool find_scale(struct drawing *d)
{
    double low = INFINITY;
    double high = -INFINITY;
    for (int s = 0; s < d->chart->series_count; s++) {
        for (int i = 0; i < d->spans; i++) {
            double mean = scaled(d, d->ranges[s][i].mean);
            low = isfinite(mean) ? fmin(low, mean) : low;
            high = isfinite(mean) ? fmax(high, mean) : high;
        }
        cover_bands(d, s, &low, &high);
    }
    if (!(low <= high))
        return false;
    if (d->chart->stacked) {
        d->low = 0;
        d->high = 1;
        return true;
    }
    if (d->chart->from_zero && !d->chart->log_scale)
        low = fmin(low, 0);
    double margin = high > low ? 0.06 * (high - low) : fmax(0.1 * fabs(high), 1e-12);
    d->high = high + margin;
    d->low = d->chart->from_zero && low == 0 ? 0 : low - margin;
    return true;
}

static void draw_y_tick(const struct drawing *d, double share, const char *label)
{
    double y = TOP + (1 - share) * (HEIGHT - TOP - BOTTOM);
    (void)fprintf(d->out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>", LEFT, y, WIDTH - RIGHT);
    (void)fprintf(d->out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 6, y + 4);
    html_text(d->out, label);
    (void)fputs("</text>", d->out);
}

/* Over decades a logarithmic axis has its ticks at powers of ten, else at round numbers. */
static void draw_y_axis(const struct drawing *d)
{
    double ticks[8];
    char text[HTML_NUMBER_BYTES];
    bool decades = d->chart->log_scale && d->high - d->low >= 1.5;
    bool uneven = d->chart->log_scale && !decades;
    int count = uneven ? chart_ticks(ticks, 5, pow(10, d->low), pow(10, d->high))
                       : chart_ticks(ticks, 5, d->low, d->high);
    for (int i = 0; i < count; i++) {
        double at = uneven ? log10(ticks[i]) : ticks[i];
        double value = decades ? pow(10, ticks[i]) : ticks[i];
        if ((decades && ticks[i] != floor(ticks[i])) || !isfinite(at))
            continue;
        (void)html_number(text, d->chart->stacked ? 100 * value : value);
        draw_y_tick(d, (at - d->low) / (d->high - d->low), text);
    }
}

static void draw_x_axis(const struct drawing *d)
{
    double ticks[8];
    char text[HTML_NUMBER_BYTES];
    const struct chart *chart = d->chart;
    int count =
        chart_ticks(ticks, 5, (double)chart->steps[0], (double)chart->steps[chart->count - 1]);
    if (count == 0)
        ticks[count++] = (double)chart->steps[0];
    for (int i = 0; i < count; i++) {
        double x = x_of(d, ticks[i]);
        if (ticks[i] != floor(ticks[i]))
            continue;
        (void)fprintf(d->out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%s</text>", x,
                      HEIGHT - 5, x > WIDTH - 30 ? "end" : "middle",
                      ticks[i] < 1e4 ? html_count(text, (int64_t)ticks[i])
                                     : html_number(text, ticks[i]));
    }
}

static void draw_marks(const struct drawing *d)
{
    for (int i = 0; i < d->chart->mark_count; i++) {
        const struct chart_mark *mark = &d->chart->marks[i];
        if (mark->step < d->chart->steps[0] || mark->step > d->chart->steps[d->chart->count - 1])
            continue;
        (void)fprintf(d->out, "<path class=\"mark\" d=\"M%.1f %dV%d\"><title>",
                      x_of(d, (double)mark->step), TOP, HEIGHT - BOTTOM);
        html_text(d->out, mark->text);
        (void)fputs("</title></path>", d->out);
    }
}

/* A line through the means; a band where spans hold more than one value. */
static void draw_line(const struct drawing *d, int series)
{
    const struct history_range *ranges = d->ranges[series];
    int colour = series % COLOURS + 1;
    char begin = 'M';
    if (d->bounds[d->spans] > d->spans) {
        (void)fprintf(d->out, "<path class=\"b%d\" d=\"", colour);
        for (int i = 0; i < d->spans; i++)
            if (isfinite(scaled(d, ranges[i].largest))) {
                (void)fprintf(d->out, "%c%.1f %.1f", begin, x_of_span(d, i),
                              y_of(d, ranges[i].largest));
                begin = 'L';
            }
        for (int i = d->spans - 1; i >= 0; i--)
            if (isfinite(scaled(d, ranges[i].largest)))
                (void)fprintf(d->out, "L%.1f %.1f", x_of_span(d, i),
                              y_of(d, isfinite(scaled(d, ranges[i].least)) ? ranges[i].least
                                                                           : ranges[i].mean));
        (void)fputs("\"/>", d->out);
    }
    begin = 'M';
    (void)fprintf(d->out, "<path class=\"l%d\" d=\"", colour);
    int points = 0;
    int last = 0;
    for (int i = 0; i < d->spans; i++)
        if (isfinite(scaled(d, ranges[i].mean))) {
            (void)fprintf(d->out, "%c%.1f %.1f", begin, x_of_span(d, i), y_of(d, ranges[i].mean));
            begin = 'L';
            last = i;
            points++;
        }
    (void)fputs("\"/>", d->out);
    if (points == 1)
        (void)fprintf(d->out, "<circle class=\"a%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>", colour,
                      x_of_span(d, last), y_of(d, ranges[last].mean));
}

static double sum_to(const struct drawing *d, int span, int series_end)
{
    double sum = 0;
    for (int s = 0; s < series_end; s++)
        if (d->ranges[s][span].mean > 0)
            sum += d->ranges[s][span].mean;
    return sum;
}

/* Shares from the bottom up, each span a column: what is on a border belongs to one side. */
static void draw_areas(const struct drawing *d)
{
    for (int i = 0; i < d->spans; i++) {
        double left = i > 0 ? (x_of_span(d, i - 1) + x_of_span(d, i)) / 2 : LEFT;
        double right =
            i < d->spans - 1 ? (x_of_span(d, i) + x_of_span(d, i + 1)) / 2 : WIDTH - RIGHT;
        double all = sum_to(d, i, d->chart->series_count);
        for (int s = 0; s < d->chart->series_count && all > 0; s++) {
            double top = y_of(d, sum_to(d, i, s + 1) / all);
            double bottom = y_of(d, sum_to(d, i, s) / all);
            if (bottom - top > 0.05)
                (void)fprintf(d->out,
                              "<rect class=\"a%d\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                              "height=\"%.1f\"/>",
                              s % COLOURS + 1, left, top, right - left + 0.3, bottom - top);
        }
    }
}

static void tell_span(const struct drawing *d, int span)
{
    const struct chart *chart = d->chart;
    int64_t from = d->bounds[span];
    int64_t to = d->bounds[span + 1] - 1;
    char a[HTML_NUMBER_BYTES];
    char b[HTML_NUMBER_BYTES];
    char c[HTML_NUMBER_BYTES];
    (void)fprintf(d->out, "<title>step %s", html_count(a, chart->steps[from]));
    if (to > from)
        (void)fprintf(d->out, " to %s", html_count(a, chart->steps[to]));
    for (int s = 0; s < chart->series_count; s++) {
        const struct history_range *range = &d->ranges[s][span];
        if (range->count == 0)
            continue;
        (void)fputs("\n", d->out);
        html_text(d->out, chart->series[s].name);
        (void)fprintf(d->out, " %s%s%s", html_number(a, range->mean),
                      chart->unit[0] != '\0' ? " " : "", chart->unit);
        if (chart->stacked)
            (void)fprintf(d->out, ", %.1f %%",
                          100 * range->mean / sum_to(d, span, chart->series_count));
        else if (range->count > 1 && range->largest > range->least)
            (void)fprintf(d->out, " (%s to %s)", html_number(b, range->least),
                          html_number(c, range->largest));
    }
    (void)fputs("</title>", d->out);
}

static void draw_hover(const struct drawing *d)
{
    (void)fputs("<g class=\"h\">", d->out);
    for (int i = 0; i < d->spans; i++) {
        double left = i > 0 ? (x_of_span(d, i - 1) + x_of_span(d, i)) / 2 : LEFT;
        double right =
            i < d->spans - 1 ? (x_of_span(d, i) + x_of_span(d, i + 1)) / 2 : WIDTH - RIGHT;
        (void)fprintf(d->out, "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\">", left, TOP,
                      right - left, HEIGHT - TOP - BOTTOM);
        tell_span(d, i);
        (void)fputs("</rect>", d->out);
    }
    (void)fputs("</g>", d->out);
}

/* The title, and for each series its colour and newest value. */
static void draw_caption(const struct drawing *d)
{
    char text[HTML_NUMBER_BYTES];
    const struct chart *chart = d->chart;
    (void)fputs("<figcaption><b>", d->out);
    html_text(d->out, chart->title);
    (void)fputs("</b>", d->out);
    for (int s = 0; s < chart->series_count; s++) {
        int last = d->spans - 1;
        while (last >= 0 && d->ranges[s][last].count == 0)
            last--;
        if (last < 0)
            continue;
        double shown = d->ranges[s][last].mean;
        if (chart->stacked)
            shown = 100 * shown / fmax(sum_to(d, last, chart->series_count), 1e-300);
        (void)fputs("<span>", d->out);
        if (chart->series_count > 1)
            (void)fprintf(d->out, "<i class=\"k%d\"></i>", s % COLOURS + 1);
        html_text(d->out, chart->series[s].name);
        if (chart->stacked)
            (void)fprintf(d->out, " %.1f %%</span>", shown);
        else
            (void)fprintf(d->out, " %s%s%s</span>", html_number(text, shown),
                          chart->unit[0] != '\0' ? " " : "", chart->unit);
    }
    if (chart->hint != NULL) {
        (void)fputs("<br>", d->out);
        html_text(d->out, chart->hint);
    }
    (void)fputs("</figcaption>", d->out);
}

void chart_draw(FILE *out, const struct chart *given)
{
    struct chart chart = *given;
    struct drawing d = {.out = out, .chart = &chart};
    chart.series_count = 0;
    for (int s = 0; s < given->series_count; s++)
        if (given->series[s].values != NULL)
            chart.series[chart.series_count++] = given->series[s];
    if (chart.count == 0)
        return;
    cut(&d);
    if (!find_scale(&d))
        return;
    (void)fputs("<figure>", out);
    draw_caption(&d);
    (void)fprintf(out, "\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    html_text(out, chart.title);
    (void)fputs("\">", out);
    draw_y_axis(&d);
    draw_x_axis(&d);
    if (chart.stacked)
        draw_areas(&d);
    for (int s = chart.series_count - 1; s >= 0 && !chart.stacked; s--)
        draw_line(&d, s); /* the first on top */
    draw_hover(&d);
    draw_marks(&d);
    (void)fputs("</svg></figure>\n", out);
}
