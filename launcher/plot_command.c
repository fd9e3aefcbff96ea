/* `lockstep plot`: the curves of a run in the terminal, or as a picture by gnuplot. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/files.h"
#include "launcher/ask.h"
#include "launcher/commands.h"
#include "launcher/history.h"
#include "launcher/plot_text.h"
#include "launcher/text_file.h"

enum { PNG_POINTS = 800, COLUMNS_UNKNOWN = 80 };

struct plot_options {
    struct option_list paths; /* one */
    struct option_list series;
    const char *png;
    int64_t columns, rows;
    bool ascii;
};

static const char *const main_series[] = {"loss", "target_std", "prediction_cosine", "lr",
                                          "clips_per_s"};

/* The series that are wanted, of those that the run has. */
struct choice {
    const char *names[HISTORY_SERIES_MAX];
    const float *values[HISTORY_SERIES_MAX];
    int count;
};

static ls_status no_series(const struct history *history, const char *name, const char *run)
{
    char known[1024] = "";
    size_t used = 0;
    for (int i = 0; i < history->series_count && used < sizeof known - 80; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                                 history->names[i]);
    return LS_FAIL(LS_USAGE, "%s: its metrics have no '%s'; they have: %s", run, name, known);
}

static ls_status choose(struct choice *out, const struct history *history,
                        const struct plot_options *options)
{
    bool given = options->series.count > 0;
    int count = given ? options->series.count : (int)(sizeof main_series / sizeof main_series[0]);
    const char *run = options->paths.values[0];
    out->count = 0;
    if (history->count == 0)
        return LS_FAIL(LS_USAGE, "%s: no step is in its metrics.jsonl", run);
    for (int i = 0; i < count && out->count < HISTORY_SERIES_MAX; i++) {
        const char *name = given ? options->series.values[i] : main_series[i];
        const float *values = history_find(history, name);
        if (values == NULL && given)
            return no_series(history, name, run);
        if (values == NULL)
            continue;
        out->names[out->count] = name;
        out->values[out->count++] = values;
    }
    return LS_OK;
}

static int terminal_columns(int64_t asked)
{
    struct winsize size;
    const char *text = getenv("COLUMNS");
    long columns = asked;
    if (columns == 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
        columns = size.ws_col;
    if (columns == 0 && text != NULL)
        columns = strtol(text, NULL, 10);
    if (columns < PLOT_COLUMNS_LEAST || columns > PLOT_COLUMNS_MOST)
        columns = columns > PLOT_COLUMNS_MOST ? PLOT_COLUMNS_MOST : COLUMNS_UNKNOWN;
    return (int)columns;
}

/* Whether the terminal shows UTF-8, as its environment says. */
static bool shows_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && value[0] != '\0')
            return strcasestr(value, "utf-8") != NULL || strcasestr(value, "utf8") != NULL;
    }
    return false;
}

static ls_status draw_text(const struct history *history, const struct choice *choice,
                           const struct plot_options *options)
{
    ls_status st = LS_OK;
    struct plot_text plot = {.steps = history->steps,
                             .count = history->count,
                             .columns = terminal_columns(options->columns),
                             .rows = (int)options->rows,
                             .braille = !options->ascii && shows_utf8()};
    for (int i = 0; i < choice->count; i++) {
        plot.title = choice->names[i];
        plot.values = choice->values[i];
        LS_TRY(plot_text_draw(stdout, &plot));
    }
done:
    return st;
}

/* Means over at most PNG_POINTS spans, as gnuplot's inline data. */
static void print_data(FILE *out, const struct history *history, const struct choice *choice)
{
    int64_t spans = history->count < PNG_POINTS ? history->count : PNG_POINTS;
    for (int s = 0; s < choice->count; s++) {
        (void)fprintf(out, "$s%d << EOD\n", s);
        for (int64_t i = 0; i < spans; i++) {
            int64_t from = history->count * i / spans;
            int64_t to = history->count * (i + 1) / spans;
            struct history_range range = history_range(choice->values[s], from, to);
            if (range.count > 0)
                (void)fprintf(out, "%" PRId64 " %.8g\n", history->steps[(from + to - 1) / 2],
                              range.mean);
        }
        (void)fputs("EOD\n", out);
    }
}

