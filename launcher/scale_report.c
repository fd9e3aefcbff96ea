/* The scaling benchmark's table, CSV and plot. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/log.h"
#include "launcher/ask.h"
#include "launcher/scale.h"

/* Text that grows. */
struct page {
    char *text;
    size_t bytes;
    FILE *stream;
};

static ls_status page_open(struct page *page)
{
    *page = (struct page){0};
    page->stream = open_memstream(&page->text, &page->bytes);
    return page->stream != NULL ? LS_OK : LS_FAIL(LS_NOMEM, "out of memory for a page");
}

/* Closes and writes it.  The text stays until page_close. */
static ls_status page_write(struct page *page, const char *path)
{
    bool good = fclose(page->stream) == 0;
    page->stream = NULL;
    if (!good)
        return LS_FAIL(LS_NOMEM, "out of memory for %s", path);
    return files_replace(path, page->text, page->bytes);
}

static void page_close(struct page *page)
{
    if (page->stream != NULL)
        (void)fclose(page->stream);
    free(page->text);
}

static ls_status write_csv(const char *folder, const struct scale_samples *samples)
{
    ls_status st = LS_OK;
    char *path = NULL;
    struct page page = {0};
    LS_TRY(core_format(&path, "%s/scale.csv", folder));
    LS_TRY(page_open(&page));
    (void)fprintf(page.stream, "nodes,workers,repeat,steps,clips,step_s,clips_per_s,data_wait_s,"
                               "comm_wait_s,rank_wait_s,scatter,gradient_bytes\n");
    for (int i = 0; i < samples->count; i++) {
        const struct scale_sample *s = &samples->list[i];
        (void)fprintf(page.stream, "%d,%d,%d,%" PRId64 ",%.0f,%.6f,%.4f,%.6f,%.6f,%.6f,%.5f,%.0f\n",
                      s->nodes, s->workers, s->repeat, s->steps, s->clips, s->step_s,
                      s->clips / s->step_s, s->data_wait_s, s->comm_wait_s, s->rank_wait_s,
                      s->scatter, s->gradient_bytes);
    }
    LS_TRY(page_write(&page, path));
done:
    page_close(&page);
    free(path);
    return st;
}

static ls_status write_table(const char *folder, const char *title,
                             const struct scale_point *points, int count)
{
    ls_status st = LS_OK;
    char *path = NULL;
    struct page page = {0};
    LS_TRY(core_format(&path, "%s/scale.txt", folder));
    LS_TRY(page_open(&page));
    (void)fprintf(page.stream, "%s\n%5s %7s %9s %18s %10s %9s %7s %7s %7s %10s\n", title, "nodes",
                  "workers", "clips/s", "(slowest, fastest)", "efficiency", "step s", "data",
                  "network", "ranks", "MB a rank");
    for (int i = 0; i < count; i++) {
        const struct scale_point *p = &points[i];
        (void)fprintf(
            page.stream,
            "%5d %7d %9.2f %8.2f, %8.2f %8.1f %% %9.3f %5.1f %% %5.1f %% %5.1f %% %10.1f\n",
            p->nodes, p->workers, p->clips_per_s, p->slowest, p->fastest, 100 * p->efficiency,
            p->step_s, 100 * p->data_share, 100 * p->comm_share, 100 * p->rank_share,
            p->bytes / 1e6);
    }
    (void)fprintf(page.stream,
                  "data, network, ranks: share of a step that is waited for data, for the "
                  "all-reduce behind backward, for slower ranks;\nMB: what a rank sends, and "
                  "receives, in a step.  Medians of %d repeats of %s\n",
                  count > 0 ? points[0].repeats : 0, "the steps after the warm-up.");
    LS_TRY(page_write(&page, path));
    (void)fputs(page.text, stdout);
done:
    page_close(&page);
    free(path);
    return st;
}

