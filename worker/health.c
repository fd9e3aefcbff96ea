/* Rings of the last values and the early means; a rule that spoke stays quiet until its figure was
 * back on the good side by a tenth. */
#include "worker/health.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/median.h"

enum {
    EARLY = COLLAPSE_EARLY,
    RECENT = COLLAPSE_RECENT,
    DATA_WINDOW = 50,
    DATA_QUIET_WINDOWS = 20
};

static const double COSINE_LIMIT = 0.995;
static const double POOLED_LIMIT = 0.9;
static const double LOSS_OVER_EARLY = 1.2;
static const double LOSS_OVER_LOWEST = 1.5;
static const double DATA_SHARE = 0.1;
static const double STALL_STEPS = 10;
static const double STALL_S = 5;
static const double MARGIN = 0.1;

struct ring {
    double values[RECENT];
    int count, next, size;
};

struct health {
    struct health_options options;
    int early_count;
    double early_loss; /* sum, then mean */
    double lowest_loss;
    struct collapse_track features;
    struct ring cosine, loss, step_s;
    int data_steps, data_quiet;
    double wait_s, data_step_s;
    bool told[HEALTH_KINDS];
};

ls_status health_open(struct health **out, const struct health_options *options)
{
    ls_status st = core_alloc(out, 1);
    if (st != LS_OK)
        return st;
    struct health *health = *out;
    health->options = *options;
    health->cosine.size = health->loss.size = health->step_s.size = RECENT;
    health->lowest_loss = INFINITY;
    collapse_begin(&health->features);
    health->told[HEALTH_COSINE] = true; /* until predictions have differed */
    return LS_OK;
}

void health_close(struct health **health)
{
    free(*health);
    *health = NULL;
}

static void ring_add(struct ring *ring, double value)
{
    ring->values[ring->next] = value;
    ring->next = (ring->next + 1) % ring->size;
    ring->count += ring->count < ring->size;
}

static bool ring_full(const struct ring *ring)
{
    return ring->count == ring->size;
}

static double ring_mean(const struct ring *ring)
{
    double sum = 0;
    for (int i = 0; i < ring->count; i++)
        sum += ring->values[i];
    return ring->count > 0 ? sum / ring->count : 0;
}

static double ring_median(const struct ring *ring)
{
    double sorted[RECENT] = {0};
    if (ring->count == 0)
        return 0;
    memcpy(sorted, ring->values, (size_t)ring->count * sizeof *sorted);
    return median_of(sorted, ring->count);
}

/* Whether `word` is news: the figure passed its limit, upwards or downwards, and did not before. */
static bool is_news(struct health *health, const struct health_word *word, bool upwards)
{
    bool *told = &health->told[word->kind];
    double beyond = upwards ? word->now - word->limit : word->limit - word->now;
    if (beyond < -MARGIN * fabs(word->limit))
        *told = false;
    if (beyond <= 0 || *told)
        return false;
    *told = true;
    return true;
}

static int watch_data(struct health *health, const struct step_metrics *step,
                      struct health_word *word)
{
    health->data_steps++;
    health->wait_s += step->data_wait_s;
    health->data_step_s += step->step_s;
    if (health->data_steps < DATA_WINDOW)
        return 0;
    double share = health->data_step_s > 0 ? health->wait_s / health->data_step_s : 0;
    health->data_steps = 0;
    health->wait_s = health->data_step_s = 0;
    if (share <= DATA_SHARE) {
        health->data_quiet = 0;
        return 0;
    }
    if (health->data_quiet > 0) {
        health->data_quiet--;
        return 0;
    }
    health->data_quiet = DATA_QUIET_WINDOWS;
    *word = (struct health_word){
        .kind = HEALTH_DATA_SLOW, .now = share, .limit = DATA_SHARE, .steps = DATA_WINDOW};
    return 1;
}

