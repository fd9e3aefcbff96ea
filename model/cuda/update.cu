/* AdamW, EMA and the casts to the compute dtype, in one pass over the flat space.
 *
 * Bound by memory: an encoder element reads weight, gradient, two moments and EMA (20 bytes) and
 * writes four of them and two bf16 copies (20 bytes).  One launch a piece; each thread owns
 * elements, so every result is deterministic. */
#include "model/cuda/internal.h"

struct element_update { /* scalars of one piece, by value */
    float shrink;       /* lr * decay */
    float step;         /* lr / first correction; 0: only the EMA moves */
    float root;         /* sqrt(second correction) */
    float beta1, one_minus_beta1, beta2, one_minus_beta2, eps;
    float pull; /* 1 - ema_keep */
    float scale;
    bool moves, ema;
};

static __global__ void update_kernel(float *weights, float *moment1, float *moment2, float *ema,
                                     const float *gradient, __nv_bfloat16 *weights_compute,
                                     __nv_bfloat16 *ema_compute, int64_t count,
                                     struct element_update u)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count)
        return;
    float w = weights[i];
    if (u.moves) {
        float g = u.scale * gradient[i];
        float m = u.beta1 * moment1[i] + u.one_minus_beta1 * g;
        float v = u.beta2 * moment2[i] + u.one_minus_beta2 * g * g;
        moment1[i] = m;
        moment2[i] = v;
        w = w - w * u.shrink;
        w = w - u.step * m / (sqrtf(v) / u.root + u.eps);
        weights[i] = w;
        if (weights_compute != NULL)
            weights_compute[i] = __float2bfloat16(w);
    }
    if (u.ema) {
        float e = ema[i];
        e += u.pull * (w - e);
        ema[i] = e;
        if (ema_compute != NULL)
            ema_compute[i] = __float2bfloat16(e);
    }
}

static ls_status update_piece(struct op_device *device, const struct op_update *update,
                              const struct op_update_piece *piece)
{
    struct element_update u;
    int64_t at = piece->offset;
    int64_t master = at - update->masters_from;
    int64_t moment = at - update->moments_from;
    __nv_bfloat16 *weights_compute = (__nv_bfloat16 *)update->weights_compute_dev;
    __nv_bfloat16 *ema_compute = (__nv_bfloat16 *)update->ema_compute_dev;
    u.moves = piece->first_correction > 0.0;
    u.ema = piece->ema;
    u.shrink = (float)(update->lr * (piece->decay ? update->weight_decay : 0.0));
    u.step = u.moves ? (float)(update->lr / piece->first_correction) : 0.0F;
    u.root = (float)sqrt(piece->second_correction);
    u.beta1 = (float)update->beta1;
    u.one_minus_beta1 = (float)(1.0 - update->beta1);
    u.beta2 = (float)update->beta2;
    u.one_minus_beta2 = (float)(1.0 - update->beta2);
    u.eps = (float)update->eps;
    u.pull = (float)(1.0 - update->ema_keep);
    u.scale = (float)update->gradient_scale;
    LS_LAUNCH(update_kernel, blocks_of(piece->count, 256), 256, 0, device->stream,
              update->weights_dev + master, update->moment1_dev + moment,
              update->moment2_dev + moment, piece->ema ? update->ema_dev + master : NULL,
              update->gradient_dev + at, weights_compute != NULL ? weights_compute + at : NULL,
              piece->ema && ema_compute != NULL ? ema_compute + at : NULL, piece->count, u);
    return launch_check("update");
}

ls_status update_cuda(struct op_device *device, const struct op_update *update)
{
    ls_status st = LS_OK;
    for (int i = 0; i < update->piece_count; i++)
        if (update->pieces[i].first_correction > 0.0 && update->pieces[i].second_correction <= 0.0)
            return LS_FAIL(LS_USAGE, "update: piece %d has no second correction", i);
    for (int i = 0; i < update->piece_count; i++)
        if (update->pieces[i].count > 0)
            LS_TRY(update_piece(device, update, &update->pieces[i]));
done:
    return st;
}
