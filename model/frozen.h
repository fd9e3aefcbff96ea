/* An encoder that is only asked for features: forward on whole clips, nothing kept for backward. */
#ifndef LOCKSTEP_MODEL_FROZEN_H
#define LOCKSTEP_MODEL_FROZEN_H

#include <stdint.h>

#include "core/status.h"
#include "model/ops.h"
#include "model/parameters.h"

#ifdef __cplusplus
extern "C" {
#endif

struct frozen;

struct frozen_options {
    struct model_shape shape; /* the encoder's part is used */
    enum op_dtype dtype;      /* of products and activations */
    int clips;                /* of a call */
    int frames, height, width;
};

/* Allocate everything; `ops` and `device` are borrowed.  Local.  Errors: LS_USAGE, LS_NOMEM,
 * LS_DEVICE. */
ls_status frozen_open(struct frozen **out, const struct frozen_options *options,
                      const struct op_table *ops, struct op_device *device) LS_MUST_CHECK;
void frozen_close(struct frozen **frozen);

/* The table of the whole model; its first encoder_count elements are the encoder. */
const struct parameters *frozen_parameters(const struct frozen *frozen);

/* Tokens of a clip.  Local. */
int frozen_tokens(const struct frozen *frozen);

/* Rows of the features' matrix: clips * tokens, and what the device pads. */
int64_t frozen_rows(const struct frozen *frozen);

/* weights[encoder_count], host.  Local. */
ls_status frozen_weights(struct frozen *frozen, const float *weights) LS_MUST_CHECK;

/* Features of `clips` clips, pixels uint8 [clips, T, H, W, 3] in host memory: the encoder's output
 * after its last norm, [frozen_rows, dim] float32 at frozen_features, clip after clip.  The call
 * always computes all clips that the encoder was opened for; there must be memory for them.  Local;
 * waits for the device. */
ls_status frozen_encode(struct frozen *frozen, const uint8_t *pixels) LS_MUST_CHECK;
const float *frozen_features(const struct frozen *frozen); /* device */

/* Tokens of the first `clips` clips into host memory out[clips * tokens * dim].  Local. */
ls_status frozen_download(struct frozen *frozen, float *out, int clips) LS_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
