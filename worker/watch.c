/* Words for what the rules find: one line with figures and the settings that matter. */
#include "worker/watch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/files.h"
#include "core/log.h"
#include "model/schedule.h"
#include "worker/health.h"
#include "worker/pooled.h"

enum { TEXT_BYTES = 512, MEANS = 50 };

enum mean { MEAN_LOSS, MEAN_STD, MEAN_COSINE, MEAN_COUNT };

static const double SAME_RATE = 1e-6;
static const double LEAST_CORRELATION = 0.5; /* to be named */

struct watch {
    struct watch_options options;
    struct health *health;
    struct pooled *pooled;
    struct spikes *spikes;      /* of the trainer, while opening */
    struct pooled_clip *looked; /* [batch_size], of the micro-batch that is computed */
    int looked_count;
    float *means;   /* [batch_size, dim] */
    float *scratch; /* [JEPA_MEAN_ROWS, dim] */
    int64_t last_step;
    double last_lr;
    bool pooled_anew; /* since the last verdict */
    double last[MEANS][MEAN_COUNT];
    int last_count, last_next;
    double last_rank; /* 0: none yet */
};

/* What the means are made of. */
static void remember(struct watch *watch, const struct step_metrics *step)
{
    if (step->has_rank)
        watch->last_rank = step->target_rank;
    if (step->skipped)
        return;
    double *last = watch->last[watch->last_next];
    last[MEAN_LOSS] = step->loss;
    last[MEAN_STD] = step->target_std;
    last[MEAN_COSINE] = step->prediction_cosine;
    watch->last_next = (watch->last_next + 1) % MEANS;
    if (watch->last_count < MEANS)
        watch->last_count++;
}

ls_status watch_means(char **out, const struct watch *watch)
{
    double means[MEAN_COUNT] = {0};
    char rank[64] = "";
    *out = NULL;
    if (watch == NULL || watch->last_count == 0)
        return LS_OK;
    for (int i = 0; i < watch->last_count; i++)
        for (int m = 0; m < MEAN_COUNT; m++)
            means[m] += watch->last[i][m] / watch->last_count;
    if (watch->last_rank > 0)
        (void)snprintf(rank, sizeof rank, ",\"target_rank\":%.10g", watch->last_rank);
    return core_format(
        out, "{\"steps\":%d,\"loss\":%.10g,\"target_std\":%.10g,\"prediction_cosine\":%.10g%s}",
        watch->last_count, means[MEAN_LOSS], means[MEAN_STD], means[MEAN_COSINE], rank);
}

/* What a finished step leaves; what it gave reason to say was said when it was done. */
static void take_line(void *context, const struct step_metrics *step)
{
    struct watch *watch = context;
    struct health_word words[HEALTH_KINDS];
    if (step->step > watch->options.step)
        return;
    (void)health_take(watch->health, step, words);
    if (step->step > watch->options.config->first_step)
        remember(watch, step);
    watch->last_step = step->step;
    watch->last_lr = step->lr;
    if (!step->skipped && step->step > watch->options.config->first_step)
        spikes_add(watch->spikes, step->loss);
}

static void tell(const struct watch *watch, const struct event *event)
{
    log_warn("%s", event->text);
    events_add(watch->options.events, event);
}

/* The schedule of a run that goes on is the one it had, or the log says so. */
static void compare_schedule(const struct watch *watch)
{
    char text[TEXT_BYTES];
    const struct config *config = watch->options.config;
    if (watch->last_step <= config->first_step)
        return;
    double now = schedule_at(config, watch->last_step).lr;
    if (fabs(now - watch->last_lr) <= SAME_RATE * fmax(now, watch->last_lr))
        return;
    (void)snprintf(text, sizeof text,
                   "learning_rate off_schedule at_step=%" PRId64
                   " was=%.4g by_this_config=%.4g advice=\"the schedule jumps here: compare "
                   "optimization.lr, warmup, epochs, ipe and ipe_scale with the start before\"",
                   watch->last_step, watch->last_lr, now);
    tell(watch, &(struct event){.step = watch->last_step,
                                .kind = "learning_rate",
                                .warning = true,
                                .by = "config",
                                .text = text,
                                .values = {{"was", watch->last_lr}, {"now", now}},
                                .settings = {"optimization.lr", "optimization.warmup",
                                             "optimization.epochs", "optimization.ipe",
                                             "optimization.ipe_scale"}});
}

