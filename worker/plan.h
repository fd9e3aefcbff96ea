/* What a config takes in memory, told without training: for `lockstep plan`, which has no model. */
#ifndef LOCKSTEP_WORKER_PLAN_H
#define LOCKSTEP_WORKER_PLAN_H

#include "core/status.h"
#include "worker/options.h"

/* Print, as one line of JSON on stdout, the bytes of each kind that a worker's model takes under
 * RUN/config.yaml, on `options->device` (cuda: a card, which need not be there; anything else: this
 * machine): the greatest of all stages.  {"weights","gradient","moments","ema","activations",
 * "clips","workspace","dtype"}; "workspace" is missing for a card, which must be there to tell.
 * Opens neither MPI nor data.  Local.  Errors: those of the config; LS_NOMEM. */
ls_status worker_plan_print(const struct worker_options *options) LS_MUST_CHECK;

#endif
