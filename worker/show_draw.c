/* Laying out the picture: bands of columns, one a tubelet, each of frame, features and error; or
 * the film, with the three side by side.  Components and errors are put on scales that hold all of
 * them but a few at either end, the same for the whole clip. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/picture.h"
#include "worker/canvas.h"
#include "worker/show.h"

enum {
    COLUMNS = 8,
    MARGIN = 20,
    GAP = 6,
    LABELS = 112, /* width of the rows' names */
    SCALE = 2,
    LINE = 26,
    BAR_WIDTH = 320,
    BAR_HEIGHT = 16,
    FILM_GAP = 12,
    TEXT_BYTES = 256,
    RATE_LEAST = 1
};

static const double OUTSIDE = 0.02; /* share of the values beyond either end of a scale */
static const struct canvas_colour paper = {252, 252, 250};
static const struct canvas_colour ink = {30, 34, 40};
static const struct canvas_colour faint = {110, 116, 124};

/* What is drawn of a clip. */
struct plates {
    float *colours; /* [tokens, 3] in [0, 1] */
    float *heat;    /* [tokens] in [0, 1], NaN unknown */
    double low, high;
};

static int compare(const void *a, const void *b)
{
    const double left = *(const double *)a;
    const double right = *(const double *)b;
    return (left > right) - (left < right);
}

/* The values between which all but OUTSIDE at either end lie; NaN counts for none. */
static ls_status find_scale(double *low, double *high, const double *values, int64_t count)
{
    ls_status st = LS_OK;
    double *sorted = NULL;
    int64_t known = 0;
    *low = *high = 0.0;
    LS_TRY(core_alloc(&sorted, count));
    for (int64_t i = 0; i < count; i++)
        if (!isnan(values[i]))
            sorted[known++] = values[i];
    if (known == 0)
        goto done;
    qsort(sorted, (size_t)known, sizeof *sorted, compare);
    *low = sorted[(int64_t)floor(OUTSIDE * (double)(known - 1))];
    *high = sorted[(int64_t)ceil((1.0 - OUTSIDE) * (double)(known - 1))];
done:
    free(sorted);
    return st;
}

/* Where all values are alike they are in the middle of their scale. */
static float on_scale(double value, double low, double high)
{
    return high > low ? (float)fmin(fmax((value - low) / (high - low), 0.0), 1.0) : 0.5F;
}

static ls_status open_plates(struct plates *out, const struct show_look *look)
{
    ls_status st = LS_OK;
    double *values = NULL;
    const int64_t tokens = mask_grid_tokens(look->grid);
    LS_TRY(core_alloc(&out->colours, tokens * SHOW_COMPONENTS));
    LS_TRY(core_alloc(&out->heat, tokens));
    LS_TRY(core_alloc(&values, tokens));
    for (int c = 0; c < SHOW_COMPONENTS; c++) {
        double low;
        double high;
        for (int64_t t = 0; t < tokens; t++)
            values[t] = (double)look->places[t * SHOW_COMPONENTS + c];
        LS_TRY(find_scale(&low, &high, values, tokens));
        for (int64_t t = 0; t < tokens; t++)
            out->colours[t * SHOW_COMPONENTS + c] = on_scale(values[t], low, high);
    }
    LS_TRY(find_scale(&out->low, &out->high, look->errors, tokens));
    for (int64_t t = 0; t < tokens; t++)
        out->heat[t] =
            isnan(look->errors[t]) ? NAN : on_scale(look->errors[t], out->low, out->high);
done:
    free(values);
    return st;
}

static void close_plates(struct plates *plates)
{
    free(plates->colours);
    free(plates->heat);
}

/* Frame `frame`, and features and error of its tubelet. */
static void draw_frame(struct canvas *canvas, const struct show_drawing *d, int frame,
                       struct canvas_square at)
{
    const size_t large = (size_t)d->clip->side * (size_t)d->clip->reduce;
    canvas_image(canvas, at, d->clip->drawn + (size_t)frame * large * large * 3, d->clip->reduce);
}

static void draw_features(struct canvas *canvas, const struct show_drawing *d,
                          const struct plates *plates, int tubelet, struct canvas_square at)
{
    const struct mask_grid grid = d->look->grid;
    const int64_t first = (int64_t)tubelet * grid.rows * grid.columns;
    canvas_colours(canvas, at, plates->colours + first * SHOW_COMPONENTS, grid.rows, grid.columns);
}

