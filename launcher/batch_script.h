/* The SLURM job of a run as a script. */
#ifndef LOCKSTEP_LAUNCHER_BATCH_SCRIPT_H
#define LOCKSTEP_LAUNCHER_BATCH_SCRIPT_H

#include <stdbool.h>

#include "core/config.h"

struct batch_script {
    const struct config *config;
    const char *run;      /* absolute path of the run folder */
    const char *lockstep; /* of this program */
    int nodes, tasks_per_node;
    bool requeue; /* the job puts itself back into the queue */
};

/* Fill a template's text: `@name@` gives the value of that name, a line that has a value which is
 * not given is left out, and one whose value has several lines is repeated for each of them.
 * `template_path` is what failures name.  `*out` is owned by the caller.
 *
 * Local.  Errors: LS_USAGE for a name that is not known, or memory that is not a number and a
 * unit. */
ls_status batch_script_render(char **out, const char *template_text, const char *template_path,
                              const struct batch_script *script) LS_MUST_CHECK;

#endif
