/* One training step.
 *
 * Order of what the ranks do together, the same on all: gradient buckets are queued by the model's
 * callback while the last micro-batch's backward runs; then one exchange of votes (failure, stop,
 * not finite); only when nobody failed are the buckets waited for; then one sum of the statistics.
 * So a rank that fails before its gradient is complete never leaves its peers in an all-reduce. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/fault.h"
#include "core/files.h"
#include "core/flight.h"
#include "core/log.h"
#include "core/trace.h"
#include "model/schedule.h"
#include "worker/signals.h"
#include "worker/trainer.h"

enum { VOTE_TEXT_BYTES = 512 };

static const double DATA_SHARE = 0.8; /* of a step's deadline */
static const double LEAST_WAIT_S = 0.01;

/* What a rank brings to the joint decision; exchanged as bytes. */
struct vote {
    int32_t status; /* ls_status of its part of the step */
    int32_t stop, not_finite;
    int32_t save_progress, save_asked, save_late; /* enum saver_progress; of rank 0; flag */
    uint64_t mask_tokens;                         /* that had a gradient */
    struct hash128 draws;
    char text[VOTE_TEXT_BYTES];
};

/* What is summed over ranks behind the feature statistics. */
enum tail {
    TAIL_LOSS,
    TAIL_GROUP_LOSS,
    TAIL_FLOPS = TAIL_GROUP_LOSS + CONFIG_MASK_GROUPS_MAX,
    TAIL_ROWS,
    TAIL_PADDING_ROWS,
    TAIL_GRAD_SQUARES, /* of this rank's slices where the state is divided.  Else rank 0's, 0
                          elsewhere: ranks with other thread counts may differ in the last bit, and
                          all must clip alike */
    TAIL_TIMES,        /* a struct ranks_step of each rank, set by that rank alone; behind them the
                          step's draws (draws_put) */
};

enum { TIMES = sizeof(struct ranks_step) / sizeof(double) };

struct step_work {
    struct vote vote;
    struct jepa_result result;
    double data_wait_s, compute_s, reduce_s, comm_wait_s, grad_norm;
    int bad_rank; /* the first whose loss is not finite; -1: none */
    bool want_gram;
};

static int64_t sums_count(const struct trainer *trainer)
{
    return jepa_statistics_count(trainer->jepa) + TAIL_TIMES + TIMES * (int64_t)trainer->size +
           2 * (int64_t)trainer->config->data.dataset_count;
}

ls_status trainer_step_open(struct trainer *trainer)
{
    ls_status st = LS_OK;
    int64_t dim = jepa_parameters(trainer->jepa)->shape.dim;
    LS_TRY(core_alloc_bytes(&trainer->votes, (size_t)trainer->size, sizeof(struct vote)));
    LS_TRY(core_alloc(&trainer->sums, sums_count(trainer)));
    LS_TRY(core_alloc(&trainer->gram, dim * dim));
    LS_TRY(draws_open(&trainer->draws, trainer->datasets, trainer->config->data.dataset_count));
    LS_TRY(core_alloc(&trainer->clips,
                      (int64_t)trainer->micro_count * trainer->config->data.batch_size));
done:
    return st;
}

void trainer_step_close(struct trainer *trainer)
{
    free(trainer->votes);
    free(trainer->sums);
    free(trainer->gram);
    free(trainer->clips);
    draws_close(&trainer->draws);
    trainer->clips = NULL;
    trainer->votes = NULL;
    trainer->sums = NULL;
    trainer->gram = NULL;
}

static ls_status gradient_ready(void *context, int64_t offset, int64_t count)
{
    struct trainer *trainer = context;
    return comm_buckets_ready(trainer->buckets, offset, count);
}

