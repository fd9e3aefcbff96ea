/* Schedules by step: pure functions, checked against golden/schedules.h5. */
#ifndef LOCKSTEP_MODEL_SCHEDULE_H
#define LOCKSTEP_MODEL_SCHEDULE_H

#include <stdint.h>

#include "core/config.h"

struct schedule_values {
    double lr, weight_decay, ema;
};

/* Values that step `step` (counted from 1; the EMA's update i = step - 1 counts from 0) uses.
 * Local. Source: V-JEPA 2 public code, src/utils/schedulers.py (WarmupCosineSchedule,
 * LinearDecaySchedule, CosineWDSchedule), app/vjepa/utils.py. */
struct schedule_values schedule_at(const struct config *config, int64_t step);

double schedule_warmup_cosine(int64_t step, int64_t warmup_steps, double start, double reference,
                              double final, int64_t horizon);
double schedule_linear_decay(int64_t step, double reference, double final, int64_t horizon);
double schedule_warmup_stable_decay(int64_t step, int64_t warmup_steps, int64_t anneal_steps,
                                    int64_t horizon, double start, double reference, double final);
double schedule_cosine(int64_t step, double reference, double final, int64_t horizon);
double schedule_ema(int64_t update, double first, double last, double total_updates);

#endif
