/* What a device can do at best, measured in the same run as what is held against it. */
#ifndef LOCKSTEP_TESTS_SUPPORT_CEILING_H
#define LOCKSTEP_TESTS_SUPPORT_CEILING_H

#include <stdbool.h>

#include "core/status.h"
#include "model/ops.h"

/* FLOP/s of the fastest of several products (two a multiply-add) of random numbers in `dtype`:
 * *best is raised to it, so several calls give the best of all.  `large`: sizes that fill a GPU.
 * `clock` gives seconds.  Local. */
ls_status ceiling_products(double *best, const struct op_table *table, struct op_device *device,
                           enum op_dtype dtype, bool large, double (*clock)(void)) LS_MUST_CHECK;

/* Bytes/s, read and written, of copying 64 MiB by all threads; likewise. */
ls_status ceiling_memory(double *best, const struct op_table *table, struct op_device *device,
                         double (*clock)(void)) LS_MUST_CHECK;

#endif
