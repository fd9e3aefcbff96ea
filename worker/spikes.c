/* A ring of losses; medians are found by sorting a copy, a few microseconds a step. */
#include "worker/spikes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double DEVIATION_PER_MEDIAN_DISTANCE = 1.4826; /* of a normal distribution */
static const double LEAST_SHARE = 0.005;

void spikes_open(struct spikes *out, int window)
{
    *out = (struct spikes){.window = window < SPIKES_WINDOW_MAX ? window : SPIKES_WINDOW_MAX};
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

double spikes_score(const struct spikes *spikes, double loss)
{
    double values[SPIKES_WINDOW_MAX];
    int count = spikes->count;
    if (count < 1 || count < spikes->window)
        return 0;
    memcpy(values, spikes->losses, (size_t)count * sizeof *values);
    double middle = median(values, count);
    for (int i = 0; i < count; i++)
        values[i] = fabs(spikes->losses[i] - middle);
    double deviation =
        fmax(DEVIATION_PER_MEDIAN_DISTANCE * median(values, count), LEAST_SHARE * fabs(middle));
    return deviation > 0 ? (loss - middle) / deviation : 0;
}

void spikes_add(struct spikes *spikes, double loss)
{
    spikes->losses[spikes->next] = loss;
    spikes->next = (spikes->next + 1) % spikes->window;
    if (spikes->count < spikes->window)
        spikes->count++;
}
