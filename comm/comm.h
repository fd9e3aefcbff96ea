/* Collectives between the workers of a run.  Filled by MPI (comm/mpi.c); in a build without it
 * (BUNDLE=1) by a file in which the ranks of one machine meet (comm/meeting.c).  Between GPUs
 * gradients go by NCCL (device.h).
 *
 * One progress thread a process owns every MPI call after comm_open (MPI_THREAD_SERIALIZED): MPI
 * makes no progress by itself while the rank computes.  Callers queue requests and wait with a
 * deadline.  Sums and gathers (comm_*_start) are started in the order in which they were queued,
 * and so are the other collectives among themselves; both orders must be the same on every rank.
 * Without MPI there is no such thread and one order: all calls come from one thread, in the same
 * order on every rank, and sums are over when they are started.
 *
 * After the first LS_COMM or LS_TIMEOUT the group is broken: every further call returns that
 * failure at once, memory that is being summed must stay, and only comm_abort is left. */
#ifndef LOCKSTEP_COMM_COMM_H
#define LOCKSTEP_COMM_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

struct comm_group;
struct comm_request;

struct comm_options {
    double timeout_s; /* deadline of every wait; 0: 600 s */
};

/* Join the job; a process that no MPI launcher started is a job of its own.  Without MPI the
 * environment says who it is: LOCKSTEP_RANK, LOCKSTEP_RANKS (1 where it is not set) and
 * LOCKSTEP_MEETING, the path of a file that is not there yet.  Collective over the job, from the
 * main thread, once a process.  Errors: LS_COMM, LS_NOMEM; without MPI LS_USAGE, LS_IO and
 * LS_TIMEOUT too. */
ls_status comm_open(struct comm_group **out, const struct comm_options *options) LS_MUST_CHECK;

/* Agreed end: finalize.  Collective; only after comm_agree said LS_OK or all leave for the same
 * reason.  From a broken group, or when a peer does not come before the deadline, it frees nothing
 * that MPI may still touch and does not finalize. */
void comm_close(struct comm_group **group);

/* End every process of the job with `exit_code`, at once; never returns.  `group` may be NULL: then
 * only this process ends.  Local, any thread. */
_Noreturn void comm_abort(struct comm_group *group, int exit_code);

int comm_rank(const struct comm_group *group);
int comm_size(const struct comm_group *group);
int comm_local_rank(const struct comm_group *group); /* among the ranks of this node */
int comm_local_size(const struct comm_group *group);

/* Whether the group is broken (above).  Local. */
bool comm_is_broken(struct comm_group *group);

/* Deadline of the waits that follow; 0: 600 s.  Local. */
void comm_set_timeout(struct comm_group *group, double timeout_s);

/* Queue an in-place sum over ranks of float32 `data[count]` in host memory; returns at once. `data`
 * must stay untouched until comm_wait.  Every element is added in rank order, on one rank, and the
 * result is sent to all: ranks and repeats are bit-equal, whatever the timing. Collective over
 * group.  Errors: LS_NOMEM, LS_USAGE; LS_COMM when broken. */
ls_status comm_sum_start(struct comm_group *group, struct comm_request **out, float *data,
                         int64_t count) LS_MUST_CHECK;

/* Queue a sum like comm_sum_start of which every rank gets only its slice: rank r's is elements
 * [r * slice, (r + 1) * slice) of `data`, as far as they lie in [0, count).  The rest of `data`
 * keeps this rank's contribution.  Half of what comm_sum_start sends.  Collective over group.
 * Errors: as comm_sum_start. */
ls_status comm_sum_slices_start(struct comm_group *group, struct comm_request **out, float *data,
                                int64_t count, int64_t slice) LS_MUST_CHECK;

/* Queue that every rank gets the slices of all: rank r's is bytes [r * slice, (r + 1) * slice) of
 * `data`, as far as they lie in [0, bytes).  `data` is in host memory; nobody may write to it until
 * comm_wait, and only this rank's own slice may be read.  Collective over group.  Errors: as
 * comm_sum_start. */
ls_status comm_gather_start(struct comm_group *group, struct comm_request **out, void *data,
                            int64_t bytes, int64_t slice) LS_MUST_CHECK;

/* Wait for a request and give it back (sets *request NULL; NULL is accepted).  Local.  Errors:
 * LS_TIMEOUT naming the collective, its bytes, its number and the ranks that did not come;
 * LS_COMM. */
ls_status comm_wait(struct comm_group *group, struct comm_request **request) LS_MUST_CHECK;

/* Every rank's `bytes` bytes, in rank order, into all[size * bytes].  Blocks.  Collective over
 * group. Errors: as comm_wait; LS_NOMEM, LS_USAGE. */
ls_status comm_exchange(struct comm_group *group, const void *mine, size_t bytes,
                        void *all) LS_MUST_CHECK;

/* In-place sum of doubles, added in rank order on every rank alike.  Blocks.  Collective over
 * group. Errors: as comm_exchange. */
ls_status comm_sum_f64(struct comm_group *group, double *values, int64_t count) LS_MUST_CHECK;

/* `bytes` bytes from `root` to all.  Blocks.  Collective over group.  Errors: as comm_exchange. */
ls_status comm_broadcast(struct comm_group *group, void *data, size_t bytes,
                         int root) LS_MUST_CHECK;

/* Wait until every rank has come here.  Collective over group.  Errors: as comm_exchange. */
ls_status comm_barrier(struct comm_group *group) LS_MUST_CHECK;

/* Agreement point: every rank brings its status; all get LS_OK, or the worst status with the text
 * of the first rank that had it ("rank 3: ...").  A failure is worse than LS_STOP, that is worse
 * than LS_EOF.  Blocks.  Collective over group. */
ls_status comm_agree(struct comm_group *group, ls_status mine) LS_MUST_CHECK;

/* Seconds that sums and gathers (comm_*_start) were in flight, and bytes, since the last call.
 * Local. */
struct comm_counters {
    double busy_s;
    int64_t bytes;
};
struct comm_counters comm_counters(struct comm_group *group);

#endif
