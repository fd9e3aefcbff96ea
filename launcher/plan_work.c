#include "launcher/plan_work.h"

#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/flops.h"
#include "core/parameters.h"
#include "data/mask.h"

enum { DRAWS = 32 };

/* Tokens of clip `clip` that any group predicts. */
static int64_t count_queries(const struct mask_lists *lists, int groups, int clip, bool *asked,
                             int64_t tokens)
{
    int64_t count = 0;
    memset(asked, 0, (size_t)tokens * sizeof *asked);
    for (int g = 0; g < groups; g++)
        for (int i = 0; i < lists[g].predicted_count; i++)
            asked[lists[g].predicted[(int64_t)clip * lists[g].predicted_count + i]] = true;
    for (int64_t t = 0; t < tokens; t++)
        count += asked[t];
    return count;
}

/* FLOPs over the masks of the first steps. */
static ls_status count_flops(struct plan_work *out, const struct config *config,
                             const struct model_shape *shape)
{
    ls_status st = LS_OK;
    struct mask_grid grid = mask_grid_of(&config->data, out->frames);
    int64_t tokens = mask_grid_tokens(grid);
    int clips = config->data.batch_size;
    int64_t room = clips * tokens; /* numbers of a list */
    struct mask_lists lists[CONFIG_MASK_GROUPS_MAX] = {{0}};
    int32_t *memory = NULL;
    bool *asked = NULL;
    double backward = 0;
    LS_TRY(core_alloc(&memory, 2 * (int64_t)config->mask_count * room));
    LS_TRY(core_alloc(&asked, tokens));
    for (uint64_t step = 1; step <= DRAWS; step++) {
        struct flops_work work = {
            .clips = clips, .tokens = (int)tokens, .groups = config->mask_count};
        for (int g = 0; g < config->mask_count; g++) {
            lists[g].context = memory + 2 * (int64_t)g * room;
            lists[g].predicted = lists[g].context + room;
        }
        LS_TRY(mask_draw(lists, config->masks, config->mask_count, grid, clips,
                         (uint64_t)config->meta.seed, step, 0));
        for (int g = 0; g < config->mask_count; g++) {
            work.context_count[g] = lists[g].context_count;
            work.predicted_count[g] = lists[g].predicted_count;
        }
        for (int c = 0; c < clips; c++)
            work.target_queries += count_queries(lists, config->mask_count, c, asked, tokens);
        double part = 0;
        out->flops += flops_micro_batch(&part, shape, &work) / DRAWS;
        backward += part / DRAWS;
    }
    out->tokens = (int)tokens;
    out->backward_share = backward / out->flops;
done:
    free(memory);
    free(asked);
    return st;
}

ls_status plan_work(struct plan_work *out, const struct config *config)
{
    ls_status st = LS_OK;
    struct model_shape shape;
    struct parameters *parameters = NULL;
    *out = (struct plan_work){0};
    for (int i = 0; i < config->data.dataset_count; i++)
        if (config->data.datasets[i].frames_per_clip > out->frames)
            out->frames = config->data.datasets[i].frames_per_clip;
    LS_TRY(model_shape_of_config(&shape, config));
    LS_TRY(parameters_open(&parameters, &shape));
    double flat = (double)parameters->flat_count;
    double encoder = (double)parameters->encoder_count;
    out->parameters = parameters->true_count;
    out->gradient_bytes = flat * sizeof(float);
    out->state_bytes = 16 * flat + 4 * encoder;
    if (config->meta.dtype == CONFIG_BFLOAT16)
        out->state_bytes += 2 * flat + 2 * encoder;
    LS_TRY(count_flops(out, config, &shape));
done:
    parameters_close(&parameters);
    return st;
}
