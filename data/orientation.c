/* A display matrix maps stored to shown coordinates: x' = a x + c y, y' = b x + d y with y
 * downwards and a, b, c, d = matrix[0], [1], [3], [4].  A turn by t clockwise is (a, b) = (cos t,
 * sin t). */
#include "data/orientation.h"

#include <math.h>

struct video_orientation orientation_of_matrix(const int32_t *matrix)
{
    double a = matrix[0];
    double b = matrix[1];
    double c = matrix[3];
    double d = matrix[4];
    struct video_orientation out = {0};
    double determinant = a * d - b * c;
    if (determinant == 0)
        return out;
    out.flip_horizontal = determinant < 0;
    /* The flip comes after the turn and negates x': undo it to read the turn. */
    double sign = out.flip_horizontal ? -1 : 1;
    double angle = atan2(b, sign * a);
    out.quarter_turns = ((int)lround(angle / (acos(-1.0) / 2)) + 4) % 4;
    return out;
}