/* This rank's micro-batches, forward and backward. */
static ls_status compute(struct trainer *trainer, struct step_work *work)
{
    ls_status st = LS_OK;
    /* A rank whose data stays away says so before its peers give up: then all know the cause. */
    double until_s = clock_now_s() + DATA_SHARE * trainer->step_limit_s;
    draws_begin_step(trainer->draws);
    LS_TRY(jepa_begin_step(trainer->jepa));
    if (trainer->buckets != NULL)
        comm_buckets_begin(trainer->buckets);
    if (work->want_gram)
        LS_TRY(jepa_want_gram(trainer->jepa));
    for (int i = 0; i < trainer->micro_count; i++) {
        struct hash128 draws;
        flight_phase("data", trainer->step + 1);
        bool last = i == trainer->micro_count - 1;
        trace_begin("data");
        LS_TRY(trace_ended(
            feed_take(trainer->feed, &draws, fmax(until_s - clock_now_s(), LEAST_WAIT_S))));
        flight_phase("compute", trainer->step + 1);
        const struct loader_batch *taken = feed_taken(trainer->feed);
        memcpy(&trainer->clips[(size_t)i * (size_t)taken->clips], taken->sources,
               (size_t)taken->clips * sizeof *taken->sources);
        draws_take(trainer->draws, taken);
        if (work->want_gram)
            watch_clips(trainer->watch, taken);
        LS_TRY(jepa_staged_micro_batch(trainer->jepa, 1.0 / trainer->config->micro_batches,
                                       last && trainer->buckets != NULL ? gradient_ready : NULL,
                                       trainer));
        if (work->want_gram)
            LS_TRY(watch_features(trainer->watch));
        work->vote.draws = hash_add(work->vote.draws, draws);
        LS_TRY(feed_ahead(trainer->feed));
    }
    LS_TRY(trainer_settle(trainer));
    trace_begin("wait for the device");
    LS_TRY(trace_ended(jepa_result(trainer->jepa, &work->result)));
    LS_TRY(feed_ahead(trainer->feed));
    work->vote.mask_tokens = jepa_mask_tokens_used(trainer->jepa);
    if (fault_point("not_finite") != 0)
        work->result.loss = NAN;
    if (fault_point("loss_spike") != 0)
        work->result.loss *= 10;
    work->vote.not_finite = !isfinite(work->result.loss);
    work->data_wait_s = loader_counters(trainer->loader).wait_s;
done:
    return st;
}

/* What all votes come to, into `work->vote`; the first rank that failed, -1 when none did. */
static int count_votes(const struct trainer *trainer, struct step_work *work)
{
    const struct vote *votes = trainer->votes;
    struct vote *sum = &work->vote;
    int failed_rank = -1;
    sum->draws = (struct hash128){0};
    work->bad_rank = -1;
    for (int r = 0; r < trainer->size; r++) {
        if (votes[r].status != LS_OK && failed_rank < 0)
            failed_rank = r;
        if (votes[r].not_finite != 0 && work->bad_rank < 0)
            work->bad_rank = r;
        sum->stop |= votes[r].stop;
        sum->not_finite |= votes[r].not_finite;
        sum->save_asked |= votes[r].save_asked;
        sum->save_late |= votes[r].save_late;
        if (votes[r].save_progress > sum->save_progress)
            sum->save_progress = votes[r].save_progress;
        sum->mask_tokens |= votes[r].mask_tokens;
        sum->draws = hash_add(sum->draws, votes[r].draws);
    }
    return failed_rank;
}

/* Exchange the votes: `work->vote` becomes that of all ranks.  The failure of any rank is
 * everybody's; a rank that failed itself keeps its own record. */
static ls_status decide(struct trainer *trainer, struct step_work *work, ls_status mine)
{
    struct vote *vote = &work->vote;
    flight_phase("decide", trainer->step + 1);
    vote->status = (int32_t)mine;
    vote->stop = worker_stop_asked() ? 1 : 0;
    vote->save_progress = (int32_t)saver_progress(trainer->saving.saver);
    vote->save_asked = trainer_save_asked(trainer) ? 1 : 0;
    vote->save_late =
        saver_age_s(trainer->saving.saver) > trainer->config->run.save_timeout_s ? 1 : 0;
    if (mine != LS_OK)
        (void)snprintf(vote->text, sizeof vote->text, "%s", status_message());
    double start_s = clock_now_s();
    ls_status st = comm_exchange(trainer->group, vote, sizeof *vote, trainer->votes);
    work->comm_wait_s += clock_now_s() - start_s;
    if (st != LS_OK)
        return mine != LS_OK ? status_adopt(mine, vote->text) : st;

    int failed_rank = count_votes(trainer, work);
    trainer->agreed = failed_rank >= 0;
    trainer->own = mine != LS_OK;
    if (failed_rank < 0 || mine != LS_OK)
        return mine;
    const struct vote *failed = (const struct vote *)trainer->votes + failed_rank;
    char text[VOTE_TEXT_BYTES + 32];
    (void)snprintf(text, sizeof text, "rank %d: %s", failed_rank, failed->text);
    return status_adopt((ls_status)failed->status, text);
}