ls_status watch_open(struct watch **out, struct spikes *spikes, const struct watch_options *options)
{
    ls_status st = LS_OK;
    struct watch *watch = NULL;
    const struct config *config = options->config;
    const int64_t dim = jepa_parameters(options->jepa)->shape.dim;
    LS_TRY(core_alloc(&watch, 1));
    watch->options = *options;
    watch->spikes = spikes;
    LS_TRY(health_open(
        &watch->health,
        &(struct health_options){.limits = {.std_share = config->run.collapse_std_share,
                                            .rank_share = config->run.collapse_rank_share,
                                            .warmup_steps = config->optimization.warmup_steps},
                                 .first_step = config->first_step,
                                 .schedule_steps = config->optimization.schedule_steps}));
    LS_TRY(pooled_open(&watch->pooled, dim));
    LS_TRY(core_alloc(&watch->looked, config->data.batch_size));
    LS_TRY(core_alloc(&watch->means, config->data.batch_size * dim));
    LS_TRY(core_alloc(&watch->scratch, JEPA_MEAN_ROWS * dim));
    LS_TRY(metrics_replay(options->run, take_line, watch));
    compare_schedule(watch);
    *out = watch;
    watch = NULL;
done:
    watch_close(&watch);
    return st;
}

void watch_close(struct watch **watch)
{
    if (*watch == NULL)
        return;
    health_close(&(*watch)->health);
    pooled_close(&(*watch)->pooled);
    free((*watch)->looked);
    free((*watch)->means);
    free((*watch)->scratch);
    free(*watch);
    *watch = NULL;
}

void watch_clips(struct watch *watch, const struct loader_batch *batch)
{
    if (watch == NULL)
        return;
    const struct config_data *data = &watch->options.config->data;
    int64_t clip = (int64_t)batch->frames * data->crop_height * data->crop_width * 3;
    watch->looked_count = batch->clips;
    for (int i = 0; i < batch->clips; i++)
        watch->looked[i] = pooled_look_at(batch->pixels + i * clip, batch->frames,
                                          data->crop_height, data->crop_width);
}

ls_status watch_features(struct watch *watch)
{
    ls_status st = LS_OK;
    if (watch == NULL)
        return LS_OK;
    LS_TRY(jepa_goal_means(watch->options.jepa, watch->means, watch->scratch));
    pooled_add(watch->pooled, watch->means, watch->looked, watch->looked_count);
    watch->pooled_anew = true;
done:
    return st;
}

/* How the three settings that matter for a collapse stand. */
static void advise(char *out, size_t bytes, const struct config *config)
{
    const struct config_optimization *o = &config->optimization;
    (void)snprintf(out, bytes,
                   "advice=\"lower optimization.lr (%g), raise optimization.ema (%g to %g) or "
                   "lengthen optimization.warmup (%" PRId64 " steps)\"",
                   o->lr, o->ema[0], o->ema[1], o->warmup_steps);
}

static void tell_features(const struct watch *watch, int64_t step, const struct health_word *word)
{
    static const char *const names[HEALTH_KINDS] = {[HEALTH_TARGET_STD] = "target_std",
                                                    [HEALTH_TARGET_RANK] = "target_rank",
                                                    [HEALTH_COSINE] = "prediction_cosine",
                                                    [HEALTH_LOSS] = "loss"};
    char text[TEXT_BYTES];
    char advice[TEXT_BYTES / 2];
    bool loss = word->kind == HEALTH_LOSS;
    advise(advice, sizeof advice, watch->options.config);
    (void)snprintf(text, sizeof text, "%s by=%s now=%.4g early=%.4g limit=%.4g over=%d %s",
                   loss ? "divergence" : "collapse", names[word->kind], word->now, word->early,
                   word->limit, word->steps, advice);
    tell(watch, &(struct event){
                    .step = step,
                    .kind = loss ? "divergence" : "collapse",
                    .warning = true,
                    .by = names[word->kind],
                    .text = text,
                    .values = {{"now", word->now}, {"early", word->early}, {"limit", word->limit}},
                    .settings = {"optimization.lr", "optimization.ema", "optimization.warmup"}});
}

