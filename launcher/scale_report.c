/* The scaling benchmark's table, CSV and plot. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "launcher/scale.h"
#include "launcher/text_file.h"

static ls_status write_csv(const char *folder, const struct scale_samples *samples)
{
    ls_status st = LS_OK;
    struct text_file page = {0};
    LS_TRY(text_file_open(&page));
    (void)fprintf(page.stream, "nodes,workers,repeat,steps,clips,step_s,clips_per_s,data_wait_s,"
                               "comm_wait_s,rank_wait_s,scatter,gradient_bytes\n");
    for (int i = 0; i < samples->count; i++) {
        const struct scale_sample *s = &samples->list[i];
        (void)fprintf(page.stream, "%d,%d,%d,%" PRId64 ",%.0f,%.6f,%.4f,%.6f,%.6f,%.6f,%.5f,%.0f\n",
                      s->nodes, s->workers, s->repeat, s->steps, s->clips, s->step_s,
                      s->clips / s->step_s, s->data_wait_s, s->comm_wait_s, s->rank_wait_s,
                      s->scatter, s->gradient_bytes);
    }
    LS_TRY(text_file_write(&page, folder, "scale.csv"));
done:
    text_file_close(&page);
    return st;
}

static ls_status write_table(const char *folder, const char *title,
                             const struct scale_point *points, int count)
{
    ls_status st = LS_OK;
    struct text_file page = {0};
    LS_TRY(text_file_open(&page));
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
    LS_TRY(text_file_write(&page, folder, "scale.txt"));
    (void)fputs(page.text, stdout);
done:
    text_file_close(&page);
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

static void plot_figure(FILE *out, const char *terminal, const char *file, const char *title,
                        const struct scale_point *first)
{
    (void)fprintf(out, "set terminal %s\n", terminal);
    text_file_quote(out, "set output ", file);
    text_file_quote(out, "set multiplot layout 1,2 title ", title);
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
    struct text_file page = {0};
    char *png = NULL;
    char *svg = NULL;
    LS_TRY(core_format(&png, "%s/scale.png", folder));
    LS_TRY(core_format(&svg, "%s/scale.svg", folder));
    LS_TRY(text_file_open(&page));
    plot_data(page.stream, points, count);
    plot_figure(page.stream, "pngcairo size 1100,420 font 'sans,10'", png, title, points);
    plot_data(page.stream, points, count);
    plot_figure(page.stream, "svg size 1100,420 font 'sans,10' background 'white'", svg, title,
                points);
    LS_TRY(text_file_write(&page, folder, "scale.gnuplot"));
    LS_TRY(text_file_plot(folder, "scale.gnuplot"));
done:
    text_file_close(&page);
    free(png);
    free(svg);
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
