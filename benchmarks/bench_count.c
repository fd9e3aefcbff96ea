/* The step whose instructions `make bench-count` counts (benchmarks/count.sh, under callgrind).
 *
 *   bench_count
 *
 * One thread, fixed numbers: two clips of 4 x 4 x 4 tokens, an encoder 96 wide of 2 blocks, a
 * predictor 48 wide of 2.  Step 1 warms up; step 2 is done inside `counted_step`: masks drawn,
 * forward and backward of a micro-batch, gradient norm, AdamW + EMA, statistics.  Prints the loss,
 * so that a count is only compared with one of the same numbers. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "data/mask.h"
#include "model/device.h"
#include "tests/support/jepa_case.h"

enum { CLIPS = 2, SIDE = 4, TOKENS = SIDE * SIDE * SIDE, SEED = 7 };

static const struct jepa_case_shape shape = {.name = "counted",
                                             .model = {.patch = 16,
                                                       .tubelet = 2,
                                                       .dim = 96,
                                                       .depth = 2,
                                                       .heads = 3,
                                                       .hidden = 384,
                                                       .pred_dim = 48,
                                                       .pred_depth = 2,
                                                       .pred_heads = 2,
                                                       .pred_hidden = 192,
                                                       .mask_tokens = 1,
                                                       .init_std = 0.02},
                                             .clips = CLIPS,
                                             .groups = 1,
                                             .grid = {SIDE, SIDE, SIDE},
                                             .context = {24},
                                             .predicted = {40},
                                             .mask_token = 0,
                                             .exponent = 1.0};

/* Not inlined: callgrind counts between its entry and its return. */
__attribute__((noinline)) static ls_status
counted_step(struct jepa *jepa, const struct jepa_case *it, double *statistics, double *out_loss)
{
    ls_status st = LS_OK;
    const struct config_mask mask = {.spatial_scale = {0.15, 0.15},
                                     .temporal_scale = {1.0, 1.0},
                                     .aspect_ratio = {0.75, 1.5},
                                     .num_blocks = 8,
                                     .max_temporal_keep = 1.0};
    static int32_t context[CLIPS * TOKENS];
    static int32_t predicted[CLIPS * TOKENS];
    struct mask_lists drawn = {.context = context, .predicted = predicted};
    LS_TRY(mask_draw(&drawn, &mask, 1, (struct mask_grid){SIDE, SIDE, SIDE}, CLIPS, SEED, 2, 0));

    struct jepa_result result;
    double norm = 0.0;
    LS_TRY(jepa_case_step(jepa, it, &result));
    LS_TRY(jepa_gradient_norm(jepa, &norm));
    const struct jepa_update update = {
        .lr = 1e-3, .weight_decay = 0.04, .ema_keep = 0.99, .gradient_scale = 1.0};
    LS_TRY(jepa_update(jepa, &update));
    LS_TRY(jepa_statistics(jepa, statistics));
    *out_loss = result.loss;
done:
    return st;
}

static ls_status run(const struct model_device *device)
{
    ls_status st = LS_OK;
    struct jepa_case it;
    struct jepa *jepa = NULL;
    double *statistics = NULL;
    struct jepa_result warm;
    double loss = 0.0;
    memset(&it, 0, sizeof it);
    LS_TRY(jepa_case_open(&it, &shape, SEED));
    LS_TRY(jepa_case_model(&jepa, &it, device->table, device->device));
    statistics = calloc((size_t)jepa_statistics_count(jepa), sizeof *statistics);
    if (statistics == NULL) {
        st = LS_FAIL(LS_NOMEM, "no memory for statistics");
        goto done;
    }
    LS_TRY(jepa_case_step(jepa, &it, &warm));
    LS_TRY(counted_step(jepa, &it, statistics, &loss));
    (void)printf("loss %.6f\n", loss);
done:
    free(statistics);
    jepa_close(&jepa);
    jepa_case_close(&it);
    return st;
}

int main(void)
{
    struct model_device device;
    ls_status st = model_device_open(&device, CONFIG_DEVICE_CPU, 1, 0, true);
    if (st == LS_OK) {
        st = run(&device);
        model_device_close(&device);
    }
    if (st != LS_OK)
        (void)fprintf(stderr, "bench_count: %s\n", status_message());
    return (int)st;
}
