/* What a worker's model takes in memory, asked of the worker program: the launcher has no model. */
#ifndef LOCKSTEP_LAUNCHER_PLAN_MEMORY_H
#define LOCKSTEP_LAUNCHER_PLAN_MEMORY_H

#include <stdbool.h>

#include "core/config_stages.h"

struct plan_memory { /* bytes of the stage that takes most */
    double state;    /* weights, gradient, moments, EMA */
    double activations, clips;
    double workspace; /* of operators; -1: only a card that is there can tell */
    bool bf16;
};

/* `card`: on a GPU, which need not be there.  Local.  Errors: LS_USAGE where the worker program is
 * not built; what it says otherwise. */
ls_status plan_memory(struct plan_memory *out, const struct config_stages *stages,
                      bool card) LS_MUST_CHECK;

#endif
