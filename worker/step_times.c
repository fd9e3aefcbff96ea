/* A median, because single steps may wait for a cold file cache and say nothing of the next. */
#include "worker/step_times.h"

#include <math.h>
#include <string.h>

#include "core/median.h"

enum { FIRST_STEPS = 3 };

static const double LEAST_S = 60;
static const double MEDIANS = 10;

void step_times_add(struct step_times *times, double seconds)
{
    times->seconds[times->count % STEP_TIMES_KEPT] = seconds;
    times->count++;
}

double step_times_median(const struct step_times *times)
{
    double sorted[STEP_TIMES_KEPT];
    int count = times->count < STEP_TIMES_KEPT ? times->count : STEP_TIMES_KEPT;
    if (count == 0)
        return 0;
    memcpy(sorted, times->seconds, (size_t)count * sizeof *sorted);
    return median_of(sorted, count);
}

double step_times_limit(const struct step_times *times, double configured, double start_s)
{
    if (configured > 0)
        return configured;
    double limit_s = fmax(LEAST_S, MEDIANS * step_times_median(times));
    return times->count < FIRST_STEPS ? fmax(limit_s, start_s) : limit_s;
}