/* The gradient of all ranks, and its norm. */
static ls_status reduce(struct trainer *trainer, struct step_work *work)
{
    ls_status st = LS_OK;
    struct comm_request *request = NULL;
    int64_t dim = jepa_parameters(trainer->jepa)->shape.dim;
    double start_s = clock_now_s();
    flight_phase("reduce", trainer->step + 1);
    if (trainer->buckets != NULL)
        LS_TRY(comm_buckets_wait(trainer->buckets));
    work->reduce_s = clock_now_s() - start_s;
    work->comm_wait_s += work->reduce_s;
    LS_TRY(jepa_gradient_norm(trainer->jepa, &work->grad_norm));
    if (work->want_gram) {
        LS_TRY(jepa_gram(trainer->jepa, trainer->gram));
        LS_TRY(comm_sum_start(trainer->group, &request, trainer->gram, dim * dim));
        LS_TRY(comm_wait(trainer->group, &request));
    }
done:
    return st;
}

/* Statistics, losses and times of all ranks, into trainer->sums. */
static ls_status sum_up(struct trainer *trainer, const struct step_work *work)
{
    ls_status st = LS_OK;
    double *tail = trainer->sums + jepa_statistics_count(trainer->jepa);
    LS_TRY(jepa_statistics(trainer->jepa, trainer->sums));
    tail[TAIL_LOSS] = work->result.loss;
    memcpy(&tail[TAIL_GROUP_LOSS], work->result.group_loss, sizeof work->result.group_loss);
    tail[TAIL_FLOPS] = work->result.flops;
    tail[TAIL_ROWS] = (double)work->result.rows;
    tail[TAIL_PADDING_ROWS] = (double)work->result.padding_rows;
    tail[TAIL_GRAD_SQUARES] =
        trainer->divided || trainer->rank == 0 ? work->grad_norm * work->grad_norm : 0;
    memset(&tail[TAIL_TIMES], 0, TIMES * (size_t)trainer->size * sizeof *tail);
    struct ranks_step own = {.parts_s = {work->data_wait_s, work->compute_s, work->reduce_s},
                             .wait_s = work->comm_wait_s};
    memcpy(&tail[TAIL_TIMES + TIMES * (int64_t)trainer->rank], &own, sizeof own);
    draws_put(&tail[TAIL_TIMES + TIMES * (int64_t)trainer->size], trainer->draws);
    LS_TRY(comm_sum_f64(trainer->group, trainer->sums, sums_count(trainer)));
done:
    return st;
}

static ls_status update(struct trainer *trainer, const struct schedule_values *values,
                        double grad_norm)
{
    ls_status st = LS_OK;
    struct jepa_update update = {.lr = values->lr,
                                 .weight_decay = values->weight_decay,
                                 .ema_keep = values->ema,
                                 .gradient_scale = 1};
    double limit = trainer->config->optimization.grad_clip;
    if (limit > 0 && grad_norm > limit)
        update.gradient_scale = limit / (grad_norm + 1e-6); /* as torch's clip_grad_norm_ */
    LS_TRY(jepa_update(trainer->jepa, &update));
    if (trainer->spread != NULL)
        LS_TRY(spread_start(trainer->spread));
done:
    return st;
}

ls_status trainer_settle(struct trainer *trainer)
{
    return trainer->spread != NULL ? spread_settle(trainer->spread) : LS_OK;
}

/* The rank that waits least for others is the last to come: what it waits is communication, what
 * the others wait beyond that is for it. */
static void fill_waits(struct step_metrics *out, const struct ranks_step *times, int size)
{
    double mean_s = 0;
    out->comm_wait_s = times[0].wait_s;
    for (int r = 0; r < size; r++) {
        mean_s += times[r].wait_s / size;
        out->data_wait_s = fmax(out->data_wait_s, times[r].parts_s[RANKS_DATA]);
        out->comm_wait_s = fmin(out->comm_wait_s, times[r].wait_s);
    }
    out->rank_wait_s = mean_s - out->comm_wait_s;
}

