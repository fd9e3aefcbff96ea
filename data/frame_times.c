/* Search in the frame table of a shard.  Times grow from frame to frame (packing sees to that), so
 * a time is found by halving; of a long video a few blocks of rows are read, of most all in one. */
#include "data/frame_times.h"

#include <math.h>
#include <stdlib.h>

#include "core/files.h"
#include "data/dataset_internal.h"

enum { BLOCK = 256 };

struct frame_times {
    struct dataset_place place;
    int64_t frames;
    double tick; /* seconds */
    double rate; /* frames a second that hold instead of the frames' own times; 0: none */
    int64_t first_time;
    int64_t block; /* which rows are here: [block * BLOCK, ...); -1: none */
    uint8_t rows[BLOCK * FRAME_ROW_BYTES];
    struct frame_record records[BLOCK];
};

ls_status frame_times_open(struct frame_times **out)
{
    return core_alloc(out, 1);
}

void frame_times_close(struct frame_times **times)
{
    free(*times);
    *times = NULL;
}

static ls_status load_block(struct frame_times *times, int64_t block)
{
    ls_status st = LS_OK;
    const struct dataset_place *place = &times->place;
    const int64_t first = block * BLOCK;
    const int64_t left = times->frames - first;
    const uint64_t count = (uint64_t)(left < BLOCK ? left : BLOCK);
    times->block = -1;
    LS_TRY(dataset_read_rows(times->records, times->rows, place, &record_frame_layout,
                             place->shard->frames_at, place->video.first_frame + (uint64_t)first,
                             count));
    times->block = block;
done:
    return st;
}

/* Seconds of frame `number` since the first one. */
static ls_status time_of(double *out, struct frame_times *times, int64_t number)
{
    ls_status st = LS_OK;
    if (times->rate > 0) {
        *out = (double)number / times->rate;
        return LS_OK;
    }
    if (times->block != number / BLOCK)
        LS_TRY(load_block(times, number / BLOCK));
    const struct frame_record *frame = &times->records[number % BLOCK];
    if (record_frame_check(frame) != frame->check) {
        st = LS_FAIL(LS_DATA, "%s: damaged: the row of frame %lld of video %llu", times->place.path,
                     (long long)number, (unsigned long long)times->place.video.first_frame);
        goto done;
    }
    if (number == 0)
        times->first_time = frame->time;
    *out = ((double)frame->time - (double)times->first_time) * times->tick;
done:
    return st;
}

static ls_status choose_video(struct frame_times *times, const struct dataset *dataset,
                              int64_t video)
{
    ls_status st = LS_OK;
    double zero = 0.0;
    times->block = -1;
    LS_TRY(dataset_place(&times->place, dataset, video));
    const struct video_record *row = &times->place.video;
    times->frames = (int64_t)row->frames;
    times->tick = (double)row->time_base_num / (double)row->time_base_den;
    times->rate = row->flags & VIDEO_RATE_GIVEN && row->average_fps > 0 ? row->average_fps : 0;
    if (times->frames < 1 || row->time_base_num < 1 || row->time_base_den < 1) {
        st = LS_FAIL(LS_DATA, "%s: video %lld has no frame or no time base", times->place.path,
                     (long long)video);
        goto done;
    }
    LS_TRY(time_of(&zero, times, 0));
done:
    return st;
}

ls_status frame_times_span(double *out, struct frame_times *times, const struct dataset *dataset,
                           int64_t video)
{
    ls_status st = LS_OK;
    LS_TRY(choose_video(times, dataset, video));
    LS_TRY(time_of(out, times, times->frames - 1));
done:
    return st;
}

/* The first frame of [low, high] that is not before `seconds`; `high` when none is. */
static ls_status find(int64_t *out, struct frame_times *times, double seconds, int64_t low,
                      int64_t high)
{
    ls_status st = LS_OK;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        double at = 0.0;
        LS_TRY(time_of(&at, times, middle));
        if (at < seconds)
            low = middle + 1;
        else
            high = middle;
    }
    *out = low;
done:
    return st;
}

ls_status frame_times_nearest(int64_t *out, struct frame_times *times,
                              const struct dataset *dataset, int64_t video, const double *seconds,
                              int count)
{
    ls_status st = LS_OK;
    int64_t low = 0;
    LS_TRY(choose_video(times, dataset, video));
    for (int i = 0; i < count; i++) {
        double after = 0.0;
        double before = 0.0;
        LS_TRY(find(&out[i], times, seconds[i], low, times->frames - 1));
        low = out[i] > 0 ? out[i] - 1 : 0;
        LS_TRY(time_of(&after, times, out[i]));
        LS_TRY(time_of(&before, times, low));
        if (fabs(seconds[i] - before) <= fabs(after - seconds[i]))
            out[i] = low;
        /* The next time is not earlier, so neither is its frame. */
        low = out[i];
    }
done:
    return st;
}
