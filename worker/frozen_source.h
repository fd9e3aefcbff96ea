/* Where a frozen encoder's weights come from: a checkpoint, or the initial values of its model. */
#ifndef LOCKSTEP_WORKER_FROZEN_SOURCE_H
#define LOCKSTEP_WORKER_FROZEN_SOURCE_H

#include "checkpoint/checkpoint.h"
#include "core/config_probe.h"
#include "core/parameters.h"

struct frozen_source {
    struct checkpoint *checkpoint;
    const struct checkpoint_info *info;
    struct config *config; /* that the checkpoint was trained with */
    struct model_shape shape;
};

/* Open a checkpoint folder and hold what the probe's config says of the model against it.  Local.
 * Errors: LS_CHECKPOINT; LS_USAGE naming the key that says otherwise. */
ls_status frozen_source_open(struct frozen_source *out,
                             const struct config_probe *probe) LS_MUST_CHECK;
void frozen_source_close(struct frozen_source *source);

/* The encoder's weights, weights[parameters->encoder_count]: of the checkpoint's network, or drawn
 * from the seed as a run's first ones are.  Local.  Errors: LS_CHECKPOINT, LS_NOMEM. */
ls_status frozen_source_read(float *weights, const struct frozen_source *source,
                             const struct parameters *parameters,
                             enum config_network network) LS_MUST_CHECK;
ls_status frozen_source_draw(float *weights, const struct parameters *parameters,
                             uint64_t seed) LS_MUST_CHECK;

#endif
