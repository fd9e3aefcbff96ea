/* Steps as in pretraining: M micro-batches whatever the number of ranks, drawn by (seed, step,
 * micro-batch, sample); gradients are summed over ranks, then every rank makes the same update. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/log.h"
#include "model/schedule.h"
#include "worker/prober.h"
#include "worker/signals.h"

static const double step_limit_s = 900;

/* This rank's micro-batches of all steps are numbered in order. */
static void choose(struct prober *prober, int64_t number)
{
    const struct trainer *job = prober->job;
    const int64_t step = number / job->micro_count;
    const int micro_batch = job->micro_first + (int)(number % job->micro_count);
    struct prober_batch *batch = &prober->batches[number % 2];
    for (int i = 0; i < prober->config->base.data.batch_size; i++) {
        struct draw_sample sample;
        int dataset = 0;
        draw_sample_open(&sample, prober->draw, step, micro_batch, i);
        draw_sample_next(&dataset, &batch->videos[i], &sample, prober->draw);
        batch->wanted[i] = prober->cache == NULL || prober->cache[batch->videos[i]] == NULL;
    }
}

/* The requests of a micro-batch; of a number beyond the last one none. */
static int request(struct prober *prober, struct prober_request *out, int64_t number)
{
    const struct trainer *job = prober->job;
    const struct prober_batch *batch = &prober->batches[number % 2];
    int count = 0;
    if (number >= prober->steps * job->micro_count)
        return 0;
    choose(prober, number);
    for (int i = 0; i < prober->config->base.data.batch_size; i++)
        if (batch->wanted[i])
            out[count++] = (struct prober_request){.split = &prober->train,
                                                   .video = batch->videos[i],
                                                   .random = prober->config->augment,
                                                   .step = number / job->micro_count,
                                                   .micro_batch = job->micro_first +
                                                                  (int)(number % job->micro_count),
                                                   .sample = i};
    return count;
}

/* Tokens that were just encoded go to memory; then all of the micro-batch's come from there. */
static ls_status use_cache(struct prober *prober, const struct prober_batch *batch)
{
    ls_status st = LS_OK;
    const int videos = prober->config->base.data.batch_size;
    const size_t count = (size_t)prober->tokens * (size_t)prober->dim;
    int made = 0;
    for (int i = 0; i < videos; i++)
        made += batch->wanted[i] ? 1 : 0;
    if (made > 0)
        LS_TRY(frozen_download(prober->frozen, prober->staging, made * prober->config->segments));
    made = 0;
    for (int i = 0; i < videos; i++) {
        float **place = &prober->cache[batch->videos[i]];
        if (!batch->wanted[i])
            continue;
        if (*place == NULL)
            LS_TRY(core_alloc(place, count));
        memcpy(*place, prober->staging + (size_t)made++ * count, count * sizeof(float));
    }
    for (int i = 0; i < videos; i++)
        memcpy(prober->staging + (size_t)i * count, prober->cache[batch->videos[i]],
               count * sizeof(float));
    LS_TRY(probe_features(prober->probe, prober->staging, videos));
done:
    return st;
}

/* Forward and backward of one micro-batch on all heads; adds to sums[head][loss, right, videos]. */
static ls_status micro_batch(struct prober *prober, int64_t number, double *sums,
                             struct prober_request *next)
{
    ls_status st = LS_OK;
    const struct config_probe *config = prober->config;
    const int videos = config->base.data.batch_size;
    const struct prober_batch *batch = &prober->batches[number % 2];
    int32_t *labels = NULL;
    LS_TRY(core_alloc(&labels, videos));
    LS_TRY(prober_feed_take(prober, next, request(prober, next, number + 1)));
    if (prober->cache != NULL)
        LS_TRY(use_cache(prober, batch));
    else
        LS_TRY(probe_features_device(prober->probe, frozen_features(prober->frozen), videos));
    for (int i = 0; i < videos; i++)
        labels[i] = prober->train.labels[batch->videos[i]];
    for (int h = 0; h < config->head_count; h++) {
        struct probe_result result;
        double *its = sums + 3 * (ptrdiff_t)h;
        LS_TRY(probe_train(prober->probe, h, labels, 1.0 / config->base.micro_batches, &result));
        its[0] += result.loss * result.videos;
        its[1] += result.right;
        its[2] += result.videos;
    }
done:
    free(labels);
    return st;
}

