/* DATASET/pack-report.csv: what became of every file. */
#ifndef LOCKSTEP_DATA_PACK_REPORT_H
#define LOCKSTEP_DATA_PACK_REPORT_H

#include "core/status.h"
#include "data/pack_plan.h"

/* Write the report of all shards in the folder and of the plan's repeated names, and count.  Local,
 * HDF5.  Errors: LS_IO, LS_DATA. */
ls_status pack_report_write(struct pack_summary *out, const char *folder,
                            const struct pack_plan *plan) LS_MUST_CHECK;

#endif
