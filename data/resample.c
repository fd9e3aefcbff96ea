/* Tables of bilinear resampling. */
#include "data/resample.h"

#include <math.h>

void resample_axis_fill(struct resample_axis *axis, int start, int length, bool mirrored)
{
    const float scale = (float)length / (float)axis->count;
    for (int i = 0; i < axis->count; i++) {
        const float at = fmaxf(scale * ((float)i + 0.5F) - 0.5F, 0.0F);
        int low = (int)at;
        low = low < length ? low : length - 1;
        const int place = mirrored ? axis->count - 1 - i : i;
        axis->low[place] = start + low;
        axis->high[place] = start + (low + 1 < length ? low + 1 : low);
        axis->weight[place] = low + 1 < length ? at - (float)low : 0.0F;
    }
}