/* All of this rank's micro-batches of a step.  A wish to stop is brought to the others here. */
static ls_status compute(struct prober *prober, int64_t step, double *sums,
                         struct prober_request *next)
{
    ls_status st = LS_OK;
    LS_TRY(probe_begin_step(prober->probe));
    for (int m = 0; m < prober->job->micro_count; m++)
        LS_TRY(micro_batch(prober, step * prober->job->micro_count + m, sums, next));
    LS_TRY(probe_gradient_get(prober->probe));
    if (worker_stop_asked())
        st = LS_FAIL(LS_STOP,
                     "the probe was stopped in step %" PRId64 " of %" PRId64
                     "; it begins anew when it is started again",
                     step + 1, prober->steps);
done:
    return st;
}

static ls_status sum(struct prober *prober)
{
    ls_status st = LS_OK;
    struct comm_request *request = NULL;
    const int64_t count =
        (int64_t)prober->config->head_count * probe_parameters(prober->probe)->flat_count;
    if (prober->job->size == 1)
        return LS_OK;
    LS_TRY(comm_sum_start(prober->job->group, &request, probe_gradient(prober->probe), count));
    LS_TRY(comm_wait(prober->job->group, &request));
    LS_TRY(probe_gradient_put(prober->probe));
done:
    return st;
}

/* `step` counts from 0; the schedules from 1. */
static ls_status update(struct prober *prober, int64_t step)
{
    ls_status st = LS_OK;
    for (int h = 0; h < prober->config->head_count; h++) {
        const struct config_probe_head *head = &prober->config->heads[h];
        const int64_t warmup = (int64_t)(head->warmup * (double)prober->steps_an_epoch);
        const double lr = schedule_warmup_cosine(step + 1, warmup, head->start_lr, head->lr,
                                                 head->final_lr, prober->steps);
        const double decay =
            schedule_cosine(step + 1, head->weight_decay, head->final_weight_decay, prober->steps);
        LS_TRY(probe_update(prober->probe, h, lr, decay, step + 1));
    }
done:
    return st;
}

/* The sums of an epoch, of all ranks, become its figures; the next epoch begins. */
static ls_status end_epoch(struct prober *prober, int64_t epoch, double *sums)
{
    ls_status st = LS_OK;
    const int heads = prober->config->head_count;
    double *figures = prober->result.epochs + 2 * epoch * heads;
    double best = 0.0;
    LS_TRY(comm_sum_f64(prober->job->group, sums, 3 * (int64_t)heads));
    for (int h = 0; h < heads; h++) {
        const double *its = sums + 3 * (ptrdiff_t)h;
        double *its_figures = figures + 2 * (ptrdiff_t)h;
        const double videos = its[2] > 0.0 ? its[2] : 1.0;
        its_figures[0] = its[0] / videos;
        its_figures[1] = its[1] / videos;
        prober->result.heads[h].train_loss = its_figures[0];
        prober->result.heads[h].train_top1 = its_figures[1];
        best = fmax(best, its_figures[1]);
    }
    memset(sums, 0, 3 * (size_t)heads * sizeof *sums);
    /* A tenth of the way a line. */
    if (10 * (epoch + 1) / prober->config->epochs > 10 * epoch / prober->config->epochs)
        log_info("probe epoch=%" PRId64 " of=%d best_train_top1=%.4f", epoch + 1,
                 prober->config->epochs, best);
done:
    return st;
}

ls_status prober_train(struct prober *prober)
{
    ls_status st = LS_OK;
    const int videos = prober->config->base.data.batch_size;
    double *sums = NULL;
    struct prober_request *next = NULL;
    LS_TRY(core_alloc(&sums, 3 * (int64_t)prober->config->head_count));
    LS_TRY(core_alloc(&next, videos));
    prober_feed_start(&prober->feed, next, request(prober, next, 0));
    for (int64_t step = 0; step < prober->steps; step++) {
        trainer_phase(prober->job, "step", step, step_limit_s);
        LS_TRY(trainer_agree(prober->job, compute(prober, step, sums, next)));
        LS_TRY(trainer_agree(prober->job, sum(prober)));
        LS_TRY(trainer_agree(prober->job, update(prober, step)));
        if ((step + 1) % prober->steps_an_epoch == 0)
            LS_TRY(end_epoch(prober, step / prober->steps_an_epoch, sums));
    }
    /* The last take started an empty list. */
    LS_TRY(view_pool_wait(prober->feed.pool, step_limit_s));
done:
    free(sums);
    free(next);
    return st;
}
