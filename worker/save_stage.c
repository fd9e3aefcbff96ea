/* The copy of this rank's part of the state that a save is made from: the only time that training
 * stands still for it. */
#include <stdlib.h>

#include "core/clock.h"
#include "core/files.h"
#include "worker/trainer.h"

/* This rank's range of every array. */
static ls_status copy_range(struct trainer *trainer, const struct checkpoint_array *arrays)
{
    ls_status st = LS_OK;
    const struct checkpoint_array *ema = &arrays[SAVER_ARRAYS - 1];
    LS_TRY(jepa_state_download(trainer->jepa, &(struct jepa_state){.weights = arrays[0].data,
                                                                   .moment1 = arrays[1].data,
                                                                   .moment2 = arrays[2].data,
                                                                   .offset = arrays[0].offset,
                                                                   .count = arrays[0].count}));
    LS_TRY(jepa_state_download(
        trainer->jepa,
        &(struct jepa_state){.ema = ema->data, .offset = ema->offset, .count = ema->count}));
done:
    return st;
}

/* This rank's slices, one after another; of the EMA as far as it goes. */
static ls_status copy_slices(struct trainer *trainer, const struct checkpoint_array *arrays)
{
    ls_status st = LS_OK;
    const struct division *division = &trainer->division;
    const struct checkpoint_array *ema = &arrays[SAVER_ARRAYS - 1];
    for (int64_t b = 0; b < division_buckets(division, arrays[0].total); b++) {
        int64_t at = b * division->slice;
        struct jepa_state slice = {.weights = arrays[0].data + at,
                                   .moment1 = arrays[1].data + at,
                                   .moment2 = arrays[2].data + at,
                                   .ema = at < ema->count ? ema->data + at : NULL};
        slice.count = division_part(&slice.offset, division, b, trainer->rank, arrays[0].total);
        LS_TRY(jepa_state_download(trainer->jepa, &slice));
    }
done:
    return st;
}

ls_status trainer_save_stage(struct trainer *trainer, struct checkpoint_state *state)
{
    ls_status st = LS_OK;
    int64_t *adam_steps = NULL;
    char *metrics_json = NULL;
    char *draws_json = NULL;
    double start_s = clock_now_s();
    LS_TRY(core_alloc(&adam_steps, state->parameter_count));
    LS_TRY(jepa_state_download(trainer->jepa, &(struct jepa_state){.adam_steps = adam_steps}));
    LS_TRY(trainer->divided ? copy_slices(trainer, state->arrays)
                            : copy_range(trainer, state->arrays));
    for (int i = 0; i < state->parameter_count; i++)
        state->parameters[i].adam_step = adam_steps[i];
    state->step = trainer->step;
    state->skipped = trainer->skipped;
    state->skipped_count = trainer->skipped_count;
    LS_TRY(watch_means(&metrics_json, trainer->watch));
    state->metrics_json = metrics_json;
    LS_TRY(draws_write(&draws_json, trainer->draws, trainer_dataset_hash(trainer)));
    state->draws_json = draws_json;
    LS_TRY(saver_write(trainer->saving.saver));
    trainer->saving.last_s = clock_now_s();
    trainer->saving.stall_s = trainer->saving.last_s - start_s;
done:
    free(adam_steps);
    free(metrics_json);
    free(draws_json);
    return st;
}
