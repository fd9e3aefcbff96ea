/* Plain loops over bytes: a picture is made once, for a person. */
#include "worker/canvas.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"

static const struct canvas_colour unknown = {150, 150, 150};

ls_status canvas_open(struct canvas *out, int width, int height, struct canvas_colour colour)
{
    ls_status st = LS_OK;
    *out = (struct canvas){.width = width, .height = height};
    LS_TRY(core_alloc(&out->pixels, (int64_t)width * height * 3));
    canvas_fill(out, 0, 0, width, height, colour);
done:
    return st;
}

void canvas_close(struct canvas *canvas)
{
    free(canvas->pixels);
    canvas->pixels = NULL;
}

static void put(struct canvas *canvas, int x, int y, struct canvas_colour colour)
{
    if (x < 0 || y < 0 || x >= canvas->width || y >= canvas->height)
        return;
    uint8_t *pixel = canvas->pixels + 3 * ((int64_t)y * canvas->width + x);
    pixel[0] = colour.red;
    pixel[1] = colour.green;
    pixel[2] = colour.blue;
}

void canvas_fill(struct canvas *canvas, int left, int top, int width, int height,
                 struct canvas_colour colour)
{
    for (int y = top; y < top + height; y++)
        for (int x = left; x < left + width; x++)
            put(canvas, x, y, colour);
}

void canvas_text(struct canvas *canvas, int left, int top, int scale, struct canvas_colour colour,
                 const char *text)
{
    enum { ROW = CANVAS_LETTER_WIDTH }; /* 5 pixels and a blank in the table, too */
    for (; *text != '\0'; text++, left += CANVAS_LETTER_WIDTH * scale) {
        const bool known = *text >= ' ' && *text <= '~';
        const char *dots = canvas_letters[(known ? *text : '?') - ' '];
        for (int row = 0; row < CANVAS_LETTER_HEIGHT; row++)
            for (int column = 0; column < CANVAS_LETTER_WIDTH - 1; column++)
                if (dots[row * ROW + column] == '#')
                    canvas_fill(canvas, left + column * scale, top + row * scale, scale, scale,
                                colour);
    }
}

int canvas_text_width(const char *text, int scale)
{
    return (int)strlen(text) * CANVAS_LETTER_WIDTH * scale;
}

void canvas_image(struct canvas *canvas, struct canvas_square at, const uint8_t *rgb, int reduce)
{
    const int64_t row = (int64_t)at.side * reduce;
    for (int y = 0; y < at.side; y++)
        for (int x = 0; x < at.side; x++) {
            int sums[3] = {0};
            for (int i = 0; i < reduce * reduce; i++) {
                const int64_t pixel =
                    ((int64_t)y * reduce + i / reduce) * row + (int64_t)x * reduce + i % reduce;
                for (int c = 0; c < 3; c++)
                    sums[c] += rgb[3 * pixel + c];
            }
            const int count = reduce * reduce;
            put(canvas, at.left + x, at.top + y,
                (struct canvas_colour){(uint8_t)((sums[0] + count / 2) / count),
                                       (uint8_t)((sums[1] + count / 2) / count),
                                       (uint8_t)((sums[2] + count / 2) / count)});
        }
}

static uint8_t level(double value)
{
    return (uint8_t)lrint(255.0 * fmin(fmax(value, 0.0), 1.0));
}

struct canvas_colour canvas_heat(double value)
{
    /* Lightness rises evenly, so that it can be read without its colours, too. */
    static const double stops[][3] = {
        {.05, .05, .16}, {.30, .12, .46}, {.72, .22, .38}, {.95, .56, .18}, {1.0, .96, .68}};
    enum { LAST = sizeof stops / sizeof *stops - 1 };
    if (isnan(value))
        return unknown;
    const double at = LAST * fmin(fmax(value, 0.0), 1.0);
    const int low = at < LAST ? (int)at : LAST - 1;
    const double part = at - low;
    double mixed[3];
    for (int c = 0; c < 3; c++)
        mixed[c] = stops[low][c] + part * (stops[low + 1][c] - stops[low][c]);
    return (struct canvas_colour){level(mixed[0]), level(mixed[1]), level(mixed[2])};
}

/* Which two of `count` cells pixel `at` of `side` lies between, and how far it is from the first.
 */
struct between {
    int low, high;
    double part;
};

static struct between find_between(int at, int side, int count)
{
    const double place = fmin(fmax((at + 0.5) * count / side - 0.5, 0.0), count - 1.0);
    const int low = (int)place;
    return (struct between){low, low + 1 < count ? low + 1 : low, place - low};
}

struct field {
    const float *values; /* [rows, columns, channels] */
    int rows, columns, channels;
};

/* What is not known spreads to the middle between it and its neighbour. */
static double blend(double a, double b, double part)
{
    if (isnan(a) || isnan(b))
        return part < 0.5 ? a : b;
    return (1 - part) * a + part * b;
}

static double mix(const struct field *field, struct between y, struct between x, int channel)
{
    const int64_t row = (int64_t)field->columns * field->channels;
    const float *top = field->values + y.low * row + channel;
    const float *bottom = field->values + y.high * row + channel;
    const int64_t left = (int64_t)x.low * field->channels;
    const int64_t right = (int64_t)x.high * field->channels;
    return blend(blend((double)top[left], (double)top[right], x.part),
                 blend((double)bottom[left], (double)bottom[right], x.part), y.part);
}

static void draw_field(struct canvas *canvas, struct canvas_square at, const struct field *field)
{
    for (int y = 0; y < at.side; y++) {
        const struct between row = find_between(y, at.side, field->rows);
        for (int x = 0; x < at.side; x++) {
            const struct between column = find_between(x, at.side, field->columns);
            const double first = mix(field, row, column, 0);
            const struct canvas_colour colour =
                field->channels == 1
                    ? canvas_heat(first)
                    : (struct canvas_colour){level(first), level(mix(field, row, column, 1)),
                                             level(mix(field, row, column, 2))};
            put(canvas, at.left + x, at.top + y, colour);
        }
    }
}

void canvas_colours(struct canvas *canvas, struct canvas_square at, const float *values, int rows,
                    int columns)
{
    draw_field(canvas, at, &(struct field){values, rows, columns, 3});
}

void canvas_heat_map(struct canvas *canvas, struct canvas_square at, const float *values, int rows,
                     int columns)
{
    draw_field(canvas, at, &(struct field){values, rows, columns, 1});
}
