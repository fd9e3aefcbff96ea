/* How the flat space is divided over ranks where each of them keeps and updates only its part of
 * the optimizer's state.
 *
 * The space is cut from its front into buckets of `ranks` slices; slice r of every bucket is rank
 * r's.  So a bucket's sum, and its return, load all links alike and can travel while the model
 * computes, which one range a rank could not (docs/design.md).  A slice is a whole number of blocks
 * of the checkpoints' grid.  Behind the last element the space ends: only the last bucket is short,
 * and there the last ranks may have less than a slice or nothing. */
#ifndef LOCKSTEP_CORE_DIVISION_H
#define LOCKSTEP_CORE_DIVISION_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { DIVISION_BLOCK = 16384 };

struct division {
    int64_t count; /* elements of the space */
    int64_t slice; /* elements of a bucket that are one rank's */
    int ranks;     /* 0 or 1: nothing is divided */
};

/* Buckets of about `bucket_elements`, at least one block a rank, as even as blocks allow.  Local.
 */
struct division division_make(int64_t count, int64_t bucket_elements, int ranks);

/* Elements of a bucket, the last one apart; number of buckets that [0, total) lies in; and those
 * rounded up to whole buckets.  Local. */
int64_t division_width(const struct division *division);
int64_t division_buckets(const struct division *division, int64_t total);
int64_t division_padded(const struct division *division, int64_t total);

/* Rank `rank`'s part of bucket `bucket`, as far as it lies in [0, total): begins at *offset of the
 * space, and at bucket * slice of that rank's own arrays, which hold its parts one after another.
 * Returns how many elements it has.  Local. */
int64_t division_part(int64_t *offset, const struct division *division, int64_t bucket, int rank,
                      int64_t total);

/* Elements of [0, total) that are rank `rank`'s.  Local. */
int64_t division_share(const struct division *division, int rank, int64_t total);

#ifdef __cplusplus
}
#endif
#endif
