/* Sums between GPUs: NCCL on a stream of its own, beside the compute stream.
 *
 * The host side of a group (comm.h) stays: NCCL's id travels over it, and so do the joint decision
 * and everything small.  A build without CUDA has these functions too; comm_device_open then says
 * that there is no NCCL. */
#ifndef LOCKSTEP_COMM_DEVICE_H
#define LOCKSTEP_COMM_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/comm.h"

struct comm_device;

struct comm_device_options {
    int card;             /* of this rank; chosen before NCCL starts */
    void *compute_stream; /* cudaStream_t that the data is computed on */
    bool deterministic;   /* ring, simple protocol, no in-switch sums: the same order every time;
                           * costs   bandwidth on NVLink (docs/operations.md) */
    double timeout_s;     /* deadline of the start and of every wait */
};

/* Whether this build has NCCL.  Local. */
bool comm_device_available(void);

/* Join the cards of a group.  Collective over group.  Errors: LS_COMM, LS_TIMEOUT, LS_DEVICE; on
 * any, no rank may go on without comm_agree. */
ls_status comm_device_open(struct comm_device **out, struct comm_group *group,
                           const struct comm_device_options *options) LS_MUST_CHECK;

/* Leave.  Collective when nothing failed; after a failure it only frees the host side. */
void comm_device_close(struct comm_device **device);

/* Queue an in-place sum over ranks of float32 device memory data_dev[count], behind everything that
 * is queued on the compute stream now.  Collective over group, in the same order on every rank.
 * Errors: LS_COMM, LS_DEVICE. */
ls_status comm_device_sum_start(struct comm_device *device, float *data_dev,
                                int64_t count) LS_MUST_CHECK;

/* Wait until all sums queued so far are done, and order the compute stream behind them.  Polls
 * NCCL's asynchronous errors; on an error or at the deadline the communicator is aborted (in a
 * thread of its own, since ncclCommAbort can hang) and the group is of no more use.  Local. Errors:
 * LS_COMM, LS_TIMEOUT, LS_DEVICE. */
ls_status comm_device_wait(struct comm_device *device) LS_MUST_CHECK;

#endif
