/* A cell is the mean over its ranks and windows of a rank's own time over the median rank's; its
 * colour begins at the median and is full at half as much again. */
#include <math.h>

#include "launcher/html.h"
#include "launcher/skew.h"

enum { WIDTH = 900, LEFT = 58, RIGHT = 8, TOP = 4, BOTTOM = 22, ROW_MOST = 22, ROWS_HEIGHT = 320 };

static const double FULL_FACTOR = 1.5;

struct grid {
    FILE *out;
    const struct skew *skew;
    int columns, rows;
    double row_height;
};

static int cut(int count, int part, int parts)
{
    return (int)((int64_t)count * part / parts);
}

/* Where column `column` begins. */
static double x_of(const struct grid *grid, int column)
{
    return LEFT + (double)column * (WIDTH - LEFT - RIGHT) / grid->columns;
}

/* The first window of a column; windows are of equal length, so that their order is the time. */
static int window_of(const struct grid *grid, int column)
{
    return cut(grid->skew->window_count, column, grid->columns);
}

struct cell {
    double factor, own_s; /* means; NaN: nobody was there */
    int hiccups, chronic;
};

static struct cell gather(const struct grid *grid, int column, int row)
{
    const struct skew *skew = grid->skew;
    struct cell cell = {.factor = NAN, .own_s = NAN};
    double factors = 0;
    double seconds = 0;
    int count = 0;
    for (int w = window_of(grid, column); w < window_of(grid, column + 1); w++) {
        const struct skew_window *window = &skew->windows[w];
        int end = cut(skew->rank_count, row + 1, grid->rows);
        for (int r = cut(skew->rank_count, row, grid->rows); r < end && r < window->ranks; r++) {
            if (!isfinite(window->own_s[r]) || !(window->median_s > 0))
                continue;
            factors += window->own_s[r] / window->median_s;
            seconds += window->own_s[r];
            cell.hiccups += window->states[r] == 1;
            cell.chronic += window->states[r] == 2;
            count++;
        }
    }
    if (count > 0) {
        cell.factor = factors / count;
        cell.own_s = seconds / count;
    }
    return cell;
}

static void draw_cell(const struct grid *grid, int column, int row)
{
    struct cell cell = gather(grid, column, row);
    char text[HTML_NUMBER_BYTES];
    if (!isfinite(cell.factor))
        return;
    int first = cut(grid->skew->rank_count, row, grid->rows);
    int last = cut(grid->skew->rank_count, row + 1, grid->rows) - 1;
    double shade = fmin(fmax((cell.factor - 1) / (FULL_FACTOR - 1), 0), 1);
    (void)fprintf(grid->out,
                  "<rect class=\"cell\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                  "fill-opacity=\"%.2f\"><title>rank %d",
                  x_of(grid, column), TOP + row * grid->row_height,
                  x_of(grid, column + 1) - x_of(grid, column), grid->row_height - 1, shade, first);
    if (last > first)
        (void)fprintf(grid->out, " to %d", last);
    (void)fputs(" on ", grid->out);
    html_text(grid->out, grid->skew->ranks[first].node);
    (void)fprintf(grid->out, "\nup to step %s\n%.2f times the median, ",
                  html_count(text, grid->skew->windows[window_of(grid, column + 1) - 1].step),
                  cell.factor);
    (void)fprintf(grid->out, "%s a step", html_duration(text, cell.own_s));
    if (cell.chronic > 0)
        (void)fprintf(grid->out, "\nlate all the time in %d windows", cell.chronic);
    if (cell.hiccups > 0)
        (void)fprintf(grid->out, "\nhiccups in %d windows", cell.hiccups);
    (void)fputs("</title></rect>", grid->out);
}

static void draw_labels(const struct grid *grid)
{
    char text[HTML_NUMBER_BYTES];
    int every = (int)ceil(15 / grid->row_height);
    double bottom = TOP + grid->rows * grid->row_height;
    for (int row = 0; row < grid->rows; row += every)
        (void)fprintf(grid->out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">rank %d</text>",
                      LEFT - 6, TOP + (row + 0.5) * grid->row_height + 4,
                      cut(grid->skew->rank_count, row, grid->rows));
    for (int i = 0; i <= 4; i++) {
        int column = cut(grid->columns, i, 4);
        int window =
            column < grid->columns ? window_of(grid, column) : grid->skew->window_count - 1;
        (void)fprintf(grid->out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s%s</text>",
                      x_of(grid, column), bottom + 16,
                      i == 0  ? "start"
                      : i < 4 ? "middle"
                              : "end",
                      i == 0 ? "step " : "", html_count(text, grid->skew->windows[window].step));
        if (grid->columns < 4)
            break;
    }
}

void skew_draw(FILE *out, const struct skew *skew)
{
    struct grid grid = {.out = out, .skew = skew};
    if (skew->window_count == 0)
        return;
    grid.columns = skew->window_count < SKEW_COLUMNS ? skew->window_count : SKEW_COLUMNS;
    grid.rows = skew->rank_count < SKEW_ROWS ? skew->rank_count : SKEW_ROWS;
    grid.row_height = fmin(ROW_MOST, (double)ROWS_HEIGHT / grid.rows);
    (void)fprintf(out,
                  "<figure class=\"wide\"><figcaption><b>Rank skew</b><span><i class=\"k2\">"
                  "</i>full colour: %.1f times the median rank's own time (data and computing) and "
                  "more</span></figcaption>\n<svg viewBox=\"0 0 %d %.0f\" role=\"img\" "
                  "aria-label=\"Rank skew\">",
                  FULL_FACTOR, WIDTH, TOP + grid.rows * grid.row_height + BOTTOM);
    (void)fprintf(out, "<rect class=\"cell0\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%.1f\"/>",
                  LEFT, TOP, WIDTH - LEFT - RIGHT, grid.rows * grid.row_height - 1);
    for (int row = 0; row < grid.rows; row++)
        for (int column = 0; column < grid.columns; column++)
            draw_cell(&grid, column, row);
    draw_labels(&grid);
    (void)fputs("</svg></figure>\n", out);
}