/* All but the step's time, from trainer->sums and the votes. */
static void fill_metrics(const struct trainer *trainer, const struct step_work *work,
                         struct step_metrics *out)
{
    const double *tail = trainer->sums + jepa_statistics_count(trainer->jepa);
    const struct config *config = trainer->config;
    struct schedule_values values = schedule_at(config, trainer->step + 1);
    *out = (struct step_metrics){
        .step = trainer->step + 1,
        .epoch = (trainer->step - config->first_step) / config->optimization.ipe + 1,
        .loss = tail[TAIL_LOSS],
        .group_count = config->mask_count,
        .lr = values.lr,
        .weight_decay = values.weight_decay,
        .ema = values.ema,
        .grad_norm = sqrt(tail[TAIL_GRAD_SQUARES]),
        .flops_per_s = tail[TAIL_FLOPS],
        .draw_hash = work->vote.draws,
        .has_rank = work->want_gram};
    memcpy(out->group_loss, &tail[TAIL_GROUP_LOSS], sizeof out->group_loss);
    if (tail[TAIL_ROWS] > 0)
        out->padding_share = tail[TAIL_PADDING_ROWS] / tail[TAIL_ROWS];
    fill_waits(out, (const struct ranks_step *)(const void *)&tail[TAIL_TIMES], trainer->size);
    jepa_statistics_reduce(trainer->jepa, trainer->sums, &out->target_std, &out->prediction_cosine);
    if (work->want_gram)
        out->target_rank = jepa_target_rank(trainer->jepa, trainer->sums, trainer->gram);
    out->skipped = work->vote.not_finite != 0 || !isfinite(out->loss) || !isfinite(out->grad_norm);
    double limit = config->optimization.loss_spike;
    double score =
        limit > 0 && !out->skipped ? spikes_score(&trainer->spikes, metrics_rounded(out->loss)) : 0;
    if (score > limit) {
        out->skipped = true;
        out->spike_score = score;
    }
}

ls_status trainer_step(struct trainer *trainer, struct step_outcome *out)
{
    ls_status st = LS_OK;
    struct step_work work;
    struct step_metrics *metrics = &out->metrics;
    int64_t number = trainer->step + 1;
    double start_s = clock_now_s();
    memset(&work, 0, sizeof work);
    work.want_gram = number == 1 || number % trainer->config->meta.eval_freq == 0;
    log_step(number);
    trainer->step_limit_s = step_times_limit(&trainer->times, trainer->config->run.step_timeout_s,
                                             trainer->config->run.start_timeout_s);
    trainer_phase(trainer, "step", number, trainer->step_limit_s);
    (void)fault_point("step");
    trace_begin("compute");
    ls_status computed = trace_ended(compute(trainer, &work));
    work.compute_s = clock_now_s() - start_s - work.data_wait_s;
    trace_begin("decide");
    LS_TRY(trace_ended(decide(trainer, &work, computed)));
    out->stop = work.vote.stop != 0;
    trainer->saving.asked = work.vote.save_asked != 0;
    trainer->saving.late = work.vote.save_late != 0;
    trace_begin("saves");
    LS_TRY(trace_ended(trainer_save_follow(trainer, (enum saver_progress)work.vote.save_progress)));
    trace_begin("reduce");
    LS_TRY(trace_ended(reduce(trainer, &work)));
    trace_begin("statistics over ranks");
    LS_TRY(trace_ended(sum_up(trainer, &work)));
    fill_metrics(trainer, &work, metrics);
    LS_TRY(trainer_judge_draws(trainer, &metrics->replaced_draws,
                               trainer->sums + jepa_statistics_count(trainer->jepa) + TAIL_TIMES +
                                   TIMES * (int64_t)trainer->size));
    out->times = (const struct ranks_step *)(const void *)&trainer
                     ->sums[jepa_statistics_count(trainer->jepa) + TAIL_TIMES];
    if (metrics->skipped) {
        if (work.bad_rank < 0 || !isfinite(work.result.loss))
            trainer_tell_clips(trainer);
        LS_TRY(trainer_count_bad_step(trainer, metrics, work.bad_rank));
    } else {
        trainer->bad_steps = 0;
        spikes_add(&trainer->spikes, metrics_rounded(metrics->loss));
        jepa_mask_tokens_set(trainer->jepa, work.vote.mask_tokens);
        struct schedule_values values = schedule_at(trainer->config, number);
        flight_phase("update", number);
        trace_begin("update");
        LS_TRY(trace_ended(update(trainer, &values, metrics->grad_norm)));
    }
    trainer->step = number;
    metrics->step_s = clock_now_s() - start_s;
    step_times_add(&trainer->times, metrics->step_s);
    metrics->flops_per_s /= metrics->step_s;
    metrics->clips_per_s =
        (double)trainer->config->data.batch_size * trainer->config->micro_batches / metrics->step_s;
done:
    return st;
}
