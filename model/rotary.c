/* Made in double, so that float32 rounding is the only error of an angle's sine, however long the
 * clip. */
#include "model/rotary.h"

#include <math.h>

int rotary_axis_width(int head_width)
{
    return 2 * ((head_width / 3) / 2);
}

void rotary_fill(float *cosine, float *sine, int positions, int axis_width)
{
    const int half = axis_width / 2;
    for (int64_t p = 0; p < positions; p++)
        for (int c = 0; c < axis_width; c++) {
            const double angle = (double)p * pow(10000.0, -(double)(c % half) / (double)half);
            cosine[p * axis_width + c] = (float)cos(angle);
            sine[p * axis_width + c] = (float)sin(angle);
        }
}
