/* What each rank has of an array, to all: a divided array (core/division.h) whose slices are
 * gathered bucket by bucket, while the ranks do other things.
 *
 * A rank that has brought its slice of a bucket up to date starts that bucket (comm_gathers_start,
 * every rank in the same order); whoever is about to read the front of the array first reaches for
 * it (comm_gathers_reach). */
#ifndef LOCKSTEP_COMM_GATHERS_H
#define LOCKSTEP_COMM_GATHERS_H

#include <stdint.h>

#include "comm/comm.h"
#include "comm/device.h"
#include "core/division.h"

struct comm_gathers;

struct comm_gathers_options {
    struct comm_group *group;
    struct comm_device *device; /* NULL: `data` is host memory */
    int64_t first_mark;         /* of the device's, one a bucket */
    void *data;                 /* [total * element_bytes], borrowed; with `device` room for whole
                                 * buckets (division_padded) */
    int64_t total;              /* elements, from the front of the divided space */
    int64_t element_bytes;
    struct division division;
};

/* Local.  Errors: LS_NOMEM. */
ls_status comm_gathers_open(struct comm_gathers **out,
                            const struct comm_gathers_options *options) LS_MUST_CHECK;

/* Nothing may be under way, unless the group is broken. */
void comm_gathers_close(struct comm_gathers **gathers);

int64_t comm_gathers_count(const struct comm_gathers *gathers);

/* Queue bucket `bucket`; between cards behind what is on the compute stream now.  Until it is
 * reached the bucket may not be written to, and only this rank's slice be read.  Collective.
 * Errors: LS_USAGE when it is under way already; as comm_gather_start, comm_device_gather_start. */
ls_status comm_gathers_start(struct comm_gathers *gathers, int64_t bucket) LS_MUST_CHECK;

/* Bucket `bucket` is there, if it was started: in host memory when this returns; between cards for
 * what is put on the compute stream from now on, and then nobody has looked for errors yet
 * (comm_gathers_wait does).  Local.  Errors: as comm_wait, comm_device_order. */
ls_status comm_gathers_reach(struct comm_gathers *gathers, int64_t bucket) LS_MUST_CHECK;

/* Wait until all that was started is done on this rank.  Local.  Errors: as comm_wait,
 * comm_device_reach. */
ls_status comm_gathers_wait(struct comm_gathers *gathers) LS_MUST_CHECK;

#endif
