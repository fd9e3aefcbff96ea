/* How a run's features stand, from its metrics: the rule of core/collapse.h. */
#ifndef LOCKSTEP_LAUNCHER_RUN_HEALTH_H
#define LOCKSTEP_LAUNCHER_RUN_HEALTH_H

#include "core/collapse.h"
#include "core/config_stages.h"
#include "core/status.h"
#include "launcher/history.h"

struct run_health {
    struct collapse_signs signs;
    enum collapse_state state;
    const char *reason; /* the sign that decided; NULL: none */
};

/* Of the newest stage of the run that can be judged yet, by its own limits; where no config is
 * known (no stages), of the whole run by the usual ones.  Local, pure. */
void run_health_judge(struct run_health *out, const struct history *history,
                      const struct config_stages *stages);

/* One line about it on stdout where the features have collapsed or may be about to; of a folder
 * that is no run, or a healthy one, nothing.  Local. */
void run_health_tell(const char *run);

#endif
