/* `--profile STEPS`: what a profiler needs of these steps.
 *
 * Around them NVIDIA's profiler is switched on and off (`nsys profile -c cudaProfilerApi`), and
 * what this rank did is written to RUN/profile/steps-FIRST-LAST-RANK.json (core/trace.h).  Nothing
 * here ends a run: what cannot be had is a warning. */
#ifndef LOCKSTEP_WORKER_PROFILE_H
#define LOCKSTEP_WORKER_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/trace.h"
#include "model/device.h"

struct profile {
    struct trace_steps steps; /* as asked for; first 0: none */
    const char *run;
    const struct model_device *device;
    int rank;
    bool on;
    int64_t first, last; /* that were looked at */
};

/* `run` and `device` are borrowed.  Local. */
void profile_open(struct profile *out, struct trace_steps steps, const char *run, int rank,
                  const struct model_device *device);
/* Before and after every step.  Local; after the last one waits for the device. */
void profile_before(struct profile *profile, int64_t step);
void profile_after(struct profile *profile, int64_t step);
/* Writes what there is of steps that the run ended in.  Local. */
void profile_close(struct profile *profile);

#endif
