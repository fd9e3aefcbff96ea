/* Gradient buckets: contiguous ranges of the flat gradient that are summed over ranks while
 * backward still runs.
 *
 * Backward reports finished ranges (comm_buckets_ready, the model's gradient-ready callback); when
 * all of a bucket is there, its sum is queued.  Bucket borders depend only on the parameter count
 * and the bucket size, so that every rank queues the same requests in the same order.
 *
 * Divided buckets (core/division.h) are summed so that each rank gets its own slice of each, and
 * nothing else: half the bytes. */
#ifndef LOCKSTEP_COMM_BUCKETS_H
#define LOCKSTEP_COMM_BUCKETS_H

#include <stdint.h>

#include "comm/comm.h"
#include "comm/device.h"
#include "core/division.h"

struct comm_buckets;

/* `gradient[count]` is borrowed for the buckets' life: host memory that `group` sums, or, where
 * `device` is not NULL, memory of the card, that is final as soon as the compute stream comes to
 * where it is when a range is reported.  Buckets are cut from the end, since backward ends at the
 * front.  Local.  Errors: LS_USAGE, LS_NOMEM. */
ls_status comm_buckets_open(struct comm_buckets **out, struct comm_group *group,
                            struct comm_device *device, float *gradient, int64_t count,
                            int64_t bucket_bytes) LS_MUST_CHECK;
/* Divided buckets; with `device`, `gradient` has room for whole buckets (division_padded). */
ls_status comm_buckets_open_divided(struct comm_buckets **out, struct comm_group *group,
                                    struct comm_device *device, float *gradient,
                                    const struct division *division) LS_MUST_CHECK;
void comm_buckets_close(struct comm_buckets **buckets);

/* How many there are.  Local. */
int64_t comm_buckets_count(const struct comm_buckets *buckets);

/* Begin a step: no range is ready.  Local. */
void comm_buckets_begin(struct comm_buckets *buckets);

/* The range [offset, offset + count) of this rank's gradient is final.  Queues every bucket that
 * became complete.  Ranges may come in any order but not overlap.  Collective over group in effect:
 * every rank must report the whole gradient. */
ls_status comm_buckets_ready(struct comm_buckets *buckets, int64_t offset,
                             int64_t count) LS_MUST_CHECK;

/* Wait for all buckets of the step; afterwards the gradient, or this rank's slices of it, is the
 * sum over ranks.  Errors: LS_USAGE when a range was never reported; as comm_wait,
 * comm_device_wait. */
ls_status comm_buckets_wait(struct comm_buckets *buckets) LS_MUST_CHECK;

#endif
