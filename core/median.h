/* Order among measured values. */
#ifndef LOCKSTEP_CORE_MEDIAN_H
#define LOCKSTEP_CORE_MEDIAN_H

#include <stdint.h>

/* Sort values[count], smallest first.  None may be NaN.  Local. */
void median_sort(double *values, int64_t count);

/* Sort values[count], count >= 1, and give the middle one, of an even number the mean of the two in
 * the middle.  None may be NaN.  Local. */
double median_of(double *values, int64_t count);

#endif
