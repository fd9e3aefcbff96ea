/* Checking every byte of a checkpoint.  Internal to checkpoint/. */
#ifndef LOCKSTEP_CHECKPOINT_VERIFY_H
#define LOCKSTEP_CHECKPOINT_VERIFY_H

#include "checkpoint/manifest.h"

typedef void (*verify_report)(void *context, const char *line);

/* Read every shard and compare with the manifest.  Calls `report` once for each damage.  Local.
 * Errors: LS_CHECKPOINT with the first damage. */
ls_status verify_shards(const struct checkpoint *c, verify_report report,
                        void *context) LS_MUST_CHECK;

#endif
