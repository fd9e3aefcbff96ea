/* The encoder that a command is given: a run or a checkpoint. */
#ifndef LOCKSTEP_LAUNCHER_PROBE_SOURCE_H
#define LOCKSTEP_LAUNCHER_PROBE_SOURCE_H

#include "core/status.h"

/* `*path`, a run folder or a checkpoint's, becomes the checkpoint's own folder: of a run the newest
 * good one.  `key` of `source` is where the path was given.  Local.  Errors: LS_IO, LS_USAGE,
 * LS_CHECKPOINT. */
ls_status probe_source_settle(char **path, const char *key, const char *source) LS_MUST_CHECK;

#endif
