/* Where a run stands between its stages, by its checkpoints. */
#ifndef LOCKSTEP_LAUNCHER_STAGES_H
#define LOCKSTEP_LAUNCHER_STAGES_H

#include <stdint.h>

#include "launcher/run_folder.h"

/* Finished steps of the newest checkpoint, as far as it can be read (0: none): which stage the next
 * workers will find themselves in.  Should they take an older one, they run its stage just as well.
 * Local. */
int64_t stages_finished_steps(const struct run_folder *folder);

/* Mark the newest checkpoint, which a stage ended with, to stay: other cool-downs may begin there.
 * A failure is a warning.  Local. */
void stages_keep_border(const struct run_folder *folder);

#endif
