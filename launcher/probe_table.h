/* The text table of a probe's results: pretrained beside random init. */
#ifndef LOCKSTEP_LAUNCHER_PROBE_TABLE_H
#define LOCKSTEP_LAUNCHER_PROBE_TABLE_H

#include "core/status.h"

/* Print what FOLDER/TAG-pretrained.json and FOLDER/TAG-random.json hold, side by side; one of them
 * may be missing.  Local.  Errors: LS_IO when both are, LS_DATA. */
ls_status probe_table_print(const char *folder, const char *tag) LS_MUST_CHECK;

#endif
