/* Micro-batches from the loader to the model: where device memory is not the host's, their copies
 * run ahead of the computation. */
#ifndef LOCKSTEP_WORKER_FEED_H
#define LOCKSTEP_WORKER_FEED_H

#include <stdint.h>

#include "core/hash.h"
#include "data/loader.h"
#include "model/device.h"
#include "model/jepa.h"

struct feed;

/* `loader`, `jepa` and `device` are borrowed for the feed's life; the loader's memory is pinned for
 * that long.  `batches`: how many will be taken at most.  Local.  Errors: LS_NOMEM. */
ls_status feed_open(struct feed **out, struct loader *loader, struct jepa *jepa,
                    const struct model_device *device, int64_t batches) LS_MUST_CHECK;

/* Waits for copies under way; drops what is staged. */
void feed_close(struct feed **feed);

/* See that the next micro-batch is staged (jepa_staged_micro_batch computes it); `draws` is its
 * hash.  Waits for the loader at most `timeout_s` if it was not staged ahead.  Local.  Errors: as
 * loader_next and jepa_stage; LS_USAGE when all have been taken. */
ls_status feed_take(struct feed *feed, struct hash128 *draws, double timeout_s) LS_MUST_CHECK;

/* The micro-batch that was taken last; until feed_ahead.  Local. */
const struct loader_batch *feed_taken(const struct feed *feed);

/* The micro-batch that was taken is queued: stage the one after it, if the loader has it by now.
 * Never waits for the loader.  Local.  Errors: as jepa_stage. */
ls_status feed_ahead(struct feed *feed) LS_MUST_CHECK;

#endif
