/* The table of the CUDA twin. */
#include "model/cuda/cuda.h"
#include "model/cuda/operators.h"

const struct op_table op_table_cuda = {
    .name = "cuda",
    .host_memory = false,
    .row_multiple = 128, /* lengths are padded to buckets, so that shapes repeat */
    .allocate = allocate_cuda,
    .release = release_cuda,
    .host_allocate = host_allocate_cuda,
    .host_release = host_release_cuda,
    .upload = upload_cuda,
    .download = download_cuda,
    .copy = copy_cuda,
    .zero = zero_cuda,
    .synchronize = synchronize_cuda,
    .reserve = reserve_cuda,
    .cast = cast_cuda,
    .linear_fwd = linear_fwd_cuda,
    .linear_gelu_fwd = linear_gelu_fwd_cuda,
    .linear_bwd_data = linear_bwd_data_cuda,
    .linear_bwd_weight = linear_bwd_weight_cuda,
    .gelu_bwd = gelu_bwd_cuda,
    .layernorm_fwd = layernorm_fwd_cuda,
    .layernorm_bwd = layernorm_bwd_cuda,
    .split_heads_fwd = split_heads_fwd_cuda,
    .split_heads_bwd = split_heads_bwd_cuda,
    .attention_fwd = attention_fwd_cuda,
    .attention_bwd = attention_bwd_cuda,
    .gather_rows = gather_rows_cuda,
    .scatter_rows = scatter_rows_cuda,
    .patchify = patchify_cuda,
    .loss = loss_cuda,
    .column_statistics = column_statistics_cuda,
    .gram = gram_cuda,
    .square_sum = square_sum_cuda,
    .update = update_cuda,
};
