#include "launcher/plot_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "launcher/history.h"
#include "launcher/html.h"

enum { LABEL = 10 };

/* Dots that are set; `wide` and `high` count dots, not characters. */
struct canvas {
    int wide, high;
    bool *dots;
};

/* The mean of the steps that a column of dots stands for; NaN: none of them has a value. */
static double mean_of(const struct plot_text *plot, const struct canvas *canvas, int x)
{
    int64_t from = plot->count * x / canvas->wide;
    int64_t to = plot->count * (x + 1) / canvas->wide;
    return history_range(plot->values, from, to > from ? to : from + 1).mean;
}

/* Each point up or down to the height of the one before, so that steep curves have no holes. */
static void draw_curve(const struct canvas *canvas, const struct plot_text *plot, double least,
                       double largest)
{
    int before = -1;
    for (int x = 0; x < canvas->wide; x++) {
        double mean = mean_of(plot, canvas, x);
        if (!isfinite(mean))
            continue;
        double share = largest > least ? (mean - least) / (largest - least) : 0.5;
        int y = (int)lround((1 - share) * (canvas->high - 1));
        int from = before < 0 ? y : before < y ? before + 1 : before > y ? before - 1 : y;
        for (int at = from < y ? from : y; at <= (from > y ? from : y); at++)
            canvas->dots[at * canvas->wide + x] = true;
        before = y;
    }
}

/* The eight dots of a character in Unicode's order: left column from the top, right column, then
 * the lowest of both. */
static void print_braille(FILE *out, const struct canvas *canvas, int column, int row)
{
    static const int places[8][2] = {{0, 0}, {0, 1}, {0, 2}, {1, 0},
                                     {1, 1}, {1, 2}, {0, 3}, {1, 3}};
    int bits = 0;
    for (int i = 0; i < 8; i++)
        if (canvas->dots[(4 * row + places[i][1]) * canvas->wide + 2 * column + places[i][0]])
            bits |= 1 << i;
    if (bits == 0)
        (void)fputc(' ', out);
    else /* U+2800 + bits in UTF-8 */
        (void)fprintf(out, "\xe2%c%c", 0xa0 | bits >> 6, 0x80 | (bits & 0x3f));
}

static void print_row(FILE *out, const struct plot_text *plot, const struct canvas *canvas, int row,
                      double least, double largest)
{
    char label[HTML_NUMBER_BYTES] = "";
    if (row == 0)
        (void)html_number(label, largest);
    else if (row == plot->rows - 1)
        (void)html_number(label, least);
    (void)fprintf(out, "%*s |", LABEL - 2, label);
    for (int column = 0; column < plot->columns - LABEL; column++)
        if (plot->braille)
            print_braille(out, canvas, column, row);
        else
            (void)fputc(canvas->dots[row * canvas->wide + column] ? '*' : ' ', out);
    (void)fputc('\n', out);
}

ls_status plot_text_draw(FILE *out, const struct plot_text *plot)
{
    ls_status st = LS_OK;
    char text[HTML_NUMBER_BYTES];
    int wide = plot->columns - LABEL;
    struct canvas canvas = {.wide = plot->braille ? 2 * wide : wide,
                            .high = plot->braille ? 4 * plot->rows : plot->rows};
    double least = INFINITY;
    double largest = -INFINITY;
    LS_TRY(core_alloc(&canvas.dots, (int64_t)canvas.wide * canvas.high));
    /* The axis is that of the means that are shown, not of single steps. */
    for (int x = 0; x < canvas.wide; x++) {
        double mean = mean_of(plot, &canvas, x);
        least = isfinite(mean) ? fmin(least, mean) : least;
        largest = isfinite(mean) ? fmax(largest, mean) : largest;
    }
    if (!(least <= largest))
        goto done;
    draw_curve(&canvas, plot, least, largest);
    int64_t last = plot->count - 1;
    while (last > 0 && !isfinite(plot->values[last]))
        last--;
    (void)fprintf(out, "%s, %s after step %" PRId64 "\n", plot->title,
                  html_number(text, plot->values[last]), plot->steps[last]);
    for (int row = 0; row < plot->rows; row++)
        print_row(out, plot, &canvas, row, least, largest);
    (void)fprintf(out, "%*s %-*" PRId64 "%*" PRId64 "\n", LABEL - 1, "", wide / 2, plot->steps[0],
                  wide - wide / 2, plot->steps[plot->count - 1]);
done:
    free(canvas.dots);
    return st;
}