static void draw_error(struct canvas *canvas, const struct show_drawing *d,
                       const struct plates *plates, int tubelet, struct canvas_square at)
{
    const struct mask_grid grid = d->look->grid;
    const int64_t first = (int64_t)tubelet * grid.rows * grid.columns;
    canvas_heat_map(canvas, at, plates->heat + first, grid.rows, grid.columns);
}

/* The end of a name says more than its beginning. */
static void shorten(char *out, size_t bytes, const char *name, size_t most)
{
    const char *slash = strrchr(name, '/');
    const char *from = slash != NULL ? slash + 1 : name;
    const size_t length = strlen(from);
    if (length <= most)
        (void)snprintf(out, bytes, "%s", from);
    else
        (void)snprintf(out, bytes, "...%s", from + length - most + 3);
}

static void describe(char *title, char *facts, const struct show_drawing *d, size_t most)
{
    const struct show_clip *clip = d->clip;
    char name[TEXT_BYTES / 2];
    shorten(name, sizeof name, clip->video.name, most);
    (void)snprintf(title, TEXT_BYTES, "%s", name);
    (void)snprintf(facts, TEXT_BYTES,
                   "%d frames, %" PRId64 " to %" PRId64 " of %" PRId64
                   ", seen at %d x %d; step %" PRId64 " of the run",
                   clip->count, clip->numbers[0], clip->numbers[clip->count - 1],
                   clip->video.frames, clip->size, clip->size, d->checkpoint_step);
}

/* Frame number and, where the rate is known, its time. */
static void name_frame(char *out, const struct show_clip *clip, int frame)
{
    if (clip->video.average_fps > 0)
        (void)snprintf(out, TEXT_BYTES, "%" PRId64 "  %.2f s", clip->numbers[frame],
                       (double)clip->numbers[frame] / clip->video.average_fps);
    else
        (void)snprintf(out, TEXT_BYTES, "%" PRId64, clip->numbers[frame]);
}

static void draw_scale(struct canvas *canvas, const struct plates *plates, int left, int top)
{
    char text[TEXT_BYTES];
    for (int x = 0; x < BAR_WIDTH; x++)
        canvas_fill(canvas, left + x, top, 1, BAR_HEIGHT, canvas_heat((x + 0.5) / BAR_WIDTH));
    (void)snprintf(text, sizeof text, "%.3g", plates->low);
    canvas_text(canvas, left, top + BAR_HEIGHT + GAP, SCALE, ink, text);
    (void)snprintf(text, sizeof text, "%.3g", 0.5 * (plates->low + plates->high));
    canvas_text(canvas, left + (BAR_WIDTH - canvas_text_width(text, SCALE)) / 2,
                top + BAR_HEIGHT + GAP, SCALE, ink, text);
    (void)snprintf(text, sizeof text, "%.3g", plates->high);
    canvas_text(canvas, left + BAR_WIDTH - canvas_text_width(text, SCALE), top + BAR_HEIGHT + GAP,
                SCALE, ink, text);
}

/* What colours mean, below the picture. */
static void draw_legend(struct canvas *canvas, const struct show_drawing *d,
                        const struct plates *plates, int top)
{
    char text[TEXT_BYTES];
    const double *shares = d->look->shares;
    const int right = MARGIN + BAR_WIDTH + MARGIN;
    draw_scale(canvas, plates, MARGIN, top + 4);
    (void)snprintf(text, sizeof text, "error of a hidden token: mean %.3g, %d masks",
                   d->look->error_mean, d->look->draws);
    canvas_text(canvas, right, top + 4, SCALE, ink, text);
    (void)snprintf(text, sizeof text,
                   "features as red, green, blue: %.0f, %.0f, %.0f %% of variance", 100 * shares[0],
                   100 * shares[1], 100 * shares[2]);
    canvas_text(canvas, right, top + 4 + LINE, SCALE, ink, text);
}

static void draw_band(struct canvas *canvas, const struct show_drawing *d,
                      const struct plates *plates, int first, int top)
{
    static const char *const names[] = {"frame", "features", "error"};
    const int side = d->clip->side;
    const int tubelets = d->look->grid.times;
    for (int row = 0; row < 3; row++)
        canvas_text(canvas, MARGIN, top + LINE + row * (side + GAP) + side / 2 - 8, SCALE, ink,
                    names[row]);
    for (int c = 0; c < COLUMNS && first + c < tubelets; c++) {
        char text[TEXT_BYTES];
        struct canvas_square at = {
            .left = MARGIN + LABELS + c * (side + GAP), .top = top + LINE, .side = side};
        name_frame(text, d->clip, (first + c) * d->look->tubelet);
        canvas_text(canvas, at.left, top + 4, SCALE, faint, text);
        draw_frame(canvas, d, (first + c) * d->look->tubelet, at);
        at.top += side + GAP;
        draw_features(canvas, d, plates, first + c, at);
        at.top += side + GAP;
        draw_error(canvas, d, plates, first + c, at);
    }
}

