/* manifest.json: what a checkpoint is, written last.  Internal to checkpoint/.
 *
 * The first line holds a checksum of all bytes after it, so that no flipped bit of the manifest
 * goes unseen. */
#ifndef LOCKSTEP_CHECKPOINT_MANIFEST_H
#define LOCKSTEP_CHECKPOINT_MANIFEST_H

#include "checkpoint/checkpoint.h"

/* An opened checkpoint is its manifest. */
struct checkpoint {
    struct checkpoint_info info; /* points into what follows */
    char *path;
    char *config_yaml;
    char *facts_json;
    char *metrics_json;
    char *draws_json;
    char *texts; /* names of arrays and parameters, each closed by 0 */
    struct checkpoint_parameter *parameters;
    int64_t *skipped;
    struct checkpoint_shard_facts *shards;
};

/* Write FOLDER/manifest.json durably.  `digest` is the whole state's.  Local.  Errors: LS_USAGE for
 * facts that are no JSON object, LS_IO, LS_NOMEM. */
ls_status manifest_write(const char *folder, const struct checkpoint_state *state,
                         const struct checkpoint_shard_facts *shards, int of, int64_t run_epoch,
                         struct hash128 digest) LS_MUST_CHECK;

/* Read and check FOLDER/manifest.json; looks at no shard.  Free with checkpoint_close.  Local.
 * Errors: LS_CHECKPOINT naming what is missing or damaged. */
ls_status manifest_read(struct checkpoint **out, const char *folder) LS_MUST_CHECK;

/* The run epoch that the checkpoint FOLDER was written by; 0 when its manifest cannot tell.  Local.
 */
int64_t manifest_epoch(const char *folder);

#endif
