/* A ring of losses; medians are found by sorting a copy, a few microseconds a step. */
#include "worker/spikes.h"

#include <math.h>
#include <string.h>

#include "core/median.h"

static const double DEVIATION_PER_MEDIAN_DISTANCE = 1.4826; /* of a normal distribution */
static const double LEAST_SHARE = 0.005;

void spikes_open(struct spikes *out, int window)
{
    *out = (struct spikes){.window = window < SPIKES_WINDOW_MAX ? window : SPIKES_WINDOW_MAX};
}

double spikes_score(const struct spikes *spikes, double loss)
{
    double values[SPIKES_WINDOW_MAX];
    int count = spikes->count;
    if (count < 1 || count < spikes->window)
        return 0;
    memcpy(values, spikes->losses, (size_t)count * sizeof *values);
    double middle = median_of(values, count);
    for (int i = 0; i < count; i++)
        values[i] = fabs(spikes->losses[i] - middle);
    double deviation =
        fmax(DEVIATION_PER_MEDIAN_DISTANCE * median_of(values, count), LEAST_SHARE * fabs(middle));
    return deviation > 0 ? (loss - middle) / deviation : 0;
}

void spikes_add(struct spikes *spikes, double loss)
{
    spikes->losses[spikes->next] = loss;
    spikes->next = (spikes->next + 1) % spikes->window;
    if (spikes->count < spikes->window)
        spikes->count++;
}
