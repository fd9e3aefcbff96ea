/* Schedules of learning rate, weight decay and EMA momentum, in double, without state.
 *
 * Beyond its horizon a schedule stays at its final value: the public code would let the cosine rise
 * again and the linear decay go below its end. */
#include "model/schedule.h"

#include <math.h>

static double share(int64_t step, int64_t of)
{
    if (step >= of)
        return 1.0;
    return step <= 0 ? 0.0 : (double)step / (double)of;
}

static double linear(double from, double to, double progress)
{
    /* The end exactly: from + (to - from) may be an ulp off. */
    return progress < 1.0 ? from + progress * (to - from) : to;
}

static double cosine(double from, double to, double progress)
{
    const double pi = 3.14159265358979323846;
    return to + (from - to) * 0.5 * (1.0 + cos(pi * progress));
}

double schedule_warmup_cosine(int64_t step, int64_t warmup_steps, double start, double reference,
                              double final, int64_t horizon)
{
    if (step < warmup_steps)
        return linear(start, reference, share(step, warmup_steps));
    return cosine(reference, final, share(step - warmup_steps, horizon - warmup_steps));
}

double schedule_linear_decay(int64_t step, double reference, double final, int64_t horizon)
{
    return linear(reference, final, share(step, horizon));
}

double schedule_warmup_stable_decay(int64_t step, int64_t warmup_steps, int64_t anneal_steps,
                                    int64_t horizon, double start, double reference, double final)
{
    if (step < warmup_steps)
        return linear(start, reference, share(step, warmup_steps));
    return linear(reference, final, share(step - (horizon - anneal_steps), anneal_steps));
}

double schedule_cosine(int64_t step, double reference, double final, int64_t horizon)
{
    return cosine(reference, final, share(step, horizon));
}

double schedule_ema(int64_t update, double first, double last, double total_updates)
{
    const double progress = (double)update < total_updates ? (double)update / total_updates : 1.0;
    return linear(first, last, progress);
}

struct schedule_values schedule_at(const struct config *config, int64_t step)
{
    const struct config_optimization *o = &config->optimization;
    step -= config->first_step; /* a stage's schedules begin with it */
    const int64_t horizon = o->schedule_steps;
    struct schedule_values out;
    if (o->is_anneal)
        out.lr = schedule_linear_decay(step, o->lr, o->final_lr, horizon);
    else
        out.lr =
            schedule_warmup_cosine(step, o->warmup_steps, o->start_lr, o->lr, o->final_lr, horizon);
    out.weight_decay = schedule_cosine(step, o->weight_decay, o->final_weight_decay, horizon);
    /* The public code divides by ipe * epochs * ipe_scale without rounding it to whole steps. */
    out.ema = schedule_ema(step - 1, o->ema[0], o->ema[1], o->ipe_scale * (double)o->total_steps);
    return out;
}
