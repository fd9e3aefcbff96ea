/* Rings of the last values, and shares of the first ones.
 *
 * Where the usual limits (.6 and .45) come from, in shares of the first values: runs that learn
 * kept 73 % of target_std and 65 % of target_rank at the lowest, on real clips 68 and 51 %, and at
 * step 100 of configs/demo.yaml at least 98 %; runs that collapse went to 43 to 54 % of the first
 * (EMA 0 after 5 steps of warm-up; EMA .97 to .99 at twice the learning rate; 31 % at 30 times it)
 * or to 16 to 44 % of the second (wide initial weights missing, clips that differ in look only).
 * What they do not tell: EMA 0 after the demo's 100 steps of warm-up, which went to 73 % of the
 * spread at step 100 and 54 % of the directions at step 240 and back to 85 and 72 % by step 480;
 * the pooled direction (worker/pooled.h) does, at step 60. */
#include "core/collapse.h"

#include <math.h>
#include <stddef.h>

/* How far above a limit the features have lost much, but have not collapsed. */
static const double NEAR = 1.1;

void collapse_begin(struct collapse_track *track)
{
    *track = (struct collapse_track){.early_std = NAN, .early_rank = NAN};
}

static void ring_add(double *values, int *count, int *next, int size, double value)
{
    values[*next] = value;
    *next = (*next + 1) % size;
    *count += *count < size ? 1 : 0;
}

void collapse_take(struct collapse_track *track, int64_t step, double target_std,
                   double target_rank)
{
    track->steps = step;
    if (isfinite(target_std) && track->early_count < COLLAPSE_EARLY) {
        track->early_std = fmax(track->early_std, target_std); /* of NaN and a number: the number */
        track->early_count++;
    }
    if (isfinite(target_std))
        ring_add(track->std, &track->std_count, &track->std_next, COLLAPSE_RECENT, target_std);
    if (!isfinite(target_rank))
        return;
    if (isnan(track->early_rank))
        track->early_rank = target_rank;
    ring_add(track->rank, &track->rank_count, &track->rank_next, COLLAPSE_RANKS, target_rank);
}

static double mean(const double *values, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += values[i];
    return sum / count;
}

struct collapse_signs collapse_signs(const struct collapse_track *track,
                                     const struct collapse_limits *limits)
{
    struct collapse_signs signs = {NAN, NAN, NAN, NAN};
    if (track->steps <= limits->warmup_steps || track->steps <= COLLAPSE_EARLY + COLLAPSE_RECENT)
        return signs;
    if (track->early_count == COLLAPSE_EARLY && track->std_count == COLLAPSE_RECENT) {
        signs.early_std = track->early_std;
        signs.std = mean(track->std, COLLAPSE_RECENT);
    }
    if (track->rank_count == COLLAPSE_RANKS) {
        signs.early_rank = track->early_rank;
        signs.rank = mean(track->rank, COLLAPSE_RANKS);
    }
    return signs;
}

/* NaN compares as neither. */
static double share(double now, double early)
{
    return early > 0 ? now / early : NAN;
}

enum collapse_state collapse_judge(const char **reason, const struct collapse_signs *signs,
                                   const struct collapse_limits *limits)
{
    const double std = share(signs->std, signs->early_std);
    const double rank = share(signs->rank, signs->early_rank);
    *reason = NULL;
    if (isnan(std) && isnan(rank))
        return COLLAPSE_UNKNOWN;
    for (int full = 1; full >= 0; full--) {
        const double near = full ? 1.0 : NEAR;
        if (std < near * limits->std_share)
            *reason = "target_std";
        else if (rank < near * limits->rank_share)
            *reason = "target_rank";
        if (*reason != NULL)
            return full ? COLLAPSE_FULL : COLLAPSE_NEAR;
    }
    return COLLAPSE_NONE;
}
