/* Short questions to other programs: SLURM's commands. */
#ifndef LOCKSTEP_LAUNCHER_ASK_H
#define LOCKSTEP_LAUNCHER_ASK_H

#include "core/status.h"

/* Run `words` (closed by NULL; found on PATH) with empty stdin and return what it printed, without
 * closing white space; owned by the caller.  It is ended after 30 s, or 1 MiB.
 *
 * Local.  Blocks.  Errors: LS_USAGE when the program is not there; LS_FAILED with the first line it
 * wrote to stderr when it ends with another code than 0; LS_TIMEOUT. */
ls_status ask(char **out, const char *const *words) LS_MUST_CHECK;

#endif
