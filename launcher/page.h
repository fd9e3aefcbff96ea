/* The readable pages of `inspect`. */
#ifndef LOCKSTEP_LAUNCHER_PAGE_H
#define LOCKSTEP_LAUNCHER_PAGE_H

#include "core/status.h"

/* One row on stdout: a label, then a value.  Local. */
void page_row(const char *label, const char *format, ...) LS_PRINTF(2, 3);

#endif
