/* Opening a probe, and the order of its parts.  Each stage is local work followed by an agreement,
 * as in training. */
#include "worker/prober.h"

#include <inttypes.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/files.h"
#include "core/log.h"

static const double init_std = 0.02; /* of the classifiers, as in the public code */
enum { MLP_RATIO = 4 };

static ls_status read_config(struct prober *prober)
{
    ls_status st = LS_OK;
    char *path = NULL;
    LS_TRY(core_format(&path, "%s/probe.yaml", prober->job->options->run));
    LS_TRY(config_probe_open(&prober->config, path, NULL, 0));
    prober->job->config = &prober->config->base;
done:
    free(path);
    return st;
}

static ls_status open_split(struct prober *prober, struct prober_split *split, const char *path)
{
    ls_status st = LS_OK;
    const struct trainer *job = prober->job;
    LS_TRY(dataset_open(&split->dataset, path));
    split->videos = dataset_video_count(split->dataset);
    LS_TRY(core_alloc(&split->labels, split->videos));
    LS_TRY(core_alloc(&split->numbers, split->videos));
    for (int64_t v = 0; v < split->videos; v++) {
        const struct dataset_video video = dataset_video(split->dataset, v);
        split->numbers[v] = v;
        if (job->options->features != NULL) {
            split->labels[v] = 0; /* not asked for; -1 will mean that it cannot be decoded */
            continue;
        }
        if (video.label < 0 || video.label > INT32_MAX / 2) {
            st = LS_FAIL(LS_USAGE, "%s: '%s' has no label: pack a list of `path label` lines", path,
                         video.name);
            goto done;
        }
        split->labels[v] = (int32_t)video.label;
    }
    if (split->videos == 0)
        st = LS_FAIL(LS_USAGE, "%s: no videos", path);
done:
    return st;
}

/* The labels as they were packed: what could not be decoded before may be tried again. */
static void restore_labels(struct prober_split *split)
{
    for (int64_t v = 0; v < split->videos; v++)
        split->labels[v] = (int32_t)dataset_video(split->dataset, split->numbers[v]).label;
}

/* Keep `most` of the training videos: the first of each class, the second of each, and so on.  The
 * labels are below prober->classes. */
static ls_status limit_labels(struct prober *prober, int64_t most)
{
    ls_status st = LS_OK;
    struct prober_split *split = &prober->train;
    const int64_t all = split->videos;
    int64_t *seen = NULL;  /* videos of a class so far */
    int64_t *place = NULL; /* of a video among those of its class */
    bool *kept = NULL;
    int64_t chosen = 0;
    if (most == 0 || most == all)
        return LS_OK;
    if (most > all)
        return LS_FAIL(LS_USAGE,
                       "%s: has %" PRId64 " videos, fewer than the %" PRId64
                       " labels that are asked for (experiment.data.labels)",
                       dataset_path(split->dataset), all, most);
    LS_TRY(core_alloc(&seen, prober->classes));
    LS_TRY(core_alloc(&place, all));
    LS_TRY(core_alloc(&kept, all));
    for (int64_t v = 0; v < all; v++)
        place[v] = seen[split->labels[v]]++;
    for (int64_t round = 0; chosen < most; round++)
        for (int64_t v = 0; v < all && chosen < most; v++) {
            kept[v] = kept[v] || place[v] == round;
            chosen += place[v] == round ? 1 : 0;
        }
    split->videos = 0;
    for (int64_t v = 0; v < all; v++)
        if (kept[v]) {
            split->labels[split->videos] = split->labels[v];
            split->numbers[split->videos++] = v;
        }
done:
    free(seen);
    free(place);
    free(kept);
    return st;
}

static void share_split(struct prober_split *split, const struct trainer *job)
{
    split->first = job->rank * split->videos / job->size;
    split->count = (job->rank + 1) * split->videos / job->size - split->first;
}

static ls_status count_classes(struct prober *prober)
{
    const struct prober_split *const splits[] = {&prober->train, &prober->test};
    prober->classes = prober->config->classes;
    for (int64_t v = 0; v < prober->train.videos && prober->config->classes == 0; v++)
        if (prober->train.labels[v] >= prober->classes)
            prober->classes = prober->train.labels[v] + 1;
    if (prober->classes < 2)
        prober->classes = 2;
    for (int s = 0; s < 2; s++)
        for (int64_t v = 0; v < splits[s]->videos; v++)
            if (splits[s]->labels[v] >= prober->classes)
                return LS_FAIL(LS_USAGE,
                               "%s: label %d of '%s': there are %d classes "
                               "(experiment.data.num_classes)",
                               dataset_path(splits[s]->dataset), splits[s]->labels[v],
                               dataset_video(splits[s]->dataset, splits[s]->numbers[v]).name,
                               prober->classes);
    return LS_OK;
}