static ls_status draw_picture(const struct show_drawing *d, const struct plates *plates)
{
    ls_status st = LS_OK;
    struct canvas canvas = {0};
    char title[TEXT_BYTES];
    char facts[TEXT_BYTES];
    const int side = d->clip->side;
    const int bands = (d->look->grid.times + COLUMNS - 1) / COLUMNS;
    const int columns = d->look->grid.times < COLUMNS ? d->look->grid.times : COLUMNS;
    const int band = LINE + 3 * (side + GAP) + GAP;
    const int legend = MARGIN + BAR_WIDTH + MARGIN + 64 * CANVAS_LETTER_WIDTH * SCALE + MARGIN;
    int width = 2 * MARGIN + LABELS + columns * (side + GAP) - GAP;
    width = width < legend ? legend : width;
    const int head = MARGIN + 2 * LINE + GAP;
    const int height = head + bands * band + 2 * LINE + MARGIN;
    LS_TRY(canvas_open(&canvas, width, height, paper));
    describe(title, facts, d, 80);
    canvas_text(&canvas, MARGIN, MARGIN, SCALE, ink, title);
    canvas_text(&canvas, MARGIN, MARGIN + LINE, SCALE, faint, facts);
    for (int b = 0; b < bands; b++)
        draw_band(&canvas, d, plates, b * COLUMNS, head + b * band);
    draw_legend(&canvas, d, plates, head + bands * band);
    LS_TRY(picture_write(d->request->output, canvas.pixels, width, height));
done:
    canvas_close(&canvas);
    return st;
}

static void draw_film_frame(struct canvas *canvas, const struct show_drawing *d,
                            const struct plates *plates, int frame, int top)
{
    char text[TEXT_BYTES];
    const int side = d->clip->side;
    const int tubelet = frame / d->look->tubelet;
    struct canvas_square at = {.left = MARGIN, .top = top + LINE, .side = side};
    name_frame(text, d->clip, frame);
    canvas_fill(canvas, MARGIN, top, side, LINE, paper);
    canvas_text(canvas, at.left, top + 4, SCALE, ink, text);
    draw_frame(canvas, d, frame, at);
    at.left += side + FILM_GAP;
    canvas_text(canvas, at.left, top + 4, SCALE, ink, "features");
    draw_features(canvas, d, plates, tubelet, at);
    at.left += side + FILM_GAP;
    canvas_text(canvas, at.left, top + 4, SCALE, ink, "error");
    draw_error(canvas, d, plates, tubelet, at);
}

/* At the speed of the video. */
static double film_rate(const struct show_clip *clip)
{
    const double rate = clip->video.average_fps / (double)clip->step;
    return rate > RATE_LEAST ? rate : RATE_LEAST;
}

static ls_status draw_film(const struct show_drawing *d, const struct plates *plates)
{
    ls_status st = LS_OK;
    struct canvas canvas = {0};
    struct film *film = NULL;
    char title[TEXT_BYTES];
    char facts[TEXT_BYTES];
    const int side = d->clip->side;
    const int width = 2 * MARGIN + 3 * side + 2 * FILM_GAP;
    const int head = MARGIN + 2 * LINE + GAP;
    const int height = head + LINE + side + 3 * LINE;
    LS_TRY(canvas_open(&canvas, width, height, paper));
    describe(title, facts, d, 60);
    canvas_text(&canvas, MARGIN, MARGIN, SCALE, ink, title);
    canvas_text(&canvas, MARGIN, MARGIN + LINE, SCALE, faint, facts);
    draw_legend(&canvas, d, plates, head + LINE + side + LINE / 2);
    LS_TRY(film_open(&film, d->request->output, width, height, film_rate(d->clip)));
    for (int frame = 0; frame < d->clip->count; frame++) {
        draw_film_frame(&canvas, d, plates, frame, head);
        LS_TRY(film_add(film, canvas.pixels));
    }
    LS_TRY(film_commit(film));
done:
    film_close(&film);
    canvas_close(&canvas);
    return st;
}

ls_status show_draw(const struct show_drawing *drawing)
{
    ls_status st = LS_OK;
    struct plates plates = {0};
    LS_TRY(open_plates(&plates, drawing->look));
    LS_TRY(drawing->request->film ? draw_film(drawing, &plates) : draw_picture(drawing, &plates));
done:
    close_plates(&plates);
    return st;
}
