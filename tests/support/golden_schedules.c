/* Every step of golden/schedules.h5.  Both sides are in double; the cosine may differ by an ulp
 * between mathematics libraries. */
#include "tests/support/golden_schedules.h"

#include <math.h>
#include <stdlib.h>

#include "model/schedule.h"

static const double bound = 1e-13;

static double warmup_cosine(int64_t step)
{
    return schedule_warmup_cosine(step, 40, 1e-4, 5.25e-4, 1e-6, 250);
}

static double warmup_constant(int64_t step)
{
    return schedule_warmup_cosine(step, 40, 1e-4, 5.25e-4, 5.25e-4, 250);
}

static double linear_decay(int64_t step)
{
    return schedule_linear_decay(step, 5.25e-4, 1e-6, 150);
}

static double wsd(int64_t step)
{
    return schedule_warmup_stable_decay(step, 20, 30, 150, 1e-4, 5.25e-4, 0.0);
}

static double cosine_wd(int64_t step)
{
    return schedule_cosine(step, 0.04, 0.4, 250);
}

static double ema_linear(int64_t step)
{
    return schedule_ema(step - 1, 0.996, 1.0, 10 * 7 * 1.25);
}

static double ema_constant(int64_t step)
{
    return schedule_ema(step - 1, 0.99925, 0.99925, 10 * 7 * 1.25);
}

static const struct {
    const char *name;
    double (*at)(int64_t step);
} schedules[] = {
    {"warmup_cosine", warmup_cosine}, {"warmup_constant", warmup_constant},
    {"linear_decay", linear_decay},   {"wsd", wsd},
    {"cosine_wd", cosine_wd},         {"ema_linear", ema_linear},
    {"ema_constant", ema_constant},
};

bool golden_is_schedules(const struct golden *golden)
{
    return golden_has(golden, "warmup_cosine") && golden_has(golden, "ema_linear");
}

ls_status golden_schedules(struct golden_report *report, const struct golden *golden)
{
    ls_status st = LS_OK;
    double *values = NULL;
    for (size_t i = 0; i < sizeof schedules / sizeof *schedules; i++) {
        struct golden_shape shape;
        double worst = 0.0;
        LS_TRY(golden_doubles(&values, &shape, golden, schedules[i].name));
        for (int64_t k = 0; k < shape.count; k++) {
            const double off = fabs(schedules[i].at(k + 1) - values[k]);
            /* A value of zero must be met exactly. */
            const double error = off == 0.0 ? 0.0 : off / fabs(values[k]);
            if (!(error <= worst))
                worst = error;
        }
        golden_report_check(report, schedules[i].name, worst, bound);
        free(values);
        values = NULL;
    }
done:
    free(values);
    return st;
}
