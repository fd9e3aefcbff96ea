/* A state divided over ranks (optimizer_state: sharded): what each rank has brought up to date goes
 * to all while they already load and compute.
 *
 * After an update every rank starts the gathers in the order in which the next forward pass reads;
 * the model asks before it reads, and waits only where the network is behind it. */
#ifndef LOCKSTEP_WORKER_SPREAD_H
#define LOCKSTEP_WORKER_SPREAD_H

#include "comm/comm.h"
#include "comm/device.h"
#include "model/jepa.h"

struct spread;

struct spread_options {
    struct comm_group *group;   /* this and the two below are borrowed */
    struct comm_device *device; /* sums between cards; NULL: in host memory */
    struct jepa *jepa;          /* its demands are answered from here on */
    struct division division;
};

/* Marks between cards that it needs (comm_device_options).  Local. */
int64_t spread_marks(const struct division *division);

/* Local.  Errors: LS_NOMEM. */
ls_status spread_open(struct spread **out, const struct spread_options *options) LS_MUST_CHECK;

/* Nothing may be under way (spread_settle), unless the process ends. */
void spread_close(struct spread **spread);

/* After jepa_update: start.  Collective.  Errors: LS_COMM, LS_TIMEOUT, LS_DEVICE. */
ls_status spread_start(struct spread *spread) LS_MUST_CHECK;

/* Wait until this rank has all that was started.  Before anything else waits for the compute
 * stream, which may stand behind a peer that is gone.  Local.  Errors: as spread_start. */
ls_status spread_settle(struct spread *spread) LS_MUST_CHECK;

/* After this rank's slices were loaded: all to all, the EMA included; waits.  Collective.  Errors:
 * as spread_start. */
ls_status spread_all(struct spread *spread) LS_MUST_CHECK;

#endif
