/* The tables behind core/config_probe.h.  Private to core/config_probe*.c. */
#ifndef LOCKSTEP_CORE_CONFIG_PROBE_TABLE_H
#define LOCKSTEP_CORE_CONFIG_PROBE_TABLE_H

#include "core/config_probe.h"
#include "core/config_table.h"

#define CONFIG_PROBE_HEADS "experiment.optimization.multihead_kwargs"

/* Offsets are within struct config_probe; those of the head's within struct config_probe_head.  The
 * `lockstep.` keys of core/config_table.h are keys of a probe too. */
extern const struct config_key config_probe_keys[];
extern const int config_probe_key_count;
extern const struct config_key config_probe_head_keys[];
extern const int config_probe_head_key_count;

/* Number of the key of that path, -1 if there is none.  Local. */
int config_probe_key_find(const char *path);

#endif