static ls_status open_data(struct prober *prober)
{
    ls_status st = LS_OK;
    const struct config *base = &prober->config->base;
    struct trainer *job = prober->job;
    const int64_t a_step = (int64_t)base->data.batch_size * base->micro_batches;
    if (job->size > base->micro_batches)
        return LS_FAIL(LS_USAGE,
                       "%d workers, but a step has only %d micro-batches (nodes * "
                       "tasks_per_node): start at most %d",
                       job->size, base->micro_batches, base->micro_batches);
    job->micro_first = (int)((int64_t)job->rank * base->micro_batches / job->size);
    job->micro_count =
        (int)((int64_t)(job->rank + 1) * base->micro_batches / job->size) - job->micro_first;
    LS_TRY(open_split(prober, &prober->train, prober->config->train));
    LS_TRY(open_split(prober, &prober->test, prober->config->test));
    LS_TRY(count_classes(prober));
    if (job->options->features == NULL)
        LS_TRY(limit_labels(prober, prober->config->labels));
    share_split(&prober->train, job);
    share_split(&prober->test, job);
    prober->steps_an_epoch = (prober->train.videos + a_step - 1) / a_step;
    prober->steps = prober->steps_an_epoch * prober->config->epochs;
    LS_TRY(draw_open(&prober->draw,
                     &(struct draw_dataset){.videos = prober->train.videos,
                                            .frames = prober->config->frames_per_clip},
                     1, false, (uint64_t)base->meta.seed, base->micro_batches,
                     base->data.batch_size));
done:
    return st;
}

static ls_status open_models(struct prober *prober)
{
    ls_status st = LS_OK;
    const struct config_probe *config = prober->config;
    const struct config *base = &config->base;
    struct worker_device *device = &prober->job->device;
    LS_TRY(frozen_source_open(&prober->source, config->checkpoint));
    LS_TRY(frozen_source_compare(&prober->source, config));
    LS_TRY(worker_device_open(
        device, base,
        prober->job->options->device_given ? prober->job->options->device : base->run.device,
        comm_local_rank(prober->job->group), comm_local_size(prober->job->group)));
    const struct op_table *table = device->model.table;
    struct op_device *on = device->model.device;
    LS_TRY(frozen_open(&prober->frozen,
                       &(struct frozen_options){.shape = prober->source.shape,
                                                .dtype = device->dtype,
                                                .clips = base->data.batch_size * config->segments,
                                                .frames = config->frames_per_clip,
                                                .height = config->resolution,
                                                .width = config->resolution},
                       table, on));
    prober->dim = prober->source.shape.dim;
    prober->tokens = frozen_tokens(prober->frozen) * config->segments;
    if (prober->job->options->features != NULL)
        return LS_OK; /* nothing is trained */
    const struct classifier_shape shape = {.dim = prober->dim,
                                           .heads = config->pool_heads,
                                           .depth = config->pool_blocks,
                                           .hidden = MLP_RATIO * prober->dim,
                                           .classes = prober->classes,
                                           .init_std = init_std};
    LS_TRY(probe_open(&prober->probe,
                      &(struct probe_options){.shape = shape,
                                              .dtype = device->dtype,
                                              .heads = config->head_count,
                                              .videos = base->data.batch_size,
                                              .tokens = prober->tokens},
                      table, on));
done:
    return st;
}

static ls_status open_memory(struct prober *prober)
{
    ls_status st = LS_OK;
    const struct config_probe *config = prober->config;
    const int64_t videos = config->base.data.batch_size;
    const int64_t classes = prober->classes;
    for (int i = 0; i < 2; i++) {
        LS_TRY(core_alloc(&prober->batches[i].videos, videos));
        LS_TRY(core_alloc(&prober->batches[i].wanted, videos));
    }
    LS_TRY(core_alloc(&prober->staging, videos * prober->tokens * prober->dim));
    if (!config->augment)
        LS_TRY(core_alloc_bytes((void **)&prober->cache, (size_t)prober->train.videos,
                                sizeof(float *)));
    if (config->knn > 0) {
        LS_TRY(core_alloc(&prober->train.pooled, prober->train.videos * prober->dim));
        LS_TRY(core_alloc(&prober->test.pooled, prober->test.videos * prober->dim));
    }
    LS_TRY(core_alloc(&prober->result.epochs, 2 * (int64_t)config->epochs * config->head_count));
    LS_TRY(core_alloc(&prober->result.heads, config->head_count));
    for (int h = 0; h < config->head_count; h++)
        LS_TRY(core_alloc(&prober->result.heads[h].confusion, classes * classes));
    LS_TRY(prober_feed_open(prober));
done:
    return st;
}

