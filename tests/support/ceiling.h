/* What a device can do at best, measured in the same run as what is held against it. */
#ifndef LOCKSTEP_TESTS_SUPPORT_CEILING_H
#define LOCKSTEP_TESTS_SUPPORT_CEILING_H

#include "core/status.h"
#include "model/ops.h"

/* FLOP/s of the fastest of several large float32 products (two a multiply-add): *best is raised to
 * it, so several calls give the best of all.  `clock` gives seconds.  Local. */
ls_status ceiling_products(double *best, const struct op_table *table, struct op_device *device,
                           double (*clock)(void)) LS_MUST_CHECK;

/* Bytes/s, read and written, of copying 64 MiB by all threads; likewise. */
ls_status ceiling_memory(double *best, const struct op_table *table, struct op_device *device,
                         double (*clock)(void)) LS_MUST_CHECK;

#endif
