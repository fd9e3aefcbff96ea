/* Sums between GPUs: NCCL on a stream of its own, beside the compute stream.
 *
 * It knows nothing of the group (comm.h) but how its id comes from rank 0 to the others: over the
 * group, or through a file where there is none.  The joint decision and everything small stay with
 * the group.  A build without CUDA has these functions too; comm_device_open then says that there
 * is no NCCL. */
#ifndef LOCKSTEP_COMM_DEVICE_H
#define LOCKSTEP_COMM_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/comm.h"

struct comm_device;

/* What is set aside on a card for NCCL's buffers, which it allocates itself.  An allowance, not
 * measured: they grow with the number of channels and ranks. */
#define COMM_DEVICE_MEMORY_BYTES ((int64_t)1 << 30)

/* Brings id[bytes] from rank 0 to all.  Collective. */
typedef ls_status (*comm_share)(void *context, void *id, size_t bytes);

/* A comm_share over a group, which is the context. */
ls_status comm_share_by_group(void *context, void *id, size_t bytes) LS_MUST_CHECK;

/* A comm_share through a file that all ranks see: rank 0 writes it, whole, the others wait for it.
 * The path must be new for every start: an id from an earlier one leads nowhere.  Rank 0 may remove
 * it once comm_device_open has returned. */
struct comm_meeting { /* the context */
    const char *path; /* borrowed */
    int rank;
    double timeout_s;
};
ls_status comm_share_by_file(void *context, void *id, size_t bytes) LS_MUST_CHECK;

struct comm_device_options {
    int rank, size;
    comm_share share;
    void *share_context;
    int card;             /* of this rank; chosen before NCCL starts */
    void *compute_stream; /* cudaStream_t that the data is computed on */
    bool deterministic;   /* ring, simple protocol, no in-switch sums: the same order every time
                           * (docs/operations.md says what it costs) */
    double timeout_s;     /* deadline of the start and of every wait; 0: 600 s */
    int64_t marks;        /* comm_device_mark takes numbers below it */
};

/* Whether NCCL is there.  Local.  Errors: LS_DEVICE: built without it, or no library here. */
ls_status comm_device_available(void) LS_MUST_CHECK;

/* What this rank needs on its card.  `options->share_context` is borrowed until the join.  Local.
 * Errors: LS_DEVICE, LS_NOMEM. */
ls_status comm_device_open(struct comm_device **out,
                           const struct comm_device_options *options) LS_MUST_CHECK;

/* Join the cards: once all ranks have opened theirs, and before any sum.  Collective over the
 * ranks; one that fails leaves the others waiting until their deadline, so it should end the job.
 * Errors: LS_COMM, LS_TIMEOUT; what the share fails with. */
ls_status comm_device_join(struct comm_device *device) LS_MUST_CHECK;

/* Leave.  Collective when nothing failed; after a failure it only frees the host side. */
void comm_device_close(struct comm_device **device);

/* Give up what is under way, so that this process can end although its peers may be gone: aborts
 * the communicator in a thread of its own, since ncclCommAbort can hang, and waits a few seconds
 * for it. NULL is accepted.  Local. */
void comm_device_abort(struct comm_device *device);

/* Deadline of the waits that follow; 0: 600 s.  Local. */
void comm_device_set_timeout(struct comm_device *device, double timeout_s);

/* Queue an in-place sum over ranks of float32 device memory data_dev[count], behind everything that
 * is queued on the compute stream now.  Collective, in the same order on every rank.  Errors:
 * LS_COMM, LS_TIMEOUT, LS_DEVICE. */
ls_status comm_device_sum_start(struct comm_device *device, float *data_dev,
                                int64_t count) LS_MUST_CHECK;

/* Queue a sum of which every rank gets its own slice only: rank r's is elements [r * slice,
 * (r + 1) * slice) of data_dev[size * slice]; what the rest holds afterwards is undefined.
 * Otherwise as comm_device_sum_start. */
ls_status comm_device_sum_slices_start(struct comm_device *device, float *data_dev,
                                       int64_t slice) LS_MUST_CHECK;

/* Queue that every rank gets the slices of all: rank r's is bytes [r * slice, (r + 1) * slice) of
 * data_dev[size * slice].  Otherwise as comm_device_sum_start. */
ls_status comm_device_gather_start(struct comm_device *device, void *data_dev,
                                   int64_t slice) LS_MUST_CHECK;

/* Marks in what is queued between cards: mark `number`, of those that the options asked for, is
 * reached when everything queued so far is done.  comm_device_order puts the compute stream behind
 * a mark and returns at once; comm_device_reach waits for it as comm_device_wait does.  A mark that
 * was never set is reached.  Local.  Errors: LS_USAGE; as comm_device_wait. */
ls_status comm_device_mark(struct comm_device *device, int64_t number) LS_MUST_CHECK;
ls_status comm_device_order(struct comm_device *device, int64_t number) LS_MUST_CHECK;
ls_status comm_device_reach(struct comm_device *device, int64_t number) LS_MUST_CHECK;

/* Wait until all sums queued so far are done, and order the compute stream behind them.  Polls
 * NCCL's asynchronous errors; on an error or at the deadline the communicator is aborted and is of
 * no more use.  Local.  Errors: LS_COMM, LS_TIMEOUT, LS_DEVICE. */
ls_status comm_device_wait(struct comm_device *device) LS_MUST_CHECK;

#endif
