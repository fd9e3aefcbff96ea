#include "data/clip_cost.h"

#include <stdbool.h>

#include "data/clip.h"
#include "data/segment.h"

enum { POSITIONS_MAX = 64 };

/* Which positions a cost is the mean of. */
struct positions {
    int64_t frames, step, windows, count;
};

static struct positions positions_of(size_t frame_count, double average_fps)
{
    struct positions positions = {.frames = (int64_t)frame_count};
    positions.step = clip_frame_step(average_fps, CLIP_COST_FPS, 0);
    positions.windows = clip_window_count(positions.frames, CLIP_COST_FRAMES, positions.step);
    positions.count = positions.windows < POSITIONS_MAX ? positions.windows : POSITIONS_MAX;
    return positions;
}

static void numbers_at(int64_t *numbers, const struct positions *positions, int64_t position)
{
    int64_t window = 0;
    if (positions->count > 1)
        window = position * (positions->windows - 1) / (positions->count - 1);
    clip_numbers(numbers, positions->frames, CLIP_COST_FRAMES, positions->step, window);
}

/* Adds the packets of a segment that are fed: those that may be left out only when the clip wants
 * them. */
static void add_segment(struct clip_cost *cost, const struct segment *segment,
                        const struct frame_record *rows, const struct packet_record *packets)
{
    double count = segment->last - segment->start + 1;
    for (uint32_t p = segment->start; packets != NULL && p <= segment->last; p++) {
        const bool skippable = (packets[p].flags & PACKET_SKIPPABLE) != 0;
        count -= skippable;
        cost->bytes += skippable ? 0 : packets[p].size;
    }
    for (int i = segment->first; packets != NULL && i < segment->end; i++) {
        const struct packet_record *packet = &packets[rows[i].packet];
        const bool repeated = i > segment->first && rows[i].packet == rows[i - 1].packet;
        const bool added = !repeated && (packet->flags & PACKET_SKIPPABLE) != 0;
        count += added;
        cost->bytes += added ? packet->size : 0;
    }
    cost->decoded += count;
    cost->pixels += count * rows[segment->first].width * rows[segment->first].height;
}

static void add_clip(struct clip_cost *cost, const struct frame_record *rows,
                     const struct packet_record *packets)
{
    for (int first = 0; first < CLIP_COST_FRAMES;) {
        const struct segment segment = segment_find(rows, CLIP_COST_FRAMES, first);
        add_segment(cost, &segment, rows, packets);
        first = segment.end;
    }
}

static void take_mean(struct clip_cost *cost, int64_t positions)
{
    cost->decoded /= (double)positions;
    cost->pixels /= (double)positions;
    cost->bytes /= (double)positions;
    cost->work = cost->pixels + CLIP_COST_BYTE * cost->bytes;
}

struct clip_cost clip_cost_measure(const struct frame_record *frames, size_t frame_count,
                                   const struct packet_record *packets, double average_fps)
{
    struct clip_cost cost = {0};
    const struct positions positions = positions_of(frame_count, average_fps);
    for (int64_t p = 0; p < positions.count; p++) {
        int64_t numbers[CLIP_COST_FRAMES];
        struct frame_record rows[CLIP_COST_FRAMES];
        numbers_at(numbers, &positions, p);
        for (int i = 0; i < CLIP_COST_FRAMES; i++)
            rows[i] = frames[numbers[i]];
        add_clip(&cost, rows, packets);
    }
    take_mean(&cost, positions.count);
    return cost;
}

struct clip_cost clip_cost_predict(size_t frame_count, double area, uint32_t gop_frames,
                                   double average_fps)
{
    struct clip_cost cost = {0};
    const struct positions positions = positions_of(frame_count, average_fps);
    for (int64_t p = 0; p < positions.count; p++) {
        int64_t numbers[CLIP_COST_FRAMES];
        struct frame_record rows[CLIP_COST_FRAMES] = {0};
        numbers_at(numbers, &positions, p);
        for (int i = 0; i < CLIP_COST_FRAMES; i++) {
            rows[i].packet = rows[i].last = (uint32_t)numbers[i];
            rows[i].start = rows[i].last - rows[i].last % gop_frames;
        }
        add_clip(&cost, rows, NULL);
    }
    take_mean(&cost, positions.count);
    cost.pixels = cost.work = cost.decoded * area;
    return cost;
}