static void drop_cache(struct prober *prober)
{
    for (int64_t v = 0; prober->cache != NULL && v < prober->train.videos; v++) {
        free(prober->cache[v]);
        prober->cache[v] = NULL;
    }
}

static void close_split(struct prober_split *split)
{
    dataset_close(&split->dataset);
    free(split->numbers);
    free(split->labels);
    free(split->pooled);
}

static void close_all(struct prober *prober)
{
    prober_feed_close(&prober->feed);
    for (int i = 0; i < 2; i++) {
        free(prober->batches[i].videos);
        free(prober->batches[i].wanted);
    }
    drop_cache(prober);
    free((void *)prober->cache);
    free(prober->staging);
    for (int h = 0; prober->result.heads != NULL && h < prober->config->head_count; h++)
        free(prober->result.heads[h].confusion);
    free(prober->result.heads);
    free(prober->result.epochs);
    probe_close(&prober->probe);
    frozen_close(&prober->frozen);
    frozen_source_close(&prober->source);
    draw_close(&prober->draw);
    close_split(&prober->train);
    close_split(&prober->test);
    worker_device_close(&prober->job->device);
    prober->job->device = (struct worker_device){0};
    prober->job->config = NULL;
    config_probe_close(&prober->config);
}

/* The encoder's weights, and classifiers that know nothing. */
static ls_status begin(struct prober *prober, bool random)
{
    ls_status st = LS_OK;
    const uint64_t seed = (uint64_t)prober->config->base.meta.seed;
    const struct parameters *parameters = frozen_parameters(prober->frozen);
    float *weights = NULL;
    LS_TRY(core_alloc(&weights, parameters->encoder_count));
    if (random)
        LS_TRY(frozen_source_draw(weights, parameters, seed));
    else
        LS_TRY(frozen_source_read(weights, &prober->source, parameters, prober->config->network));
    LS_TRY(frozen_weights(prober->frozen, weights));
    if (prober->probe == NULL)
        goto done;
    LS_TRY(probe_initialize(prober->probe, seed));
    drop_cache(prober);
    restore_labels(&prober->train);
    restore_labels(&prober->test);
done:
    free(weights);
    return st;
}

static ls_status probe_one(struct prober *prober, bool random)
{
    ls_status st = LS_OK;
    const double start_s = clock_now_s();
    trainer_phase(prober->job, "load", 0, prober->config->base.run.save_timeout_s);
    LS_TRY(trainer_agree(prober->job, begin(prober, random)));
    log_info("probe init=%s checkpoint=%s step=%" PRId64 " heads=%d classes=%d train=%" PRId64
             " test=%" PRId64 " steps=%" PRId64,
             random ? "random" : "pretrained", prober->source.info->path, prober->source.info->step,
             prober->config->head_count, prober->classes, prober->train.videos, prober->test.videos,
             prober->steps);
    LS_TRY(prober_collect(prober));
    LS_TRY(prober_train(prober));
    LS_TRY(prober_test(prober));
    prober->result.seconds = clock_now_s() - start_s;
    LS_TRY(
        trainer_agree(prober->job, prober->job->rank == 0 ? prober_report(prober, random) : LS_OK));
done:
    return st;
}

ls_status prober_run(struct trainer *job, const struct worker_options *options)
{
    ls_status st = LS_OK;
    struct prober prober = {.job = job};
    *job = (struct trainer){.options = options, .own = true};
    const ls_status read = read_config(&prober);
    LS_TRY(trainer_join(job, read, read == LS_OK ? job->config->run.start_timeout_s : 0));
    LS_TRY(read); /* the join has told everybody */
    LS_TRY(trainer_agree(job, open_data(&prober)));
    LS_TRY(trainer_agree(job, open_models(&prober)));
    LS_TRY(trainer_agree(job, open_memory(&prober)));
    if (options->features != NULL) {
        LS_TRY(trainer_agree(job, begin(&prober, prober.config->init == CONFIG_INIT_RANDOM)));
        LS_TRY(trainer_agree(job, prober_features(&prober)));
        goto done;
    }
    if (prober.config->init != CONFIG_INIT_RANDOM)
        LS_TRY(probe_one(&prober, false));
    if (prober.config->init != CONFIG_INIT_PRETRAINED)
        LS_TRY(probe_one(&prober, true));
    job->step = prober.steps;
done:
    /* A rank that fails alone leaves with everything open: its peers may still wait for it. */
    if (st == LS_OK || job->agreed)
        close_all(&prober);
    return st;
}
