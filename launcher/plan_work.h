/* What a config asks of a worker, computed without running anything. */
#ifndef LOCKSTEP_LAUNCHER_PLAN_WORK_H
#define LOCKSTEP_LAUNCHER_PLAN_WORK_H

#include <stdint.h>

#include "core/config.h"

struct plan_work {
    int64_t parameters;    /* true ones */
    double gradient_bytes; /* of the flat space */
    double state_bytes;    /* of a worker: weights, gradient, moments, EMA, copies in bf16 */
    double flops;          /* of a micro-batch, mean over many masks */
    double backward_share; /* of them */
    int frames, tokens;    /* of a clip */
};

/* Local.  Errors: LS_USAGE when masks do not fit, LS_NOMEM. */
ls_status plan_work(struct plan_work *out, const struct config *config) LS_MUST_CHECK;

#endif
