/* Fused attention of a build without cuDNN's headers: there is none. */
#include "model/cuda/fused.h"

ls_status fused_open(struct fused **out, void *stream)
{
    (void)stream;
    *out = NULL;
    return LS_FAIL(LS_DEVICE, "this build has no cuDNN (make config says why)");
}

void fused_close(struct fused **fused)
{
    *fused = NULL;
}

size_t fused_version(const struct fused *fused)
{
    (void)fused;
    return 0;
}

int64_t fused_refused(const struct fused *fused)
{
    (void)fused;
    return 0;
}

bool fused_clears(const struct fused *fused)
{
    (void)fused;
    return false;
}

void fused_set_clears(struct fused *fused, bool clears)
{
    (void)fused;
    (void)clears;
}

ls_status fused_plan_find(struct fused *fused, struct fused_plan **out, bool *made,
                          const struct attention_shape *shape, size_t workspace_limit)
{
    (void)fused;
    (void)shape;
    (void)workspace_limit;
    *out = NULL;
    *made = false;
    return LS_OK;
}

void fused_plan_refuse(struct fused *fused, struct fused_plan *plan, const char *reason)
{
    (void)fused;
    (void)plan;
    (void)reason;
}

ls_status fused_run(struct fused *fused, const struct fused_plan *plan,
                    const struct attention_buffers *buffers)
{
    (void)fused;
    (void)plan;
    (void)buffers;
    return LS_FAIL(LS_USAGE, "this build has no cuDNN");
}
