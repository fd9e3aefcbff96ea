/* What goes through the flat space: the gradient's norm, AdamW, EMA and the casts in one pass.
 *
 * The pass is bound by memory: each part takes spans that stay in L1 and does everything to a span
 * before the next. */
#include <math.h>
#include <string.h>

#include "model/cpu/device.h"

/* The norm's sum is cut into as many runs as this whatever the thread count, so it is equal on any
 * number of threads. */
enum { NORM_RUNS = 256 };

ls_status square_sum_cpu(struct op_device *device, double *out_dev, const float *x_dev,
                         int64_t count)
{
    double sums[NORM_RUNS];
#pragma omp parallel for schedule(static) num_threads(device->threads)
    for (int run = 0; run < NORM_RUNS; run++) {
        struct cpu_range range = cpu_share(count, 16, run, NORM_RUNS);
        sums[run] = device->kernels->square_sum(x_dev + range.begin, range.end - range.begin);
    }
    double total = 0.0;
    for (int run = 0; run < NORM_RUNS; run++)
        total += sums[run];
    *out_dev = total;
    return LS_OK;
}

static struct update_run run_of(const struct op_update *update, const struct op_update_piece *piece)
{
    double decay = piece->decay ? update->weight_decay : 0.0;
    return (struct update_run){
        .scale = (float)update->gradient_scale,
        .beta1 = (float)update->beta1,
        .beta1_rest = (float)(1.0 - update->beta1),
        .beta2 = (float)update->beta2,
        .beta2_rest = (float)(1.0 - update->beta2),
        .shrink = (float)(update->lr * decay),
        .step =
            piece->first_correction > 0.0 ? (float)(update->lr / piece->first_correction) : 0.0f,
        .second_root = (float)sqrt(piece->second_correction),
        .eps = (float)update->eps,
        .pull = (float)(1.0 - update->ema_keep),
    };
}

static void update_span(const struct op_device *device, const struct op_update *update,
                        const struct op_update_piece *piece, struct update_run run, int64_t at,
                        int64_t count)
{
    run.n = count;
    run.weights = update->weights_dev + (at - update->masters_from);
    if (piece->first_correction > 0.0) {
        run.moment1 = update->moment1_dev + (at - update->moments_from);
        run.moment2 = update->moment2_dev + (at - update->moments_from);
        run.gradient = update->gradient_dev + at;
        device->kernels->update(&run);
        if (update->weights_compute_dev != NULL)
            device->kernels->to_bf16((uint16_t *)update->weights_compute_dev + at, run.weights,
                                     count);
    }
    if (piece->ema) {
        run.ema = update->ema_dev + (at - update->masters_from);
        device->kernels->move(&run);
        if (update->ema_compute_dev != NULL)
            device->kernels->to_bf16((uint16_t *)update->ema_compute_dev + at, run.ema, count);
    }
}

ls_status update_cpu(struct op_device *device, const struct op_update *update)
{
    int threads = device->threads;
    for (int i = 0; i < update->piece_count; i++)
        if (update->pieces[i].first_correction > 0.0 && update->pieces[i].second_correction <= 0.0)
            return LS_FAIL(LS_USAGE, "update: piece %d has no second correction", i);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int part = 0; part < threads; part++)
        for (int i = 0; i < update->piece_count; i++) {
            const struct op_update_piece *piece = &update->pieces[i];
            struct update_run run = run_of(update, piece);
            struct cpu_range range = cpu_share(piece->count, CPU_SPAN, part, threads);
            for (int64_t at = range.begin; at < range.end; at += CPU_SPAN) {
                int64_t count = range.end - at < CPU_SPAN ? range.end - at : CPU_SPAN;
                update_span(device, update, piece, run, piece->offset + at, count);
            }
        }
    return LS_OK;
}
