/* Which way attention runs: fused in bf16 where there is a plan for the shape, else plain. */
#include "model/cuda/attention.h"

static bool may_fuse(const struct op_device *device, const struct attention_args *args)
{
    return args->o.dtype == OP_BF16 && device->fused != NULL && args->o.rows > 0;
}

ls_status attention_prepare(struct op_device *device, const struct attention_args *args,
                            bool backward)
{
    return may_fuse(device, args) ? attention_fused_prepare(device, args, backward) : LS_OK;
}

ls_status attention_fwd_cuda(struct op_device *device, struct op_matrix o, float *lse_dev,
                             const void *q_dev, const void *k_dev, const void *v_dev, int heads,
                             int head_width, const struct op_sequences *queries,
                             const struct op_sequences *keys)
{
    ls_status st = LS_OK;
    bool fused = false;
    struct attention_args args = {};
    args.o = o;
    args.lse_dev = lse_dev;
    args.q_dev = q_dev;
    args.k_dev = k_dev;
    args.v_dev = v_dev;
    args.heads = heads;
    args.head_width = head_width;
    args.queries = queries;
    args.keys = keys;
    if (may_fuse(device, &args))
        LS_TRY(attention_fused_fwd(device, &args, &fused));
    if (!fused)
        LS_TRY(attention_plain_fwd(device, &args));
done:
    return st;
}

ls_status attention_bwd_cuda(struct op_device *device, void *dq_dev, void *dk_dev, void *dv_dev,
                             struct op_matrix d_o, struct op_matrix o, const float *lse_dev,
                             const void *q_dev, const void *k_dev, const void *v_dev, int heads,
                             int head_width, const struct op_sequences *queries,
                             const struct op_sequences *keys)
{
    ls_status st = LS_OK;
    bool fused = false;
    struct attention_args args = {};
    args.o = o;
    args.lse_dev = (float *)lse_dev;
    args.q_dev = q_dev;
    args.k_dev = k_dev;
    args.v_dev = v_dev;
    args.heads = heads;
    args.head_width = head_width;
    args.queries = queries;
    args.keys = keys;
    args.d_o = d_o;
    args.dq_dev = dq_dev;
    args.dk_dev = dk_dev;
    args.dv_dev = dv_dev;
    if (may_fuse(device, &args))
        LS_TRY(attention_fused_bwd(device, &args, &fused));
    if (!fused)
        LS_TRY(attention_plain_bwd(device, &args));
done:
    return st;
}
