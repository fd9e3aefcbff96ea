/* A device that hands out addresses and counts: to know what a model takes, or does, without a
 * card and without the memory. */
#ifndef LOCKSTEP_MODEL_COUNTING_H
#define LOCKSTEP_MODEL_COUNTING_H

#include "model/ops.h"

/* `real_ops` and `real`, borrowed, tell how much scratch is reserved; NULL: none is counted.
 * Local.  Errors: LS_NOMEM. */
ls_status counting_open(struct op_device **out, const struct op_table *real_ops,
                        const struct op_device *real) LS_MUST_CHECK;
void counting_close(struct op_device **device);

/* Replace everything of `table` that is no operator.  Device addresses are of no memory; host
 * memory is real, since tables are computed in it. */
void counting_table(struct op_table *table);

/* Bytes handed out so far. */
size_t counting_device_bytes(const struct op_device *device);
size_t counting_host_bytes(const struct op_device *device);

#endif
