/* The same words in both forms: a bar is rewritten in place, lines are for logs. */
#include "worker/display.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BAR_CELLS = 20, LINE_BYTES = 256 };

void display_open(struct display *out, enum worker_progress progress, int64_t total_steps)
{
    *out = (struct display){.total_steps = total_steps};
    /* Under mpirun standard output is always a terminal of its own making. */
    bool terminal = isatty(STDOUT_FILENO) == 1 && getenv("OMPI_COMM_WORLD_SIZE") == NULL;
    out->bar = progress == WORKER_PROGRESS_BAR || (progress == WORKER_PROGRESS_AUTO && terminal);
}

void display_time(char *out, double seconds)
{
    long long whole = seconds > 0 ? (long long)(seconds + 0.5) : 0;
    if (whole >= 3600)
        (void)snprintf(out, DISPLAY_TIME_BYTES, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60,
                       whole % 60);
    else
        (void)snprintf(out, DISPLAY_TIME_BYTES, "%lld:%02lld", whole / 60, whole % 60);
}

/* "12.3 G" for 1.23e10. */
static void scaled(char *out, size_t bytes, double value)
{
    static const char *const unit[] = {"", "k", "M", "G", "T", "P"};
    int power = 0;
    while (value >= 1000 && power < 5) {
        value /= 1000;
        power++;
    }
    (void)snprintf(out, bytes, "%.3g %s", value, unit[power]);
}

/* Columns of the terminal that the launcher shows this on, when it says so. */
static int terminal_width(void)
{
    const char *text = getenv("COLUMNS");
    long width = text != NULL ? strtol(text, NULL, 10) : 0;
    return width > 20 && width < LINE_BYTES ? (int)width : LINE_BYTES;
}

void display_step(struct display *display, const struct step_metrics *step)
{
    char left[DISPLAY_TIME_BYTES];
    char flops[32];
    char line[LINE_BYTES];
    char cells[BAR_CELLS + 1] = "";
    /* Recent steps count most, a single hiccup little. */
    display->mean_step_s =
        display->mean_step_s > 0 ? 0.95 * display->mean_step_s + 0.05 * step->step_s : step->step_s;
    display_time(left, (double)(display->total_steps - step->step) * display->mean_step_s);
    scaled(flops, sizeof flops, step->flops_per_s);
    int full = (int)(BAR_CELLS * step->step / display->total_steps);
    for (int i = 0; i < BAR_CELLS; i++)
        cells[i] = i < full ? '#' : '.';
    (void)snprintf(line, sizeof line,
                   "%s%s%sstep %" PRId64 "/%" PRId64
                   "  loss %.4f  lr %.2e  %.3g clips/s  %sFLOP/s  data wait %.0f %%  left %s",
                   display->bar ? "[" : "", display->bar ? cells : "", display->bar ? "] " : "",
                   step->step, display->total_steps, step->loss, step->lr, step->clips_per_s, flops,
                   step->step_s > 0 ? 100 * step->data_wait_s / step->step_s : 0.0, left);
    if (display->bar) /* a line that wraps could not be rewritten in place */
        (void)printf("\r%.*s\033[K", terminal_width() - 1, line);
    else
        (void)printf("%s\n", line);
    display->open = display->bar;
    (void)fflush(stdout);
}

void display_end(struct display *display)
{
    if (display->open)
        (void)printf("\n");
    display->open = false;
    (void)fflush(stdout);
}
