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

/* Open a checkpoint's folder.  Local.  Errors: LS_CHECKPOINT, LS_IO, LS_USAGE, LS_NOMEM. */
ls_status frozen_source_open(struct frozen_source *out, const char *checkpoint) LS_MUST_CHECK;
void frozen_source_close(struct frozen_source *source);

/* Hold what a probe's config says of the model against the checkpoint's.  Local.  Errors: LS_USAGE
 * naming the key that says otherwise. */
ls_status frozen_source_compare(const struct frozen_source *source,
                                const struct config_probe *probe) LS_MUST_CHECK;

/* The encoder's weights of one of the checkpoint's networks: weights[parameters->encoder_count].
 * Local.  Errors: LS_CHECKPOINT. */
ls_status frozen_source_read(float *weights, const struct frozen_source *source,
                             const struct parameters *parameters,
                             enum config_network network) LS_MUST_CHECK;

/* All of a model: weights[parameters->flat_count] of encoder and predictor, ema[encoder_count] of
 * the target encoder.  Local.  Errors: LS_CHECKPOINT. */
ls_status frozen_source_read_all(float *weights, float *ema, const struct frozen_source *source,
                                 const struct parameters *parameters) LS_MUST_CHECK;

/* The same at the beginning of a run with that seed.  Local.  Errors: LS_NOMEM. */
ls_status frozen_source_draw(float *weights, const struct parameters *parameters,
                             uint64_t seed) LS_MUST_CHECK;

#endif
