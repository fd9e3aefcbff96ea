/* The lockstep audit: are the states of all ranks the same bits?
 *
 * Weights, moments, EMA and step counts are hashed in ranges and the hashes compared.  Every save
 * follows an audit of the same step: a checkpoint, of which each rank writes its part, is of one
 * state, and whatever changed bits in one rank since the audit before shows in it. */
#ifndef LOCKSTEP_WORKER_AUDIT_H
#define LOCKSTEP_WORKER_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "comm/comm.h"
#include "core/hash.h"
#include "model/jepa.h"

struct audit;

struct audit_options {
    struct comm_group *group; /* this and the two below are borrowed */
    struct jepa *jepa;
    const char *run;
    bool divided; /* moments and float32 masters are each rank's own: only what all ranks compute
                   * with is compared */
    int64_t own;  /* an element of the weights that this rank keeps: what audit_spoil spoils */
    int threads;  /* that may read the state at the same time: 1 where it is on a card */
};

/* What an audit found; `good`: nothing.  Ranks beyond the first are counted only. */
struct audit_finding {
    bool good;
    bool majority; /* most ranks agree: the others are wrong.  Else nobody can tell who is */
    int rank;      /* the first that deviates */
    int ranks;     /* how many do */
};

/* Local.  Errors: LS_NOMEM. */
ls_status audit_open(struct audit **out, const struct audit_options *options) LS_MUST_CHECK;
void audit_close(struct audit **audit);

/* Compare the state after `step`.  LS_OK when all ranks are equal.  Else every rank gets the same
 * failure LS_DEVICE, which names the rank that deviates (all, where no majority agrees), its node
 * and the range; those ranks, and one that is right, leave copies of the range as RUN/audit/
 * step-S-rank-R-ARRAY-OFFSET.f32.  `out` is what was found.  Collective.  Other errors: any. */
ls_status audit_run(struct audit *audit, struct audit_finding *out, int64_t step) LS_MUST_CHECK;

/* Who deviates in one range: hashes[rank * stride] of `size` ranks; sets deviates[rank] and
 * returns whether a majority agrees (else all deviate).  Local. */
bool audit_judge(bool *deviates, const struct hash128 *hashes, int64_t stride, int size);

/* Flip one bit of this rank's weights: for tests.  Local. */
ls_status audit_spoil(struct audit *audit) LS_MUST_CHECK;

#endif
