/* Checking a dataset: every byte of the index and of every shard against its checksums. */
#ifndef LOCKSTEP_DATA_VERIFY_H
#define LOCKSTEP_DATA_VERIFY_H

#include <stdint.h>

#include "core/status.h"

struct verify_result {
    int64_t damages, shards, videos;
    uint64_t bytes; /* read */
};

/* Called once for each damage with one line that names the file and what is damaged in it. */
typedef void (*verify_callback)(void *context, const char *line);

/* Check a dataset folder: the index; every shard that it lists, and every other one in the folder.
 * Where a shard is damaged and the index is good, the damage is traced to videos and packets.
 * Damage is a result, not a failure.
 *
 * Local, HDF5.  Errors: LS_IO when there is no such folder, LS_NOMEM. */
ls_status verify_dataset(struct verify_result *out, const char *path, verify_callback callback,
                         void *context) LS_MUST_CHECK;

/* Check one shard file by itself.  Local, HDF5.  Errors: as above. */
ls_status verify_shard(struct verify_result *out, const char *path, verify_callback callback,
                       void *context) LS_MUST_CHECK;

#endif
