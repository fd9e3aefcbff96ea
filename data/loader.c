/* Opening and closing: all memory and threads of a loader are made here and none later. */
#include "data/loader.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/files.h"
#include "core/log.h"
#include "data/loader_internal.h"

ls_status loader_check(const struct config *config)
{
    ls_status st = LS_OK;
    const struct config_data *data = &config->data;
    const char *source = config->source != NULL ? config->source : "config";
    if (config->data_aug.auto_augment)
        return LS_FAIL(LS_USAGE, "%s: data_aug.auto_augment: true is not supported by the loader",
                       source);
    if (data->sampling == CONFIG_SAMPLING_TIMESTAMPS && !(data->fps > 0.0))
        return LS_FAIL(LS_USAGE, "%s: data.sampling: timestamps needs data.fps", source);
    if (data->dataset_count < 1 || data->batch_size < 1 || config->mask_count < 1)
        return LS_FAIL(LS_USAGE, "a loader needs a dataset, a batch_size and a mask group");
    for (int d = 0; d < data->dataset_count; d++)
        LS_TRY(mask_check(config->masks, config->mask_count,
                          mask_grid_of(data, data->datasets[d].frames_per_clip)));
done:
    return st;
}

/* Weights of the videos of a dataset; NULL where all are 1. */
static ls_status read_weights(double **out, const struct dataset *dataset)
{
    ls_status st = LS_OK;
    const int64_t count = dataset_video_count(dataset);
    int64_t v = 0;
    *out = NULL;
    while (v < count && dataset_video(dataset, v).weight == 1.0)
        v++;
    if (v == count)
        return LS_OK;
    LS_TRY(core_alloc(out, count));
    for (v = 0; v < count; v++)
        (*out)[v] = dataset_video(dataset, v).weight;
done:
    return st;
}

static ls_status open_draw(struct loader *loader)
{
    ls_status st = LS_OK;
    const struct config_data *data = &loader->config->data;
    struct draw_dataset *list = NULL;
    double **weights = NULL;
    LS_TRY(core_alloc(&list, data->dataset_count));
    LS_TRY(core_alloc(&weights, data->dataset_count));
    for (int d = 0; d < data->dataset_count; d++) {
        LS_TRY(read_weights(&weights[d], loader->datasets[d]));
        list[d] = (struct draw_dataset){.videos = dataset_video_count(loader->datasets[d]),
                                        .video_weights = weights[d],
                                        .weight = data->datasets[d].weight,
                                        .frames = data->datasets[d].frames_per_clip};
    }
    LS_TRY(draw_open(&loader->draw, list, data->dataset_count, data->weighted,
                     (uint64_t)loader->config->meta.seed, loader->config->micro_batches,
                     data->batch_size));
done:
    for (int d = 0; weights != NULL && d < data->dataset_count; d++)
        free(weights[d]);
    free((void *)weights);
    free(list);
    return st;
}

static ls_status open_slots(struct loader *loader)
{
    ls_status st = LS_OK;
    const struct config *config = loader->config;
    const size_t clips = (size_t)config->data.batch_size;
    int frames = 0;
    for (int g = 0; g < draw_group_count(loader->draw); g++)
        if (draw_group_frames(loader->draw, g) > frames)
            frames = draw_group_frames(loader->draw, g);
    const size_t tokens = (size_t)mask_grid_tokens(mask_grid_of(&config->data, frames));
    const size_t frame_bytes =
        (size_t)config->data.crop_height * (size_t)config->data.crop_width * 3;
    loader->slot_count = config->run.prefetch + 1;
    loader->pixel_bytes = clips * (size_t)frames * frame_bytes;
    LS_TRY(core_alloc(&loader->slots, loader->slot_count));
    for (int i = 0; i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        slot->batch.group_count = config->mask_count;
        LS_TRY(core_alloc_pages((void **)&slot->batch.pixels, clips * (size_t)frames, frame_bytes));
        LS_TRY(core_alloc(&slot->batch.sources, clips));
        LS_TRY(core_alloc(&slot->bad_draws, config->data.dataset_count));
        slot->batch.bad_draws = slot->bad_draws;
        slot->batch.bad_videos = &slot->bad_videos;
        for (int g = 0; g < config->mask_count; g++) {
            LS_TRY(core_alloc(&slot->masks[g].context, clips * tokens));
            LS_TRY(core_alloc(&slot->masks[g].predicted, clips * tokens));
        }
    }
done:
    return st;
}

bool loader_pixels(const struct loader *loader, int index, void **out, size_t *bytes)
{
    if (index >= loader->slot_count)
        return false;
    *out = loader->slots[index].batch.pixels;
    *bytes = loader->pixel_bytes;
    return true;
}