static void plot_data(FILE *out, const struct scale_point *points, int count)
{
    (void)fputs("$points << EOD\n", out);
    for (int i = 0; i < count; i++)
        (void)fprintf(out, "%d %.6g %.6g %.6g %.6g %.6g %.6g %.6g\n", points[i].nodes,
                      points[i].clips_per_s, points[i].slowest, points[i].fastest,
                      100 * points[i].efficiency, 100 * points[i].data_share,
                      100 * points[i].comm_share, 100 * points[i].rank_share);
    (void)fputs("EOD\n", out);
}

/* A text in gnuplot's single quotes. */
static void quoted(FILE *out, const char *before, const char *text)
{
    (void)fprintf(out, "%s'", before);
    for (const char *at = text; *at != '\0'; at++)
        (void)fprintf(out, "%.*s%c", *at == '\'' ? 1 : 0, "'", *at);
    (void)fputs("'\n", out);
}

static void plot_figure(FILE *out, const char *terminal, const char *file, const char *title,
                        const struct scale_point *first)
{
    (void)fprintf(out, "set terminal %s\n", terminal);
    quoted(out, "set output ", file);
    quoted(out, "set multiplot layout 1,2 title ", title);
    (void)fprintf(
        out,
        "set xlabel 'nodes'\nset grid ytics lc rgb '#dddddd'\nset border 3\n"
        "set xtics nomirror\nset ytics nomirror\nset logscale xy 2\n"
        "set key top left\nset ylabel 'clips/s'\n"
        "plot %.6g * x with lines dt 2 lc rgb '#888888' title 'ideal', "
        "$points using 1:2:3:4 with yerrorlines pt 7 lc rgb '#1f6fb4' title 'measured'\n"
        "unset logscale\nset ylabel '%% of a step'\nset yrange [0:110]\nset key top right\n"
        "set style data histograms\nset style histogram rowstacked\nset boxwidth 0.6\n"
        "set style fill solid 0.8 border -1\n"
        "plot $points using 7:xtic(1) lc rgb '#d1495b' title 'waits for the network', "
        "'' using 8 lc rgb '#edae49' title 'for slower ranks', "
        "'' using 6 lc rgb '#66a182' title 'for data', "
        "'' using 0:5 with linespoints pt 7 lc rgb '#1f6fb4' title 'efficiency'\n"
        "unset multiplot\nset output\nreset\n",
        first->clips_per_s / first->nodes);
}

static ls_status draw(const char *folder, const char *title, const struct scale_point *points,
                      int count)
{
    ls_status st = LS_OK;
    struct page page = {0};
    char *script = NULL;
    char *png = NULL;
    char *svg = NULL;
    char *said = NULL;
    LS_TRY(core_format(&script, "%s/scale.gnuplot", folder));
    LS_TRY(core_format(&png, "%s/scale.png", folder));
    LS_TRY(core_format(&svg, "%s/scale.svg", folder));
    LS_TRY(page_open(&page));
    plot_data(page.stream, points, count);
    plot_figure(page.stream, "pngcairo size 1100,420 font 'sans,10'", png, title, points);
    plot_data(page.stream, points, count);
    plot_figure(page.stream, "svg size 1100,420 font 'sans,10' background 'white'", svg, title,
                points);
    LS_TRY(page_write(&page, script));
    st = ask(&said, (const char *const[]){"gnuplot", script, NULL});
    if (st != LS_OK) {
        log_warn("plot none: %s (Debian: apt-get install gnuplot-nox)", status_message());
        status_clear();
        st = LS_OK;
    }
done:
    page_close(&page);
    free(script);
    free(png);
    free(svg);
    free(said);
    return st;
}

ls_status scale_report(const char *folder, const char *title, const struct scale_samples *samples)
{
    ls_status st = LS_OK;
    struct scale_point *points = NULL;
    int count = 0;
    LS_TRY(scale_points(&points, &count, samples));
    LS_TRY(write_csv(folder, samples));
    LS_TRY(write_table(folder, title, points, count));
    LS_TRY(draw(folder, title, points, count));
done:
    free(points);
    return st;
}
