/* Charts over steps as inline SVG. */
#ifndef LOCKSTEP_LAUNCHER_CHART_H
#define LOCKSTEP_LAUNCHER_CHART_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { CHART_SERIES_MAX = 8, CHART_POINTS_MAX = 160 };

struct chart_series {
    const char *name;
    const float *values; /* [count], NaN where there is none; NULL: the series is left out */
};

/* Something that happened before a step: a restart, a new stage. */
struct chart_mark {
    int64_t step;
    const char *text;
};

struct chart {
    const char *title, *unit;
    const char *hint; /* behind the title; NULL: nothing */
    const int64_t *steps;
    int64_t count;
    struct chart_series series[CHART_SERIES_MAX];
    int series_count;
    bool log_scale; /* values that are not positive are left out */
    bool from_zero;
    bool stacked; /* shares of the sum of all series, 0 to 100 % */
    const struct chart_mark *marks;
    int mark_count;
};

/* A <figure>.  Steps are gathered into at most CHART_POINTS_MAX spans: the line is their mean, the
 * band from the least to the largest value; pointing at a span tells its numbers.  Nothing is
 * written where no series has a value.  Local. */
void chart_draw(FILE *out, const struct chart *chart);

/* Ticks at round numbers in [low, high], at most `most`; how many.  Local. */
int chart_ticks(double *out, int most, double low, double high);

#endif
