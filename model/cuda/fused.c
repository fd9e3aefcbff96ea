/* The cache of fused plans and their execution. */
#include "model/cuda/fused.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "model/cuda/cudnn_plan.h"

enum { BINDINGS_MAX = 24 };

struct fused_plan {
    struct fused_plan *next;
    struct attention_shape shape;
    struct cudnn_plan plan;
    bool refused;
};

struct fused {
    struct cudnn_calls calls;
    cudnnHandle_t handle;
    struct fused_plan *plans;
    int64_t refused;
    bool clears;
};

ls_status fused_open(struct fused **out, void *stream)
{
    ls_status st = LS_OK;
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
    struct fused *fused = calloc(1, sizeof *fused);
    *out = NULL;
    if (fused == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for the fused attention");
    LS_TRY(cudnn_library_open(&fused->calls));
    status = fused->calls.create(&fused->handle);
    if (status == CUDNN_STATUS_SUCCESS)
        status = fused->calls.set_stream(fused->handle, stream);
    if (status != CUDNN_STATUS_SUCCESS) {
        st = cudnn_failed(&fused->calls, status, "open");
        goto done;
    }
    *out = fused;
    fused = NULL;
done:
    fused_close(&fused);
    return st;
}

void fused_close(struct fused **pointer)
{
    struct fused *fused = *pointer;
    if (fused == NULL)
        return;
    while (fused->plans != NULL) {
        struct fused_plan *next = fused->plans->next;
        cudnn_plan_close(&fused->plans->plan);
        free(fused->plans);
        fused->plans = next;
    }
    if (fused->handle != NULL)
        (void)fused->calls.destroy(fused->handle);
    free(fused);
    *pointer = NULL;
}

size_t fused_version(const struct fused *fused)
{
    return fused->calls.version;
}

int64_t fused_refused(const struct fused *fused)
{
    return fused->refused;
}

bool fused_clears(const struct fused *fused)
{
    return fused->clears;
}

void fused_set_clears(struct fused *fused, bool clears)
{
    fused->clears = clears;
}

static bool same(const struct attention_shape *a, const struct attention_shape *b)
{
    return a->sequences == b->sequences && a->heads == b->heads && a->width == b->width &&
           a->queries == b->queries && a->keys == b->keys && a->query_rows == b->query_rows &&
           a->key_rows == b->key_rows && a->query_step == b->query_step &&
           a->key_step == b->key_step && a->all_heads == b->all_heads &&
           a->backward == b->backward && a->lse == b->lse && a->deterministic == b->deterministic;
}

static void warn(const struct attention_shape *s, const char *reason)
{
    log_warn("attention asked=cudnn used=plain pass=%s sequences=%d heads=%d head_width=%d "
             "queries=%d keys=%d reason=\"%s\"",
             s->backward ? "backward" : "forward", s->sequences, s->heads, s->width, s->queries,
             s->keys, reason);
}

void fused_plan_refuse(struct fused *fused, struct fused_plan *plan, const char *reason)
{
    warn(&plan->shape, reason);
    plan->refused = true;
    fused->refused++;
    cudnn_plan_close(&plan->plan);
}

ls_status fused_plan_find(struct fused *fused, struct fused_plan **out, bool *made,
                          const struct attention_shape *shape, size_t workspace_limit)
{
    struct fused_plan *plan = fused->plans;
    *out = NULL;
    *made = false;
    while (plan != NULL && !same(&plan->shape, shape))
        plan = plan->next;
    if (plan != NULL) {
        *out = plan->refused ? NULL : plan;
        return LS_OK;
    }
    plan = calloc(1, sizeof *plan);
    if (plan == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for an attention plan");
    plan->shape = *shape;
    plan->next = fused->plans;
    fused->plans = plan;
    if (cudnn_plan_open(&plan->plan, &fused->calls, shape, (int64_t)workspace_limit, NULL) !=
        LS_OK) {
        fused_plan_refuse(fused, plan, status_message());
        status_clear();
        return LS_OK;
    }
    *made = true;
    *out = plan;
    log_debug("attention_plan pass=%s sequences=%d heads=%d head_width=%d queries=%d keys=%d "
              "engine=%lld workspace_bytes=%lld",
              shape->backward ? "backward" : "forward", shape->sequences, shape->heads,
              shape->width, shape->queries, shape->keys, (long long)plan->plan.engine,
              (long long)plan->plan.workspace_bytes);
    return LS_OK;
}

struct bindings {
    int64_t ids[BINDINGS_MAX];
    void *pointers[BINDINGS_MAX];
    int count;
};

/* cuDNN takes inputs as void * too. */
static void bind(struct bindings *b, enum attention_tensor id, const void *pointer)
{
    b->ids[b->count] = id;
    memcpy(&b->pointers[b->count], &pointer, sizeof pointer);
    b->count++;
}

static void bind_backward(struct bindings *b, const struct attention_shape *shape,
                          const struct attention_buffers *m)
{
    bind(b, TENSOR_LSE, m->lse_dev);
    bind(b, TENSOR_D_O, m->d_o_dev);
    bind(b, TENSOR_DQ, m->dq_dev);
    bind(b, TENSOR_DK, m->dk_dev);
    bind(b, TENSOR_DV, m->dv_dev);
    bind(b, TENSOR_DELTA, m->delta_dev);
    if (!shape->deterministic)
        bind(b, TENSOR_DQ_SUM, m->dq_sum_dev);
}

ls_status fused_run(struct fused *fused, const struct fused_plan *plan,
                    const struct attention_buffers *m)
{
    const struct attention_shape *shape = &plan->shape;
    float scale = (float)(1.0 / sqrt((double)shape->width));
    float one = 1.0F;
    float masked = -INFINITY;
    struct bindings b = {.count = 0};
    bind(&b, TENSOR_Q, m->q_dev);
    bind(&b, TENSOR_K, m->k_dev);
    bind(&b, TENSOR_V, m->v_dev);
    bind(&b, TENSOR_O, m->o_dev);
    bind(&b, TENSOR_SCALE, &scale);
    bind(&b, TENSOR_QUERY_LENGTHS, m->query_length_dev);
    bind(&b, TENSOR_KEY_LENGTHS, m->key_length_dev);
    if (shape->query_step == 0) {
        bind(&b, TENSOR_QUERY_OFFSETS, m->query_offset_dev);
        bind(&b, TENSOR_KEY_OFFSETS, m->key_offset_dev);
        bind(&b, TENSOR_OUTPUT_OFFSETS, m->output_offset_dev);
        if (shape->lse || shape->backward)
            bind(&b, TENSOR_LSE_OFFSETS, m->lse_offset_dev);
    }
    if (shape->backward) {
        bind_backward(&b, shape, m);
        bind(&b, TENSOR_ONE, &one);
        bind(&b, TENSOR_MASKED, &masked);
    } else if (shape->lse) {
        bind(&b, TENSOR_LSE, m->lse_dev);
    }
    return cudnn_plan_run(&plan->plan, fused->handle, b.ids, b.pointers, b.count, m->workspace_dev);
}
