/* One clip of a micro-batch from start to end: draw a video, choose frames, decode, crop, resize;
 * draw again when the video cannot be decoded.
 *
 * The clip is a pure function of (config, datasets, step, micro-batch, sample): every rank, thread
 * and resume makes the same one. */
#ifndef LOCKSTEP_DATA_CLIP_MAKER_H
#define LOCKSTEP_DATA_CLIP_MAKER_H

#include <stdatomic.h>
#include <stdint.h>

#include "core/config.h"
#include "core/status.h"
#include "data/dataset.h"
#include "data/draw.h"
#include "data/loader.h"

/* What all makers of a loader share; read only once the threads run. */
struct clip_plan {
    const struct config *config;
    struct dataset *const *datasets;
    const struct draw *draw;
    const atomic_bool *stop; /* set: makers return LS_STOP soon */
    /* Called when a draw failed, with why; on the thread of the maker, with its context. */
    void (*failed)(void *context, int dataset, int64_t video, const char *reason);
};

/* One a thread. */
struct clip_maker;
ls_status clip_maker_open(struct clip_maker **out, const struct clip_plan *plan,
                          void *context) LS_MUST_CHECK;
void clip_maker_close(struct clip_maker **maker);

/* Where a clip stands in the run. */
struct clip_place {
    int64_t step; /* whose draws are used */
    int micro_batch, sample;
};

/* Make one clip.
 *
 *   pixels    out [T, H, W, 3]  T is the length of the micro-batch's group
 *   source    out  what was taken and how many draws failed before it
 *
 * Local, one call at a time a maker.  Errors: LS_DATA when so many draws failed in a row that the
 * share of bad videos must be above max_bad_share; LS_IO, LS_NOMEM; LS_STOP. */
ls_status clip_maker_make(struct clip_maker *maker, uint8_t *pixels,
                          struct loader_clip_source *source, struct clip_place place) LS_MUST_CHECK;

/* The video that a maker is busy with, for messages about a wait; false when none.  Any thread. */
bool clip_maker_busy(struct clip_maker *maker, int *dataset, int64_t *video);

/* How many of `draws` draws may fail before a share above `max_bad_share` is taken as proven: four
 * standard deviations over the mean, and 3 (none at all when the share is 0).  At the share itself
 * one run in some hundred thousand is stopped wrongly; far above it a run stops within tens of
 * draws.  Local, pure. */
double clip_bad_limit(double max_bad_share, int64_t draws);

#endif