static void print_script(FILE *out, const struct history *history, const struct choice *choice,
                         const char *png, const char *run)
{
    print_data(out, history, choice);
    (void)fprintf(out, "set terminal pngcairo size 900,%d font 'sans,10'\n",
                  60 + 220 * choice->count);
    text_file_quote(out, "set output ", png);
    text_file_quote(out, "set termoption noenhanced\nset multiplot title ", run);
    (void)fprintf(out, "set grid lc rgb '#dddddd'\nset border 3\nset xtics nomirror\n"
                       "set ytics nomirror\nunset key\nset lmargin 12\nset format x '%%.0f'\n");
    for (int s = 0; s < choice->count; s++) {
        double height = 0.93 / choice->count;
        (void)fprintf(out, "set origin 0,%.4f\nset size 1,%.4f\n", height * (choice->count - 1 - s),
                      height);
        text_file_quote(out, "set title ", choice->names[s]);
        (void)fprintf(out, "plot $s%d using 1:2 with %s lc rgb '#2a6fd0'\n", s,
                      history->count > 1 ? "lines lw 1.6" : "points pt 7");
    }
    (void)fputs("unset multiplot\nset output\n", out);
}

static ls_status draw_png(const struct history *history, const struct choice *choice,
                          const struct plot_options *options)
{
    ls_status st = LS_OK;
    struct text_file script = {0};
    char folder[] = "/tmp/lockstep-plot.XXXXXX";
    char *path = NULL;
    char *said = NULL;
    char message[512];
    if (mkdtemp(folder) == NULL)
        return LS_FAIL(LS_IO, "%s: cannot create: %s", folder, strerror(errno));
    LS_TRY(text_file_open(&script));
    print_script(script.stream, history, choice, options->png, options->paths.values[0]);
    LS_TRY(text_file_write(&script, folder, "plot.gnuplot"));
    LS_TRY(core_format(&path, "%s/plot.gnuplot", folder));
    LS_TRY(files_replace(options->png, "", 0)); /* gnuplot would not say why it cannot write */
    st = ask(&said, (const char *const[]){"gnuplot", path, NULL});
    if (st != LS_OK) {
        (void)snprintf(message, sizeof message, "%s", status_message());
        st = LS_FAIL(LS_FAILED, "%s: not drawn: %s (Debian: apt-get install gnuplot-nox)",
                     options->png, message);
        goto done;
    }
    (void)printf("%s\n", options->png);
done:
    text_file_close(&script);
    if (files_remove(folder) != LS_OK && st == LS_OK)
        st = LS_FAIL(LS_IO, "%s: cannot remove", folder);
    free(path);
    free(said);
    return st;
}

static ls_status run_plot(const void *given)
{
    ls_status st = LS_OK;
    const struct plot_options *options = given;
    struct history history = {0};
    struct choice choice;
    const char *run = options->paths.values[0];
    if (!files_is_folder(run))
        return LS_FAIL(LS_USAGE, "%s: no such run folder", run);
    LS_TRY(history_open(&history, run));
    LS_TRY(choose(&choice, &history, options));
    if (options->png != NULL)
        LS_TRY(draw_png(&history, &choice, options));
    else
        LS_TRY(draw_text(&history, &choice, options));
done:
    history_close(&history);
    return st;
}

static const struct option plot_table[] = {
    {.name = "series",
     .letter = 's',
     .type = OPTION_LIST,
     .offset = offsetof(struct plot_options, series),
     .word = "KEY",
     .help = "A key of metrics.jsonl, loss_groups/0 for one in a list; may be given many times. "
             "Without it loss, target_std, prediction_cosine, lr and clips_per_s."},
    {.name = "png",
     .type = OPTION_TEXT,
     .offset = offsetof(struct plot_options, png),
     .word = "FILE",
     .help = "Draw a picture by gnuplot instead."},
    {.name = "columns",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct plot_options, columns),
     .word = "N",
     .low = 0,
     .high = PLOT_COLUMNS_MOST,
     .help = "Width in characters; 0 is the terminal's."},
    {.name = "rows",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct plot_options, rows),
     .word = "N",
     .initial = "8",
     .low = 2,
     .high = PLOT_ROWS_MOST,
     .help = "Height of each curve in characters."},
    {.name = "ascii",
     .type = OPTION_FLAG,
     .offset = offsetof(struct plot_options, ascii),
     .help = "Stars instead of Braille dots; as where the environment does not say UTF-8."},
};

const struct command command_plot = {
    .name = "plot",
    .arguments = "RUN",
    .summary = "draws the curves of a run in the terminal",
    .details = "Draws what RUN/metrics.jsonl holds, a curve a key, in the terminal or as a PNG.",
    .arguments_least = 1,
    .arguments_most = 1,
    .arguments_offset = offsetof(struct plot_options, paths),
    .options = plot_table,
    .option_count = sizeof plot_table / sizeof plot_table[0],
    .bytes = sizeof(struct plot_options),
    .run = run_plot,
};
