/* Attentive classifiers over the features of a frozen encoder: several heads of one shape that see
 * the same features and differ in what their updates are told.
 *
 * All heads start from the same weights, so that they differ in learning rate and weight decay
 * alone.  Parameters, gradients and moments of head h are the range [h * count, (h + 1) * count) of
 * flat arrays. */
#ifndef LOCKSTEP_MODEL_PROBE_H
#define LOCKSTEP_MODEL_PROBE_H

#include <stdint.h>

#include "core/status.h"
#include "model/ops.h"
#include "model/parameters.h"

#ifdef __cplusplus
extern "C" {
#endif

struct probe;

struct probe_options {
    struct classifier_shape shape;
    enum op_dtype dtype; /* of products and activations */
    int heads;
    int videos, tokens; /* videos of a micro-batch, tokens of each */
};

/* Allocate everything; `ops` and `device` are borrowed.  Local.  Errors: LS_USAGE, LS_NOMEM,
 * LS_DEVICE. */
ls_status probe_open(struct probe **out, const struct probe_options *options,
                     const struct op_table *ops, struct op_device *device) LS_MUST_CHECK;
void probe_close(struct probe **probe);

/* The table of one head; its flat_count is `count` above. */
const struct parameters *probe_parameters(const struct probe *probe);

/* Weights of all heads from the seed; moments 0.  Local. */
ls_status probe_initialize(struct probe *probe, uint64_t seed) LS_MUST_CHECK;

/* One head's weights in (from host memory), and weights or gradient out; [count].  Local. */
ls_status probe_upload(struct probe *probe, int head, const float *weights) LS_MUST_CHECK;
ls_status probe_download(struct probe *probe, int head, float *weights,
                         float *gradient) LS_MUST_CHECK;

/* The features that the next calls see: `videos` videos, video after video, [videos * tokens, dim]
 * float32.  From host memory, which may change when the call returns; or the rows of the encoder's
 * own matrix, borrowed until the next of these calls.  Local. */
ls_status probe_features(struct probe *probe, const float *features, int videos) LS_MUST_CHECK;
ls_status probe_features_device(struct probe *probe, const float *features_dev,
                                int videos) LS_MUST_CHECK;

/* logits[videos * classes] of a head, host.  Local; waits for the device. */
ls_status probe_logits(struct probe *probe, int head, float *logits) LS_MUST_CHECK;

/* Zero the gradients of all heads: a step begins.  Local. */
ls_status probe_begin_step(struct probe *probe) LS_MUST_CHECK;

/* What training a head on one micro-batch gave. */
struct probe_result {
    double loss; /* mean cross entropy of the videos with a label */
    int videos;  /* that had a label */
    int right;   /* whose largest logit is the label's */
};

/* Forward, cross entropy and backward of a head: adds `weight` times the gradient of the mean over
 * the videos with a label.  labels[videos], -1: the video counts for nothing.  The softmax is made
 * on the host in double.  Local; waits for the device. */
ls_status probe_train(struct probe *probe, int head, const int32_t *labels, double weight,
                      struct probe_result *out) LS_MUST_CHECK;

/* The gradients of all heads as host memory [heads * count], where sums over ranks are made: filled
 * by probe_gradient_get, taken back by probe_gradient_put.  On the CPU it is the gradient itself
 * and both do nothing.  Local. */
float *probe_gradient(struct probe *probe);
ls_status probe_gradient_get(struct probe *probe) LS_MUST_CHECK;
ls_status probe_gradient_put(struct probe *probe) LS_MUST_CHECK;

/* AdamW (0.9, 0.999, 1e-8) on one head, weight decay on all of its parameters as in the public
 * evaluation; `step` counts the head's updates from 1.  Local. */
ls_status probe_update(struct probe *probe, int head, double lr, double weight_decay,
                       int64_t step) LS_MUST_CHECK;

/* probabilities[classes] += softmax(logits[classes]).  Local. */
void probe_softmax_add(double *probabilities, const float *logits, int classes);

#ifdef __cplusplus
}
#endif
#endif
