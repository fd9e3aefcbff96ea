/* A picture in memory that is drawn on: texts, frames, and fields of values on a grid of tokens. */
#ifndef LOCKSTEP_WORKER_CANVAS_H
#define LOCKSTEP_WORKER_CANVAS_H

#include <stdint.h>

#include "core/status.h"

struct canvas {
    int width, height;
    uint8_t *pixels; /* [height, width, 3] RGB, owned */
};

struct canvas_colour {
    uint8_t red, green, blue;
};

struct canvas_square {
    int left, top, side;
};

/* Of one colour.  Local.  Errors: LS_NOMEM. */
ls_status canvas_open(struct canvas *out, int width, int height,
                      struct canvas_colour colour) LS_MUST_CHECK;
void canvas_close(struct canvas *canvas);

/* What is drawn beyond the edges is left out.  Local. */
void canvas_fill(struct canvas *canvas, int left, int top, int width, int height,
                 struct canvas_colour colour);

/* Text in letters of `scale` times 5 x 8 pixels, 6 from one to the next; anything but printable
 * ASCII shows as '?'.  canvas_text_width is what it takes. */
enum { CANVAS_LETTERS = 95, CANVAS_LETTER_WIDTH = 6, CANVAS_LETTER_HEIGHT = 8 };
extern const char *const canvas_letters[CANVAS_LETTERS]; /* rows of '#' and '.', blanks between */
void canvas_text(struct canvas *canvas, int left, int top, int scale, struct canvas_colour colour,
                 const char *text);
int canvas_text_width(const char *text, int scale);

/* A square image rgb[side * reduce, side * reduce, 3], each pixel the mean of reduce x reduce. */
void canvas_image(struct canvas *canvas, struct canvas_square at, const uint8_t *rgb, int reduce);

/* The colour of a value in [0, 1] on the heat scale, from dark to light; grey for NaN. */
struct canvas_colour canvas_heat(double value);

/* Values of a grid, stretched over the square: between the middles of neighbours in proportion.
 * colours: values[rows, columns, 3] in [0, 1] as red, green, blue.  heat: values[rows, columns] on
 * the heat scale. */
void canvas_colours(struct canvas *canvas, struct canvas_square at, const float *values, int rows,
                    int columns);
void canvas_heat_map(struct canvas *canvas, struct canvas_square at, const float *values, int rows,
                     int columns);

#endif
