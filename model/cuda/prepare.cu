/* The operators that only make what depends on shapes: plans of products and of fused attention.
 * Operators without a plan do nothing. */
#include "model/cuda/attention.h"
#include "model/cuda/cuda.h"
#include "model/cuda/product.h"

static ls_status linear_fwd(struct op_device *device, struct op_matrix y, struct op_matrix x,
                            struct op_matrix w, const float *b_dev, bool)
{
    struct product product = {y, x, w, false, true, 0.0F, b_dev};
    return product_prepare(device, &product);
}

static ls_status linear_gelu_fwd(struct op_device *device, struct op_matrix y, struct op_matrix pre,
                                 struct op_matrix x, struct op_matrix w, const float *b_dev)
{
    return linear_fwd(device, pre.data_dev != NULL ? pre : y, x, w, b_dev, false);
}

static ls_status linear_bwd_data(struct op_device *device, struct op_matrix dx, struct op_matrix dy,
                                 struct op_matrix w, bool)
{
    struct product product = {dx, dy, w, false, false, 0.0F, NULL};
    return product_prepare(device, &product);
}

static ls_status linear_bwd_weight(struct op_device *device, float *dw_dev, float *,
                                   struct op_matrix dy, struct op_matrix x)
{
    struct op_matrix dw = {dw_dev, dy.columns, x.columns, OP_F32};
    struct product product = {dw, dy, x, true, false, 1.0F, NULL};
    return product_prepare(device, &product);
}

static ls_status gram(struct op_device *device, float *gram_dev, struct op_matrix x)
{
    return linear_bwd_weight(device, gram_dev, NULL, x, x);
}

static ls_status attention_fwd(struct op_device *device, struct op_matrix o, float *lse_dev,
                               const void *q_dev, const void *k_dev, const void *v_dev, int heads,
                               int head_width, const struct op_sequences *queries,
                               const struct op_sequences *keys)
{
    const struct attention_args args = {o,       lse_dev, q_dev, k_dev, v_dev, heads, head_width,
                                        queries, keys,    {},    NULL,  NULL,  NULL};
    return attention_prepare(device, &args, false);
}

static ls_status attention_bwd(struct op_device *device, void *dq_dev, void *dk_dev, void *dv_dev,
                               struct op_matrix d_o, struct op_matrix o, const float *lse_dev,
                               const void *q_dev, const void *k_dev, const void *v_dev, int heads,
                               int head_width, const struct op_sequences *queries,
                               const struct op_sequences *keys)
{
    const struct attention_args args = {o,      (float *)lse_dev, q_dev,   k_dev, v_dev,
                                        heads,  head_width,       queries, keys,  d_o,
                                        dq_dev, dk_dev,           dv_dev};
    return attention_prepare(device, &args, true);
}

/* An operator that makes nothing. */
template <typename... Arguments> static ls_status nothing(Arguments...)
{
    return LS_OK;
}

/* The table of the operators that compute, with those replaced. */
static struct op_table prepare_table()
{
    struct op_table t = op_table_cuda;
    t.prepare = NULL;
    t.upload = nothing;
    t.download = nothing;
    t.copy = nothing;
    t.zero = nothing;
    t.cast = nothing;
    t.linear_fwd = linear_fwd;
    t.linear_gelu_fwd = linear_gelu_fwd;
    t.linear_bwd_data = linear_bwd_data;
    t.linear_bwd_weight = linear_bwd_weight;
    t.gelu_bwd = nothing;
    t.layernorm_fwd = nothing;
    t.layernorm_bwd = nothing;
    t.split_heads_fwd = nothing;
    t.split_heads_bwd = nothing;
    t.attention_fwd = attention_fwd;
    t.attention_bwd = attention_bwd;
    t.gather_rows = nothing;
    t.scatter_rows = nothing;
    t.patchify = nothing;
    t.loss = nothing;
    t.column_statistics = nothing;
    t.gram = gram;
    t.square_sum = nothing;
    t.update = nothing;
    return t;
}

const struct op_table op_table_cuda_prepare = prepare_table();
