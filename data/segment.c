#include "data/segment.h"

struct segment segment_find(const struct frame_record *frames, int count, int first)
{
    struct segment segment = {
        .first = first,
        .end = first + 1,
        .start = frames[first].start,
        .last = frames[first].last,
    };
    for (; segment.end < count; segment.end++) {
        const struct frame_record *frame = &frames[segment.end];
        uint32_t start = frame->start < segment.start ? frame->start : segment.start;
        uint32_t last = frame->last > segment.last ? frame->last : segment.last;
        if (frame->start > segment.last || last - start >= SEGMENT_PACKETS_MAX)
            break;
        segment.start = start;
        segment.last = last;
    }
    return segment;
}
