/* When the frames of a packed video are shown, and which frame is shown nearest to a time: what
 * `data.sampling: timestamps` needs, right for any frame rate and for none. */
#ifndef LOCKSTEP_DATA_FRAME_TIMES_H
#define LOCKSTEP_DATA_FRAME_TIMES_H

#include <stdint.h>

#include "core/status.h"
#include "data/dataset.h"

/* Reads rows of frame tables by blocks and keeps the last one: one a thread. */
struct frame_times;
ls_status frame_times_open(struct frame_times **out) LS_MUST_CHECK;
void frame_times_close(struct frame_times **times);

/* Seconds from the first shown frame of a video to its last.  Local.  Errors: LS_DATA for a damaged
 * table, LS_IO. */
ls_status frame_times_span(double *out, struct frame_times *times, const struct dataset *dataset,
                           int64_t video) LS_MUST_CHECK;

/* The frames shown nearest to given times; of two at the same distance the earlier.
 *
 *   out       out [count]  frame numbers, non-decreasing
 *   seconds   in  [count]  since the first frame, non-decreasing; beyond the last frame it is taken
 *
 * Local.  Errors: as above. */
ls_status frame_times_nearest(int64_t *out, struct frame_times *times,
                              const struct dataset *dataset, int64_t video, const double *seconds,
                              int count) LS_MUST_CHECK;

#endif