static void tell_pooled(const struct watch *watch, int64_t step,
                        const struct pooled_verdict *verdict)
{
    char text[TEXT_BYTES];
    char advice[TEXT_BYTES / 2];
    const double *r = verdict->correlations;
    advise(advice, sizeof advice, watch->options.config);
    (void)snprintf(text, sizeof text,
                   "collapse by=pooled_direction share=%.3f clips=%d correlates_with=%s r=%.2f %s",
                   verdict->share, verdict->clips,
                   fabs(r[verdict->nearest]) < LEAST_CORRELATION
                       ? "none_of_them"
                       : pooled_look_names[verdict->nearest],
                   r[verdict->nearest], advice);
    tell(watch, &(struct event){
                    .step = step,
                    .kind = "collapse",
                    .warning = true,
                    .by = "pooled_direction",
                    .text = text,
                    .values = {{"now", verdict->share},
                               {"clips", verdict->clips},
                               {pooled_look_names[POOLED_BRIGHTNESS], r[POOLED_BRIGHTNESS]},
                               {pooled_look_names[POOLED_CONTRAST], r[POOLED_CONTRAST]},
                               {pooled_look_names[POOLED_MOTION], r[POOLED_MOTION]}},
                    .settings = {"optimization.lr", "optimization.ema", "optimization.warmup"}});
}

static void tell_data(const struct watch *watch, int64_t step, const struct health_word *word)
{
    char text[TEXT_BYTES];
    bool stall = word->kind == HEALTH_DATA_STALL;
    const struct config *config = watch->options.config;
    if (stall)
        (void)snprintf(text, sizeof text,
                       "loader_stalled waited_s=%.1f median_step_s=%.3g advice=\"look at the file "
                       "system of data.datasets; raise lockstep.prefetch (%d)\"",
                       word->now, word->early, config->run.prefetch);
    else
        (void)snprintf(text, sizeof text,
                       "data_too_slow wait_share=%.2f over_steps=%d advice=\"raise "
                       "data.num_workers (%d), then lockstep.prefetch (%d)\"",
                       word->now, word->steps, config->data.num_workers, config->run.prefetch);
    tell(watch, &(struct event){.step = step,
                                .kind = stall ? "loader_stalled" : "data_too_slow",
                                .warning = true,
                                .by = "data_wait_s",
                                .text = text,
                                .values = {{"now", word->now}, {"limit", word->limit}},
                                .settings = {"data.num_workers", "lockstep.prefetch"}});
}

static void tell_schedule(const struct watch *watch, int64_t step, const struct health_word *word)
{
    char text[TEXT_BYTES];
    (void)snprintf(
        text, sizeof text,
        "learning_rate off_schedule lr=%.4g advice=\"the schedules ended at step %.0f and "
        "stay at their last values: optimization.ipe_scale, epochs\"",
        word->now, word->limit);
    tell(watch, &(struct event){.step = step,
                                .kind = "learning_rate",
                                .warning = true,
                                .by = "schedule_end",
                                .text = text,
                                .values = {{"now", word->now}, {"limit", word->limit}},
                                .settings = {"optimization.ipe_scale", "optimization.epochs"}});
}

static void tell_word(const struct watch *watch, int64_t step, const struct health_word *word)
{
    switch (word->kind) {
    case HEALTH_DATA_SLOW:
    case HEALTH_DATA_STALL:
        tell_data(watch, step, word);
        return;
    case HEALTH_SCHEDULE:
        tell_schedule(watch, step, word);
        return;
    case HEALTH_TARGET_STD:
    case HEALTH_TARGET_RANK:
    case HEALTH_COSINE:
    case HEALTH_LOSS:
        tell_features(watch, step, word);
        return;
    case HEALTH_POOLED:
    case HEALTH_KINDS:
        return;
    }
}

void watch_step(struct watch *watch, const struct step_metrics *step)
{
    struct health_word words[HEALTH_KINDS];
    int count = health_take(watch->health, step, words);
    remember(watch, step);
    for (int i = 0; i < count; i++)
        tell_word(watch, step->step, &words[i]);
    if (!watch->pooled_anew)
        return;
    watch->pooled_anew = false;
    struct pooled_verdict verdict = pooled_judge(watch->pooled);
    if (verdict.clips > 0 && health_take_pooled(watch->health, verdict.share, verdict.clips, words))
        tell_pooled(watch, step->step, &verdict);
}
