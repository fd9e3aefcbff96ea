/* Frame numbers of a clip.  The spacing is computed in double, in the order that numpy computes it,
 * because truncation to integers makes the last bit of a product visible. */
#include "data/clip.h"

#include <math.h>

/* A step beyond this takes one frame of any video; it keeps clip_frames * step far from overflow.
 */
static const double step_limit = 1e9;

int64_t clip_frame_step(double average_fps, double fps, int frame_step)
{
    if (frame_step > 0)
        return frame_step;
    if (!(fps > 0.0) || !(average_fps > 0.0))
        return 1;
    double rate = ceil(average_fps);
    double step = rint((rate - fmod(rate, fps)) / fps);
    if (!(step >= 1.0))
        return 1;
    return (int64_t)fmin(step, step_limit);
}

int64_t clip_window_count(int64_t video_frames, int clip_frames, int64_t step)
{
    int64_t window_frames = clip_frames * step;
    return video_frames > window_frames ? video_frames - window_frames : 1;
}

/* Element `index` of `count` numbers spread evenly over [first, last], both included. */
static double spread(int64_t first, int64_t last, int64_t count, int64_t index)
{
    if (index == 0)
        return (double)first;
    if (index == count - 1)
        return (double)last;
    double gap = (double)(last - first) / (double)(count - 1);
    return (double)index * gap + (double)first;
}

void clip_numbers(int64_t *out, int64_t video_frames, int clip_frames, int64_t step, int64_t window)
{
    int64_t window_frames = clip_frames * step;
    int64_t first = 0;
    int64_t end = video_frames;
    int64_t count = video_frames / step;
    if (video_frames > window_frames) {
        first = window;
        end = window + window_frames;
        count = clip_frames;
    }
    for (int t = 0; t < clip_frames; t++) {
        double number = t < count ? spread(first, end, count, t) : (double)end;
        out[t] = (int64_t)fmin(number, (double)(end - 1));
    }
}

void clip_times(double *seconds, double span, int clip_frames, double fps, double part)
{
    const double start = part * fmax(0.0, span - (clip_frames - 1) / fps);
    for (int k = 0; k < clip_frames; k++)
        seconds[k] = start + k / fps;
}