/* A stall is told when its step is over; one that does not end meets the step's deadline. */
static int watch_stall(struct health *health, const struct step_metrics *step,
                       struct health_word *word)
{
    *word = (struct health_word){
        .kind = HEALTH_DATA_STALL, .now = step->data_wait_s, .steps = 1, .early = INFINITY};
    bool known = ring_full(&health->step_s);
    if (known)
        word->early = ring_median(&health->step_s);
    word->limit = fmax(STALL_S, STALL_STEPS * word->early);
    ring_add(&health->step_s, step->step_s);
    return known && is_news(health, word, true);
}

/* The steps that the early values are made of; whether they are all there. */
static bool early_is_over(struct health *health, const struct step_metrics *step)
{
    if (health->early_count < EARLY) {
        health->early_loss += step->loss / EARLY;
        health->early_count++;
    }
    return health->early_count == EARLY;
}

static int watch_features(struct health *health, struct health_word *words)
{
    int count = 0;
    const struct collapse_limits *limits = &health->options.limits;
    const struct collapse_signs signs = collapse_signs(&health->features, limits);
    struct health_word word = {.kind = HEALTH_TARGET_STD,
                               .now = signs.std,
                               .early = signs.early_std,
                               .limit = limits->std_share * signs.early_std,
                               .steps = COLLAPSE_RECENT};
    if (!isnan(signs.std) && is_news(health, &word, false))
        words[count++] = word;
    word = (struct health_word){.kind = HEALTH_TARGET_RANK,
                                .now = signs.rank,
                                .early = signs.early_rank,
                                .limit = limits->rank_share * signs.early_rank,
                                .steps = COLLAPSE_RANKS};
    if (!isnan(signs.rank) && is_news(health, &word, false))
        words[count++] = word;
    word = (struct health_word){.kind = HEALTH_COSINE,
                                .now = ring_median(&health->cosine),
                                .limit = COSINE_LIMIT,
                                .steps = RECENT};
    if (is_news(health, &word, true))
        words[count++] = word;
    return count;
}

static int watch_loss(struct health *health, struct health_word *word)
{
    double mean = ring_mean(&health->loss);
    health->lowest_loss = fmin(health->lowest_loss, mean);
    *word = (struct health_word){
        .kind = HEALTH_LOSS,
        .now = mean,
        .early = health->early_loss,
        .limit = fmin(LOSS_OVER_EARLY * health->early_loss, LOSS_OVER_LOWEST * health->lowest_loss),
        .steps = RECENT};
    return is_news(health, word, true);
}

static int watch_schedule(struct health *health, int64_t done, double lr, struct health_word *word)
{
    int64_t horizon = health->options.schedule_steps;
    *word = (struct health_word){.kind = HEALTH_SCHEDULE,
                                 .now = lr,
                                 .early = lr,
                                 .limit = (double)(health->options.first_step + horizon),
                                 .steps = 1};
    if (done <= horizon || health->told[HEALTH_SCHEDULE])
        return 0;
    health->told[HEALTH_SCHEDULE] = true;
    return 1;
}

int health_take(struct health *health, const struct step_metrics *step, struct health_word *words)
{
    const struct health_options *options = &health->options;
    int64_t done = step->step - options->first_step;
    int count = 0;
    if (done < 1)
        return 0;
    /* A wait that is told as a stall is none of a loader that is slow. */
    if (watch_stall(health, step, &words[count]) > 0)
        count++;
    else
        count += watch_data(health, step, &words[count]);
    count += watch_schedule(health, done, step->lr, &words[count]);
    if (step->skipped)
        return count;
    collapse_take(&health->features, done, step->target_std,
                  step->has_rank ? step->target_rank : NAN);
    ring_add(&health->cosine, step->prediction_cosine);
    ring_add(&health->loss, step->loss);
    if (!early_is_over(health, step) || done <= EARLY + RECENT ||
        done <= options->limits.warmup_steps)
        return count;
    count += watch_features(health, &words[count]);
    count += watch_loss(health, &words[count]);
    return count;
}

int health_take_pooled(struct health *health, double share, int clips, struct health_word *word)
{
    *word = (struct health_word){
        .kind = HEALTH_POOLED, .now = share, .limit = POOLED_LIMIT, .steps = clips};
    return is_news(health, word, true);
}
