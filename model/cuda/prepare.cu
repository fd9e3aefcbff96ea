/* The operators that only make what depends on shapes: plans of products.  Operators without a plan
 * do nothing.  Fused attention makes its plans at first use: their shapes are combinations of
 * several lengths, too many to make all that could occur. */
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

/* An operator that makes nothing. */
template <typename... Arguments> static ls_status nothing(Arguments...)
{
    return LS_OK;
}

const struct op_table op_table_cuda_prepare = {
    .name = "cuda",
    .host_memory = false,
    .rounds_bias = true,
    .row_multiple = 8,
    .prepare = NULL,
    .allocate = allocate_cuda,
    .release = release_cuda,
    .host_allocate = host_allocate_cuda,
    .host_release = host_release_cuda,
    .upload = nothing,
    .download = nothing,
    .copy = nothing,
    .zero = nothing,
    .synchronize = synchronize_cuda,
    .reserve = reserve_cuda,
    .scratch_bytes = scratch_bytes_cuda,
    .plan_counts = plan_counts_cuda,
    .select = select_cuda,
    .event_open = event_open_cuda,
    .event_close = event_close_cuda,
    .event_record = event_record_cuda,
    .event_wait = event_wait_cuda,
    .event_synchronize = event_synchronize_cuda,
    .host_pin = host_pin_cuda,
    .host_unpin = host_unpin_cuda,
    .cast = nothing,
    .linear_fwd = linear_fwd,
    .linear_gelu_fwd = linear_gelu_fwd,
    .linear_bwd_data = linear_bwd_data,
    .linear_bwd_weight = linear_bwd_weight,
    .gelu_bwd = nothing,
    .layernorm_fwd = nothing,
    .layernorm_bwd = nothing,
    .split_heads_fwd = nothing,
    .split_heads_bwd = nothing,
    .attention_fwd = nothing,
    .attention_bwd = nothing,
    .gather_rows = nothing,
    .scatter_rows = nothing,
    .patchify = nothing,
    .loss = nothing,
    .column_statistics = nothing,
    .gram = gram,
    .square_sum = nothing,
    .update = nothing,
};
