/* Fused attention by cuDNN: plans by shape, counted and kept, and what a call of one needs.
 *
 * This header names no type of cuDNN's, so that a build without its headers compiles against it. */
#ifndef LOCKSTEP_MODEL_CUDA_FUSED_H
#define LOCKSTEP_MODEL_CUDA_FUSED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a plan is made for: bf16, `heads` heads of `width`, `sequences` sequences.  Buffers are
 * those of the operator table: q, k, v [heads][head rows][width], o [rows][heads * width],
 * lse [heads][head rows]. */
struct attention_shape {
    int sequences, heads, width;
    int queries, keys;            /* bounds on the lengths */
    int64_t query_rows, key_rows; /* from one head to the next */
    int64_t query_step, key_step; /* rows from one sequence to the next; 0 in both: ragged, the
                                   * offsets are in device memory */
    int all_heads;                /* of the buffers; `heads` of them are computed at a time */
    bool backward;
    bool lse;           /* forward keeps lse */
    bool deterministic; /* backward sums dq in a fixed order */
};

struct attention_buffers { /* device memory */
    const void *q_dev, *k_dev, *v_dev;
    void *o_dev;
    float *lse_dev;
    const int32_t *query_length_dev,
        *key_length_dev; /* [sequences], of a chunk 0 beyond the last */
    const int64_t *query_offset_dev, *key_offset_dev, *output_offset_dev,
        *lse_offset_dev; /* [sequences + 1] in elements; ragged only */
    const void *d_o_dev;
    void *dq_dev, *dk_dev, *dv_dev;
    float *delta_dev;  /* as lse; scratch of backward */
    float *dq_sum_dev; /* as dq, float32; scratch of backward that is not deterministic */
    void *workspace_dev;
};

struct fused;
struct fused_plan;

/* `stream` is a cudaStream_t.  Local.  Errors: LS_DEVICE with the reason why there is no fused
 * attention: no library, too old, no handle. */
ls_status fused_open(struct fused **out, void *stream) LS_MUST_CHECK;
void fused_close(struct fused **fused);

/* 91900 for cuDNN 9.19.0. */
size_t fused_version(const struct fused *fused);
/* Plans that cuDNN or the check refused. */
int64_t fused_refused(const struct fused *fused);

/* The plan of a shape, made when it is new: then *made is set and the caller checks it before it is
 * used.  A shape that cuDNN cannot run, or not within `workspace_limit` bytes, or whose plan was
 * refused, has none: *out is NULL; a warning tells why, once a shape.  Local. */
ls_status fused_plan_find(struct fused *fused, struct fused_plan **out, bool *made,
                          const struct attention_shape *shape,
                          size_t workspace_limit) LS_MUST_CHECK;

/* Whether the float32 sums of dq must be cleared before a plan that does not sum in a fixed order:
 * cuDNN has done it itself since 9.6, for the layouts that its frontend makes.  False after
 * opening; the comparison with the plain attention finds out. */
bool fused_clears(const struct fused *fused);
void fused_set_clears(struct fused *fused, bool clears);

/* Never use a plan again.  Local. */
void fused_plan_refuse(struct fused *fused, struct fused_plan *plan, const char *reason);

/* Queue a plan on the stream.  Local.  Errors: LS_DEVICE. */
ls_status fused_run(struct fused *fused, const struct fused_plan *plan,
                    const struct attention_buffers *buffers) LS_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
