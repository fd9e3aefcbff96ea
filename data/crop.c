/* The crop box of a clip.  Python's round is rint's: halves to even. */
#include "data/crop.h"

#include <math.h>

enum { CROP_TRIES = 10 };

static struct crop_box central_box(const double *ratio, int frame_width, int frame_height)
{
    struct crop_box box = {0, 0, frame_width, frame_height};
    double aspect = (double)frame_width / (double)frame_height;
    if (aspect < ratio[0])
        box.height = (int)fmin(frame_height, rint(frame_width / ratio[0]));
    else if (aspect > ratio[1])
        box.width = (int)fmin(frame_width, rint(frame_height * ratio[1]));
    box.width = box.width > 0 ? box.width : 1;
    box.height = box.height > 0 ? box.height : 1;
    box.left = (frame_width - box.width) / 2;
    box.top = (frame_height - box.height) / 2;
    return box;
}

struct crop_box crop_draw(struct random_stream *stream, const double *scale, const double *ratio,
                          int frame_width, int frame_height)
{
    const double frame_area = (double)frame_width * (double)frame_height;
    for (int i = 0; i < CROP_TRIES; i++) {
        double area = random_uniform(stream, scale[0], scale[1]) * frame_area;
        double aspect = exp(random_uniform(stream, log(ratio[0]), log(ratio[1])));
        double width = rint(sqrt(area * aspect));
        double height = rint(sqrt(area / aspect));
        if (width < 1.0 || width > frame_width || height < 1.0 || height > frame_height)
            continue;
        struct crop_box box = {.width = (int)width, .height = (int)height};
        box.top = (int)random_below(stream, (uint64_t)(frame_height - box.height) + 1);
        box.left = (int)random_below(stream, (uint64_t)(frame_width - box.width) + 1);
        return box;
    }
    return central_box(ratio, frame_width, frame_height);
}

bool crop_draw_flip(struct random_stream *stream)
{
    return random_unit(stream) < 0.5;
}

/* Numbers are not negative: the quotient is rounded down. */
static int between(int first, int last, int frame, int frames)
{
    if (frames < 2)
        return first;
    return (int)(((int64_t)first * (frames - 1 - frame) + (int64_t)last * frame) / (frames - 1));
}

struct crop_box crop_between(struct crop_box first, struct crop_box last, int frame, int frames)
{
    return (struct crop_box){.left = between(first.left, last.left, frame, frames),
                             .top = between(first.top, last.top, frame, frames),
                             .width = between(first.width, last.width, frame, frames),
                             .height = between(first.height, last.height, frame, frames)};
}

/* An edge `at` of [0, from] on [0, to]. */
static int rescale_edge(int at, int from, int to)
{
    return (int)(((int64_t)at * to * 2 + from) / ((int64_t)from * 2));
}

struct crop_box crop_rescale(struct crop_box box, int from_width, int from_height, int to_width,
                             int to_height)
{
    int left = rescale_edge(box.left, from_width, to_width);
    int top = rescale_edge(box.top, from_height, to_height);
    int right = rescale_edge(box.left + box.width, from_width, to_width);
    int bottom = rescale_edge(box.top + box.height, from_height, to_height);
    left = left < to_width ? left : to_width - 1;
    top = top < to_height ? top : to_height - 1;
    return (struct crop_box){.left = left,
                             .top = top,
                             .width = right > left ? right - left : 1,
                             .height = bottom > top ? bottom - top : 1};
}
