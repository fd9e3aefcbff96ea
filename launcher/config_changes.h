/* What a config changes against the one that a run was made with. */
#ifndef LOCKSTEP_LAUNCHER_CONFIG_CHANGES_H
#define LOCKSTEP_LAUNCHER_CONFIG_CHANGES_H

#include "core/status.h"

/* Compare two resolved configs (texts of config_dump).  `*out`: "key old -> new, ..." for all keys
 * that differ, "" when none does; owned by the caller.  `run` names the run folder in the message.
 *
 * Local.  Errors: LS_USAGE when a key differs that the stored weights depend on. */
ls_status config_changes(char **out, const char *before, const char *after,
                         const char *run) LS_MUST_CHECK;

#endif
