/* The stages of a run: one config each.
 *
 * A config file may have a list `stages:`.  Each entry is a config of its own: the file's keys,
 * with the entry's in their place.  A stage goes on from the state that the one before it ended
 * with, as a cool-down goes on from `anneal_ckpt`: weights, moments and step counts stay, schedules
 * and draws begin anew.  A file without `stages` is one stage.
 *
 * Steps of a run are counted through all stages; config.first_step is what lies before a stage. */
#ifndef LOCKSTEP_CORE_CONFIG_STAGES_H
#define LOCKSTEP_CORE_CONFIG_STAGES_H

#include "core/config.h"

enum { CONFIG_STAGES_MAX = 8 };

struct config_stages {
    struct config *list[CONFIG_STAGES_MAX];
    int count;
};

/* All stages of a file, `overrides` as for config_open (`stages[1].data.crop_size=96` reaches a
 * stage's own key).  Close with config_stages_close.  Local.  Errors: as config_open. */
ls_status config_stages_open(struct config_stages *out, const char *path,
                             const char *const *overrides, int override_count) LS_MUST_CHECK;
void config_stages_close(struct config_stages *stages);

/* Once all know their steps (config_set_ipe): set first_step of each, and check that all have one
 * model.  Local.  Errors: LS_USAGE naming stage and key. */
ls_status config_stages_resolve(struct config_stages *stages) LS_MUST_CHECK;

/* The stage that the step after `finished_steps` belongs to; the last one at the end.  Local. */
int config_stages_at(const struct config_stages *stages, int64_t finished_steps);

/* Steps of all stages together.  Local. */
int64_t config_stages_steps(const struct config_stages *stages);

/* The resolved stages as one YAML file that config_stages_open reads back to the same; owned by the
 * caller.  Local.  Errors: LS_NOMEM. */
ls_status config_stages_dump(char **out, const struct config_stages *stages) LS_MUST_CHECK;

#endif
