/* Curves in a terminal. */
#ifndef LOCKSTEP_LAUNCHER_PLOT_TEXT_H
#define LOCKSTEP_LAUNCHER_PLOT_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/status.h"

enum { PLOT_COLUMNS_LEAST = 24, PLOT_COLUMNS_MOST = 400, PLOT_ROWS_MOST = 100 };

struct plot_text {
    const char *title;
    const int64_t *steps;
    const float *values; /* [count], NaN: none */
    int64_t count;
    int columns, rows; /* of characters, labels included in `columns` and not in `rows` */
    bool braille;      /* 2 x 4 dots a character (UTF-8); else one of `*` a character */
};

/* A line with title, range and newest value, the curve beside its two extreme values, and a line
 * with the first and last step.  A column shows the mean of its steps.  Local.  Errors: LS_NOMEM.
 */
ls_status plot_text_draw(FILE *out, const struct plot_text *plot) LS_MUST_CHECK;

#endif
