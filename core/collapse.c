/* Measured (../shared/demo.md and runs of configs/demo.yaml): runs that learn keep 73 % and more of
 * their first target_std and 65 % of their first target_rank at the lowest; runs that collapse go
 * to 43 to 54 % of the first (EMA 0; EMA .97 to .99 at twice the learning rate) or to 16 to 38 % of
 * the second (wide initial weights missing, clips that differ in look only).  Real clips can lose
 * up to half of their directions and be none the worse. */
#include "core/collapse.h"

#include <math.h>
#include <stddef.h>

static const double FULL_STD = 0.55;
static const double NEAR_STD = 0.7;
static const double FULL_RANK = 0.3;
static const double NEAR_RANK = 0.5;

static double share(double now, double early)
{
    return early > 0 && isfinite(now) ? now / early : NAN;
}

enum collapse_state collapse_judge(const char **reason, const struct collapse_signs *signs)
{
    double std = share(signs->std, signs->early_std);
    double rank = share(signs->rank, signs->early_rank);
    *reason = NULL;
    if (isnan(std) && isnan(rank))
        return COLLAPSE_UNKNOWN;
    if (std < NEAR_STD)
        *reason = "target_std";
    else if (rank < NEAR_RANK)
        *reason = "target_rank";
    if (rank < FULL_RANK && !(std < FULL_STD))
        *reason = "target_rank";
    if (std < FULL_STD || rank < FULL_RANK)
        return COLLAPSE_FULL;
    return *reason != NULL ? COLLAPSE_NEAR : COLLAPSE_NONE;
}
