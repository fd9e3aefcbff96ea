/* Masks as in training are drawn until each token was hidden often enough.  What a token costs is
 * the mean of its losses over the masks that hid it. */
#include <math.h>
#include <stdlib.h>

#include "core/components.h"
#include "core/files.h"
#include "worker/show.h"
#include "worker/signals.h"

enum { DRAWS_MOST = 1000 };

struct looking {
    const struct show_model *model;
    struct mask_lists lists[CONFIG_MASK_GROUPS_MAX];
    struct jepa_batch batch;
    int tokens;
    double *sums;   /* [tokens] */
    int *hidden;    /* [tokens] times */
    double *losses; /* [tokens] of a mask */
};

static ls_status open_lists(struct looking *l)
{
    ls_status st = LS_OK;
    for (int g = 0; g < l->model->config->mask_count; g++) {
        LS_TRY(core_alloc(&l->lists[g].context, l->tokens));
        LS_TRY(core_alloc(&l->lists[g].predicted, l->tokens));
    }
    LS_TRY(core_alloc(&l->sums, l->tokens));
    LS_TRY(core_alloc(&l->hidden, l->tokens));
    LS_TRY(core_alloc(&l->losses, l->tokens));
done:
    return st;
}

static void close_lists(struct looking *l)
{
    for (int g = 0; g < CONFIG_MASK_GROUPS_MAX; g++) {
        free(l->lists[g].context);
        free(l->lists[g].predicted);
    }
    free(l->sums);
    free(l->hidden);
    free(l->losses);
}

/* One mask of every group. */
static ls_status predict(struct looking *l, struct mask_grid grid, uint64_t seed, int draw)
{
    ls_status st = LS_OK;
    const struct config *config = l->model->config;
    LS_TRY(
        mask_draw(l->lists, config->masks, config->mask_count, grid, 1, seed, (uint64_t)draw, 0));
    for (int g = 0; g < config->mask_count; g++) {
        l->batch.context[g] = l->lists[g].context;
        l->batch.predicted[g] = l->lists[g].predicted;
        l->batch.context_count[g] = l->lists[g].context_count;
        l->batch.predicted_count[g] = l->lists[g].predicted_count;
    }
    LS_TRY(jepa_predict(l->model->jepa, &l->batch));
    for (int g = 0; g < config->mask_count; g++) {
        LS_TRY(jepa_token_losses(l->model->jepa, g, l->losses));
        for (int k = 0; k < l->lists[g].predicted_count; k++) {
            l->sums[l->lists[g].predicted[k]] += l->losses[k];
            l->hidden[l->lists[g].predicted[k]]++;
        }
    }
done:
    return st;
}

static bool all_hidden(const struct looking *l, int times)
{
    for (int t = 0; t < l->tokens; t++)
        if (l->hidden[t] < times)
            return false;
    return true;
}

static ls_status find_errors(struct show_look *out, struct looking *l,
                             const struct show_request *request)
{
    ls_status st = LS_OK;
    int known = 0;
    while (out->draws < DRAWS_MOST && !all_hidden(l, request->masks)) {
        LS_TRY(predict(l, out->grid, (uint64_t)request->seed, out->draws++));
        if (worker_stop_asked()) {
            st = LS_FAIL(LS_STOP, "stopped; nothing was written");
            goto done;
        }
    }
    for (int t = 0; t < l->tokens; t++) {
        out->errors[t] = l->hidden[t] > 0 ? l->sums[t] / l->hidden[t] : NAN;
        if (l->hidden[t] > 0) {
            out->error_mean += out->errors[t];
            known++;
        }
    }
    out->error_mean /= known > 0 ? known : 1;
done:
    return st;
}

/* The target encoder saw all of the clip in the last prediction, too. */
static ls_status find_components(struct show_look *out, const struct looking *l)
{
    ls_status st = LS_OK;
    float *features = NULL;
    const int dim = jepa_parameters(l->model->jepa)->shape.dim;
    LS_TRY(core_alloc(&features, (int64_t)l->tokens * dim));
    LS_TRY(jepa_output(l->model->jepa, JEPA_TARGET_RAW, 0, features));
    LS_TRY(components_find(out->places, out->shares, features, l->tokens, dim, SHOW_COMPONENTS));
done:
    free(features);
    return st;
}

ls_status show_look_open(struct show_look *out, const struct show_model *model,
                         const struct show_clip *clip, const struct show_request *request)
{
    ls_status st = LS_OK;
    const struct config *config = model->config;
    const int across = clip->size / config->data.patch_size;
    struct looking looking = {.model = model,
                              .batch = {.pixels = clip->pixels,
                                        .clips = 1,
                                        .frames = clip->count,
                                        .mask_token = model->mask_token}};
    *out = (struct show_look){.grid = {clip->count / config->data.tubelet_size, across, across},
                              .tubelet = config->data.tubelet_size};
    LS_TRY(mask_check(config->masks, config->mask_count, out->grid));
    looking.tokens = (int)mask_grid_tokens(out->grid);
    LS_TRY(open_lists(&looking));
    LS_TRY(core_alloc(&out->errors, looking.tokens));
    LS_TRY(core_alloc(&out->places, (int64_t)looking.tokens * SHOW_COMPONENTS));
    LS_TRY(find_errors(out, &looking, request));
    LS_TRY(find_components(out, &looking));
done:
    close_lists(&looking);
    if (st != LS_OK)
        show_look_close(out);
    return st;
}

void show_look_close(struct show_look *look)
{
    free(look->errors);
    free(look->places);
    *look = (struct show_look){0};
}
