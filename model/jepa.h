/* V-JEPA 2: context encoder, predictor, EMA target encoder, loss, backward and update, on one
 * device.
 *
 * A micro-batch of B clips with G mask groups runs as: target encoder on all tokens (last block:
 * predicted positions only), layer norm without gain; context encoder on the context tokens of all
 * groups as one ragged batch of G * B sequences (masked patches are never embedded); predictor on
 * context + mask tokens of all groups as one ragged batch; loss; backward. All memory is laid out
 * by jepa_open; nothing is allocated afterwards. */
#ifndef LOCKSTEP_MODEL_JEPA_H
#define LOCKSTEP_MODEL_JEPA_H

#include <stdbool.h>
#include <stdint.h>

#include "core/config.h"
#include "core/division.h"
#include "core/status.h"
#include "model/ops.h"
#include "model/parameters.h"

#ifdef __cplusplus
extern "C" {
#endif

struct jepa;

struct jepa_options {
    struct model_shape shape;
    double loss_exponent;
    double beta1, beta2, eps;
    enum op_dtype dtype; /* of products and activations */
    int clips;           /* B */
    int frames;          /* largest T */
    int height, width;   /* pixels */
    int groups;          /* mask groups */
    /* Most tokens of a sequence, by group; 0: all tokens of a clip. */
    int max_context[CONFIG_MASK_GROUPS_MAX], max_predicted[CONFIG_MASK_GROUPS_MAX];
    /* Sequences are padded to multiples of it, so that few shapes occur (model/layout.h); 0 or 1:
     * not.  Padding counts in no result. */
    int bucket_tokens;
    bool activation_checkpointing;
    int checkpointed_blocks; /* with it: of how many blocks (jepa_checkpointable); 0: of all */
    bool whole_target;       /* compute all target tokens, for jepa_output */
    bool forward_only;       /* jepa_predict is all that is asked for: no gradient, no moments */
    bool float_clips;        /* clips come as normalised float32 [B, 3, T, H, W] (golden files) */
    bool device_gradient; /* sums over ranks are made in device memory, behind the compute stream:
                           * no host copy of the gradient is kept or filled */
    /* Of more than one rank: each keeps and updates only its slices of moments, and where products
     * are in another dtype also of weights and EMA in float32 (see "A divided state").  `count` is
     * the flat space's. */
    struct division division;
    int rank;
};

/* The usual bucket_tokens of a device that plans by shape, for clips of `clip_tokens` tokens: the
 * power of two, from 8 to 128, that is at most a 64th of them.  About 60 lengths can occur.  Local,
 * pure. */
int jepa_bucket_tokens(int64_t clip_tokens);

/* How many blocks can be checkpointed: keep only their input from forward to backward, which
 * computes the rest again, to the same bits.  Those of the predictor but its last come first, then
 * those of the context encoder: a byte that is not kept costs as many operations as a block is
 * wide.  The first of each network frees nothing, since checkpointed blocks share one cache. Local,
 * pure. */
int jepa_checkpointable(const struct model_shape *shape);

/* One micro-batch; borrowed for the call. */
struct jepa_batch {
    const void *pixels; /* host: uint8 [clips, T, H, W, 3], or float32 when float_clips */
    int clips, frames;
    int mask_token; /* which mask token: index of the frames-per-clip group */
    const int32_t *context[CONFIG_MASK_GROUPS_MAX];   /* [B, context_count[g]] token numbers */
    const int32_t *predicted[CONFIG_MASK_GROUPS_MAX]; /* [B, predicted_count[g]] */
    int context_count[CONFIG_MASK_GROUPS_MAX];
    int predicted_count[CONFIG_MASK_GROUPS_MAX];
};

/* A range of the gradient is final until the next jepa_begin_step: in jepa_gradient_host, or with
 * `device_gradient` in jepa_gradient_device as soon as the compute stream comes to where it is now.
 * Called from inside jepa_micro_batch, from the end of the flat space to its front. */
typedef ls_status (*jepa_gradient_ready)(void *context, int64_t offset, int64_t count);

struct jepa_result {                           /* sums over the micro-batches of the step so far */
    double loss;                               /* mean over groups, times micro_batch_weight */
    double group_loss[CONFIG_MASK_GROUPS_MAX]; /* likewise */
    double flops;               /* model FLOPs of products and attention, from true token counts */
    int64_t target_rows;        /* predicted tokens, over all groups: rows behind the statistics */
    int64_t rows, padding_rows; /* of the activation matrices: all, and those of no token */
};

/* Allocate everything.  `ops` and `device` are borrowed for the life of the model.  Local.  Errors:
 * LS_USAGE, LS_NOMEM, LS_DEVICE. */
ls_status jepa_open(struct jepa **out, const struct jepa_options *options,
                    const struct op_table *ops, struct op_device *device) LS_MUST_CHECK;
void jepa_close(struct jepa **jepa);

const struct parameters *jepa_parameters(const struct jepa *jepa);

/* Bytes that jepa_open takes.  `device` is the sum of those before it. */
struct jepa_memory {
    int64_t weights, gradient, moments, ema, activations;
    int64_t clips;     /* pixels on the device; 0 where they are read from the host's memory */
    int64_t workspace; /* scratch of operators, index arrays, sums, rotary tables */
    int64_t device;
    int64_t host; /* copies beside the device's memory; 0 where that is the host's */
};

/* What jepa_open would take with these arguments; takes none of it.  Local.  Errors: LS_USAGE,
 * LS_NOMEM. */
ls_status jepa_plan(struct jepa_memory *out, const struct jepa_options *options,
                    const struct op_table *ops, const struct op_device *device) LS_MUST_CHECK;

/* Make what depends on shapes, for all mask lengths that clips of `frames` frames can have: then no
 * product of a step lacks its plan (plan_counts in model/ops.h).  Before the first step; without
 * buckets there is nothing to make ahead.  Local.  Errors: LS_USAGE, LS_DEVICE. */
ls_status jepa_prepare(struct jepa *jepa, int frames) LS_MUST_CHECK;

/* Start a step: zero gradient and sums.  Local. */
ls_status jepa_begin_step(struct jepa *jepa) LS_MUST_CHECK;

/* Forward and backward of one micro-batch; adds `micro_batch_weight` (1/M) times its gradient.
 * `ready` is given with the last micro-batch of the rank's step (NULL otherwise).  Local. */
ls_status jepa_micro_batch(struct jepa *jepa, const struct jepa_batch *batch,
                           double micro_batch_weight, jepa_gradient_ready ready,
                           void *ready_context) LS_MUST_CHECK;

/* The same in two parts, so that copies to the device run ahead of the computation.
 *
 * jepa_stage queues the copy of a micro-batch's clips and index arrays on a queue of its own; at
 * most two may be staged and not yet computed.  The batch's memory must stay as it is until
 * jepa_stage_wait returns; where device memory is the host's, until the micro-batch is computed.
 * jepa_staged_micro_batch computes the one that was staged first and returns when its work is
 * queued.  jepa_unstage drops what is staged, after its copies.  Local.  Errors: LS_USAGE when two
 * are staged, or none; as jepa_micro_batch. */
ls_status jepa_stage(struct jepa *jepa, const struct jepa_batch *batch) LS_MUST_CHECK;
ls_status jepa_stage_wait(struct jepa *jepa) LS_MUST_CHECK;
ls_status jepa_staged_micro_batch(struct jepa *jepa, double micro_batch_weight,
                                  jepa_gradient_ready ready, void *ready_context) LS_MUST_CHECK;
ls_status jepa_unstage(struct jepa *jepa) LS_MUST_CHECK;

/* Forward only, of one micro-batch: what jepa_output and jepa_token_losses read.  Gradient, sums
 * and statistics are left alone.  The one computation of a model that was opened with
 * `forward_only`. Local.  Errors: as jepa_micro_batch. */
ls_status jepa_predict(struct jepa *jepa, const struct jepa_batch *batch) LS_MUST_CHECK;

/* The loss of every predicted token of mask group `group` in the micro-batch that ran last, in
 * double:
 *
 *     out[b, k] = (1 / dim) * sum over channels of |z - h|^p / p
 *
 *   out   out [B, predicted_count[group]]  in the order of the batch's lists; their mean is the
 *         group's loss
 *
 * Local; waits for the device.  Errors: LS_USAGE, LS_NOMEM, LS_DEVICE. */
ls_status jepa_token_losses(struct jepa *jepa, int group, double *out) LS_MUST_CHECK;

/* Results of the step so far.  Local; waits for the device. */
ls_status jepa_result(struct jepa *jepa, struct jepa_result *out) LS_MUST_CHECK;

/* Host view of the flat gradient, where the all-reduce works in place.  On the CPU it is the
 * gradient itself; elsewhere a pinned copy that is filled range by range before each `ready` call
 * (which may do nothing) and taken back by jepa_gradient_norm and jepa_update; NULL with
 * `device_gradient`. */
float *jepa_gradient_host(struct jepa *jepa);

/* The flat gradient in device memory, where sums are made with `device_gradient`. */
float *jepa_gradient_device(struct jepa *jepa);

/* Mask tokens that had a gradient in this step, a bit each.  The optimizer leaves the others alone,
 * so all ranks must agree: with several frames-per-clip groups in one run, set the union over ranks
 * before jepa_update.  Local. */
uint64_t jepa_mask_tokens_used(const struct jepa *jepa);
void jepa_mask_tokens_set(struct jepa *jepa, uint64_t used);

/* After the all-reduce: L2 norm of the gradient (over all ranks alike); with a divided state of
 * this rank's slices of it.  Local. */
ls_status jepa_gradient_norm(struct jepa *jepa, double *out) LS_MUST_CHECK;

struct jepa_update {
    double lr, weight_decay, ema_keep;
    double gradient_scale; /* 1, or the clipping factor */
};
/* AdamW and EMA over the whole flat space, or in a divided state over this rank's slices.
 * Parameters without gradient in this step (unused mask tokens) are left alone, weight decay
 * included.  Local. */
ls_status jepa_update(struct jepa *jepa, const struct jepa_update *update) LS_MUST_CHECK;

/* A divided state.
 *
 * The gradient's slices of this rank are the sums over ranks when jepa_update is called; it brings
 * this rank's slices of everything up to date.  What all ranks compute with (copies of weights and
 * EMA in the dtype of products; with float32 weights and EMA themselves) is then to be gathered,
 * bucket by bucket, by somebody else:
 *
 *     jepa_update
 *     jepa_copy_bring(bucket), gather it, jepa_copy_take(bucket)     weights, and EMA where
 *                                                                    jepa_gathers_ema
 *     jepa_vectors_bring, sum over ranks, jepa_vectors_take          where jepa_vectors has any
 *
 * and the model asks for what it is about to read (jepa_set_demand).  With float32 the EMA of other
 * ranks' slices is not sent: jepa_copy_take of the weights moves it, which has the same bits. */
enum jepa_copy { JEPA_COPY_WEIGHTS, JEPA_COPY_EMA, JEPA_COPIES };

/* Where a copy is gathered: device memory with `device_gradient`, else the host's. */
struct jepa_copy_place {
    void *data;
    int64_t total, element_bytes; /* elements, without what division_padded adds */
};
struct jepa_copy_place jepa_copy_place(struct jepa *jepa, enum jepa_copy which);
bool jepa_gathers_ema(const struct jepa *jepa);

/* This rank's slice of a bucket to where it is gathered; all of a gathered bucket to where it is
 * computed with.  Local.  Without a host copy in between, both do nothing but what is said above.
 */
ls_status jepa_copy_bring(struct jepa *jepa, enum jepa_copy which, int64_t bucket) LS_MUST_CHECK;
ls_status jepa_copy_take(struct jepa *jepa, enum jepa_copy which, int64_t bucket) LS_MUST_CHECK;

/* Parameters that are read as float32 beside copies in another dtype (biases, gains, mask tokens):
 * [*count] floats, to be summed over ranks where the copies are gathered, since every rank brings
 * its own and zeros.  NULL and 0 where there are none.  Local. */
float *jepa_vectors(struct jepa *jepa, int64_t *count);
ls_status jepa_vectors_bring(struct jepa *jepa) LS_MUST_CHECK;
ls_status jepa_vectors_take(struct jepa *jepa) LS_MUST_CHECK;

/* From now on `ask` is called before weights of a kind (the target's: JEPA_COPY_EMA) that lie
 * before element `end` of the flat space are read, the vectors included.  Local. */
typedef ls_status (*jepa_demand)(void *context, enum jepa_copy which, int64_t end);
void jepa_set_demand(struct jepa *jepa, jepa_demand ask, void *context);

/* Feature statistics of the step's tokens on this rank, to be summed over ranks: [4 * dim + 1]
 * doubles laid out as target sum, target square sum, prediction sum, prediction unit sum (dim
 * each), then the row count. jepa_statistics_count gives the length. */
int64_t jepa_statistics_count(const struct jepa *jepa);
ls_status jepa_statistics(struct jepa *jepa, double *out) LS_MUST_CHECK;
/* From the summed statistics: mean over channels of the standard deviation of target features; mean
 * cosine between predictions and their mean. */
void jepa_statistics_reduce(const struct jepa *jepa, const double *summed, double *target_std,
                            double *prediction_cosine);
/* Ask that this step also gathers the targets' second moments [dim, dim]: after jepa_begin_step,
 * before the first micro-batch. */
ls_status jepa_want_gram(struct jepa *jepa) LS_MUST_CHECK;
ls_status jepa_gram(struct jepa *jepa, float *out) LS_MUST_CHECK;
/* Participation ratio (tr C)^2 / tr(C^2) of the covariance, from summed gram and statistics. */
double jepa_target_rank(const struct jepa *jepa, const double *summed, const float *gram);

/* Mean target feature of each clip over its predicted tokens, in the micro-batch that ran last: out
 * [clips, dim] of that micro-batch; `scratch` holds JEPA_MEAN_ROWS rows of dim.  Until the next
 * micro-batch.  Local; waits for the device.  Errors: LS_USAGE, LS_DEVICE. */
enum { JEPA_MEAN_ROWS = 64 };
ls_status jepa_goal_means(struct jepa *jepa, float *out, float *scratch) LS_MUST_CHECK;

/* State for checkpoints, golden files and tests: host copies in and out.  Arrays: weights, moment1,
 * moment2 [flat_count], ema [encoder_count]; a NULL array is passed over.  adam_steps [parameter
 * count].  Local. */
struct jepa_state {
    float *weights, *moment1, *moment2, *ema;
    int64_t *adam_steps;
    int64_t offset, count; /* the range of the flat space that the arrays hold (ema: its part below
                              encoder_count).  In a divided state it lies in one of this rank's
                              slices, unless only copies are asked for */
    bool copies; /* weights and EMA as all ranks compute with them, in place of float32 masters */
};
ls_status jepa_state_download(struct jepa *jepa, const struct jepa_state *state) LS_MUST_CHECK;
ls_status jepa_state_upload(struct jepa *jepa, const struct jepa_state *state) LS_MUST_CHECK;

/* Fresh state: initial weights from the seed, EMA equal to them, moments and step counts 0.  Local.
 */
ls_status jepa_initialize(struct jepa *jepa, uint64_t seed) LS_MUST_CHECK;

/* For golden files: the last micro-batch's outputs as float32 in host memory.  which: target before
 * and after the last norm (all tokens: only when opened with `whole_target`), context and
 * prediction of group g.  Shapes [B, K, dim]. */
enum jepa_output { JEPA_TARGET_RAW, JEPA_TARGET_NORM, JEPA_CONTEXT, JEPA_PREDICTION };
ls_status jepa_output(struct jepa *jepa, enum jepa_output which, int group,
                      float *out) LS_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