static ls_status open_lock(struct loader *loader)
{
    pthread_condattr_t monotonic;
    int error = pthread_condattr_init(&monotonic);
    if (error == 0)
        error = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    if (error == 0)
        error = pthread_mutex_init(&loader->lock, NULL);
    if (error == 0)
        error = pthread_cond_init(&loader->work, NULL);
    if (error == 0)
        error = pthread_cond_init(&loader->ready, &monotonic);
    if (error != 0)
        return LS_FAIL(LS_NOMEM, "cannot make a lock: %s", strerror(error));
    (void)pthread_condattr_destroy(&monotonic);
    loader->has_lock = true;
    return LS_OK;
}

/* Threads start with all signals blocked: they are for the main thread. */
static ls_status open_fillers(struct loader *loader)
{
    ls_status st = LS_OK;
    sigset_t all;
    sigset_t before;
    const int wanted = loader->config->data.num_workers;
    loader->filler_count = wanted > 0 ? wanted : 1;
    LS_TRY(core_alloc(&loader->fillers, loader->filler_count));
    for (int i = 0; i < loader->filler_count; i++) {
        loader->fillers[i].loader = loader;
        LS_TRY(clip_maker_open(&loader->fillers[i].maker, &loader->plan, &loader->fillers[i]));
    }
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 0; i < loader->filler_count && st == LS_OK; i++) {
        struct filler *filler = &loader->fillers[i];
        int error = pthread_create(&filler->thread, NULL, loader_fill, filler);
        filler->started = error == 0;
        if (error != 0)
            st = LS_FAIL(LS_NOMEM, "cannot start decode thread %d of %d: %s", i + 1,
                         loader->filler_count, strerror(error));
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
done:
    return st;
}

ls_status loader_open(struct loader **out, const struct config *config,
                      struct dataset *const *datasets, int64_t first_step, int micro_first,
                      int micro_count, const int64_t *skip, int skip_count)
{
    ls_status st = LS_OK;
    struct loader *loader = NULL;
    LS_TRY(loader_check(config));
    if (micro_first < 0 || micro_count < 1 || micro_first > config->micro_batches - micro_count) {
        st = LS_FAIL(LS_USAGE, "micro-batches %d .. %d of %d", micro_first,
                     micro_first + micro_count - 1, config->micro_batches);
        goto done;
    }
    LS_TRY(core_alloc(&loader, 1));
    loader->config = config;
    loader->datasets = datasets;
    loader->first_step = first_step;
    loader->micro_first = micro_first;
    loader->micro_count = micro_count;
    loader->skip_count = skip_count;
    atomic_init(&loader->stop, false);
    LS_TRY(core_alloc(&loader->skip, skip_count));
    for (int i = 0; i < skip_count; i++)
        loader->skip[i] = skip[i];
    LS_TRY(open_draw(loader));
    LS_TRY(open_slots(loader));
    LS_TRY(open_lock(loader));
    loader->plan = (struct clip_plan){.config = config,
                                      .datasets = datasets,
                                      .draw = loader->draw,
                                      .stop = &loader->stop,
                                      .failed = loader_note_bad};
    LS_TRY(open_fillers(loader));
    log_info("loader threads=%d batches=%d clips=%d first_step=%lld micro_batches=%d..%d",
             loader->filler_count, loader->slot_count, config->data.batch_size,
             (long long)first_step, micro_first, micro_first + micro_count - 1);
    *out = loader;
    loader = NULL;
done:
    loader_close(&loader);
    return st;
}

static void close_fillers(struct loader *loader)
{
    if (loader->has_lock) {
        (void)pthread_mutex_lock(&loader->lock);
        atomic_store(&loader->stop, true);
        (void)pthread_cond_broadcast(&loader->work);
        (void)pthread_mutex_unlock(&loader->lock);
    }
    for (int i = 0; loader->fillers != NULL && i < loader->filler_count; i++) {
        if (loader->fillers[i].started)
            (void)pthread_join(loader->fillers[i].thread, NULL);
        clip_maker_close(&loader->fillers[i].maker);
    }
    free(loader->fillers);
}

static void close_slots(struct loader *loader)
{
    for (int i = 0; loader->slots != NULL && i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        free(slot->batch.pixels);
        free(slot->batch.sources);
        free(slot->bad_draws);
        for (int g = 0; g < CONFIG_MASK_GROUPS_MAX; g++) {
            free(slot->masks[g].context);
            free(slot->masks[g].predicted);
        }
    }
    free(loader->slots);
}

void loader_close(struct loader **out)
{
    struct loader *loader = *out;
    if (loader == NULL)
        return;
    close_fillers(loader);
    close_slots(loader);
    if (loader->has_lock) {
        (void)pthread_cond_destroy(&loader->ready);
        (void)pthread_cond_destroy(&loader->work);
        (void)pthread_mutex_destroy(&loader->lock);
    }
    draw_close(&loader->draw);
    free(loader->skip);
    free(loader);
    *out = NULL;
}
