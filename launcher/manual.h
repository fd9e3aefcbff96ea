/* The manual page and the completion of bash.  docs/lockstep.1 is the page's last state; a test
 * compares. */
#ifndef LOCKSTEP_LAUNCHER_MANUAL_H
#define LOCKSTEP_LAUNCHER_MANUAL_H

#include <stdio.h>

/* All commands and options as a page for man(1).  Local. */
void manual_page(FILE *out);

/* A script for bash that completes commands, options, choices and the keys of --set.  Local. */
void manual_completion(FILE *out);

#endif
