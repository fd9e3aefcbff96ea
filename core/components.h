/* Principal components of a set of vectors. */
#ifndef LOCKSTEP_CORE_COMPONENTS_H
#define LOCKSTEP_CORE_COMPONENTS_H

#include <stdint.h>

#include "core/status.h"

enum { COMPONENTS_MOST = 8 };

/* The first `count` principal components of rows[row_count, dim].
 *
 *   places   out [row_count, count]  coordinates of each row about the mean, along the directions
 * of
 *                                    largest variance, the largest first
 *   shares   out [count]             share of the variance that each direction holds; all 0 where
 *                                    rows do not differ, and places then are 0
 *
 * A direction's sign is chosen so that its element of largest magnitude is positive: the same rows
 * give the same signs.  By block power iteration in double from a fixed start; directions of nearly
 * equal variance may come out turned among themselves.
 *
 * Local.  Errors: LS_USAGE when count is not in 1 .. COMPONENTS_MOST or above dim; LS_NOMEM. */
ls_status components_find(float *places, double *shares, const float *rows, int64_t row_count,
                          int64_t dim, int count) LS_MUST_CHECK;

#endif
