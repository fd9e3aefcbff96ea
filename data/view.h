/* Clips of labelled videos as the frozen evaluation takes them: segments of a video, views of a
 * segment, and for training a random window and crop; made by threads, a list at a time.
 *
 * A clip is a pure function of the video and of what the item says; nothing depends on the threads.
 */
#ifndef LOCKSTEP_DATA_VIEW_H
#define LOCKSTEP_DATA_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "data/crop.h"
#include "data/dataset.h"

struct view_options {
    int clip_frames, frame_step; /* frame_step 0: by fps */
    double fps;
    int segments, views;
    int size;                  /* pixels of the square result */
    double test_scale;         /* side of the central crop over the short side, with one view */
    double scale[2], ratio[2]; /* of random crops */
    uint64_t seed;
};

struct view_item {
    const struct dataset *dataset;
    int64_t video;
    int segment, view;
    bool random; /* window and crop are drawn; the view is not looked at */
    /* What a random clip's draws depend on, beside the seed. */
    int64_t step;
    int micro_batch, sample;
    uint8_t *pixels;  /* out [clip_frames, size, size, 3] */
    ls_status status; /* out: LS_OK, or LS_DATA for a video that cannot be decoded */
};

/* First frame of a segment's window and the frames that windows may begin after it.
 *
 * A video falls into `segments` equal parts.  Where a part is longer than the clip, the window lies
 * in it: begin = part * segment, room = what clip_window_count says of the part.  Else segments
 * overlap: begin goes evenly from 0 to where the last clip fits, room = 1.  Local, pure.  Source:
 * V-JEPA 2 public code, src/datasets/video_dataset.py, whose overlapping segments leave out the
 * last frames. */
struct view_window {
    int64_t begin;
    int64_t frames; /* that clip_numbers is asked about, from `begin` */
    int64_t room;
};
struct view_window view_window(int64_t video_frames, int clip_frames, int64_t step, int segments,
                               int segment);

/* The box of a test: with one view the central square of test_scale times the short side, with more
 * the short side's square at even places along the long side.  Local, pure. */
struct crop_box view_box(const struct view_options *options, int view, int width, int height);

struct view_pool;

/* `threads` decoders.  Local.  Errors: LS_NOMEM, LS_FAILED. */
ls_status view_pool_open(struct view_pool **out, const struct view_options *options,
                         int threads) LS_MUST_CHECK;
void view_pool_close(struct view_pool **pool);

/* Begin a list of items, borrowed until view_pool_wait; one list at a time.  Local. */
void view_pool_start(struct view_pool *pool, struct view_item *items, int count);

/* Wait until the list is done.  A video that cannot be decoded is its item's LS_DATA, told once a
 * video in the log.  Local.  Errors: LS_IO, LS_NOMEM, and LS_TIMEOUT after `timeout_s`. */
ls_status view_pool_wait(struct view_pool *pool, double timeout_s) LS_MUST_CHECK;

#endif
