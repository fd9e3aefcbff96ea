/* A table of operators that passes every call on to another one and keeps account: seconds, calls,
 * floating point operations and bytes by family.
 *
 * One account a process, not for several threads at once.  Seconds are those of the calling thread
 * with the device idle before and after, so asynchronous devices are waited for after each call. */
#ifndef LOCKSTEP_TESTS_SUPPORT_OP_TIMING_H
#define LOCKSTEP_TESTS_SUPPORT_OP_TIMING_H

#include <stdint.h>

#include "model/ops.h"

enum op_family {
    OP_FAMILY_LINEAR,      /* forward products */
    OP_FAMILY_LINEAR_GELU, /* forward products with GELU after them */
    OP_FAMILY_LINEAR_DATA, /* backward products by the input */
    OP_FAMILY_LINEAR_WEIGHT,
    OP_FAMILY_GELU,
    OP_FAMILY_NORM,
    OP_FAMILY_NORM_BACK,
    OP_FAMILY_HEADS,
    OP_FAMILY_ATTENTION,
    OP_FAMILY_ATTENTION_BACK,
    OP_FAMILY_ROWS, /* gather, scatter, copies, casts, zeros */
    OP_FAMILY_PATCHIFY,
    OP_FAMILY_LOSS,   /* and statistics */
    OP_FAMILY_UPDATE, /* and the gradient norm */
    OP_FAMILY_COUNT
};

struct op_account {
    double seconds, flops; /* flops: of products and attention, two a multiply-add */
    double bytes;          /* read and written where every input is read once */
    double floor;          /* seconds at the best rates, see op_timing_rates */
    int64_t calls;
};

/* Best rates of the device, for the floor of a call: the longer of its operations at `flops` a
 * second and its bytes at `bytes` a second.  A product with GELU is followed by a pass over its
 * result; the gradient of attention counts ten operations a pair and channel here (scores are
 * computed again), not the eight of the model's FLOPs.  0: no floors, as in the beginning. */
void op_timing_rates(double flops, double bytes);

/* From now on nothing is passed on: operators are counted and not called.  Memory, queues and
 * events of the inner table are used as before. */
void op_timing_only_counts(bool on);

/* The accounting table over `inner`, which must outlive it, with seconds of `clock`; forgets what
 * was counted. */
const struct op_table *op_timing_table(const struct op_table *inner, double (*clock)(void));
void op_timing_reset(void);
struct op_account op_timing_read(enum op_family family);
const char *op_family_name(enum op_family family);

#endif
