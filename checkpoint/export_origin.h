/* lockstep.json of an exported folder: where its weights come from.  Internal to checkpoint/. */
#ifndef LOCKSTEP_CHECKPOINT_EXPORT_ORIGIN_H
#define LOCKSTEP_CHECKPOINT_EXPORT_ORIGIN_H

#include <stdbool.h>

#include "checkpoint/checkpoint.h"

struct export_origin {
    bool online;
    const int *mask_sources; /* [mask_tokens]: the token of the checkpoint that each one holds */
    int mask_tokens;
    uint64_t model_bytes;
    struct hash128 model_checksum;
};

/* Write FOLDER/lockstep.json.  Of an imported state that was not trained since, the origin of the
 * folder that it came from is told.  Local.  Errors: LS_IO, LS_NOMEM. */
ls_status export_origin_write(const char *folder, const struct checkpoint_info *info,
                              const struct export_origin *origin) LS_MUST_CHECK;

/* FOLDER/lockstep.json, once model.safetensors was checked against it where `check` says so; NULL
 * text when there is none.  Owned by the caller.  Local.  Errors: LS_DATA, LS_IO, LS_NOMEM. */
ls_status export_origin_read(char **out, const char *folder, bool check) LS_MUST_CHECK;

/* What a checkpoint made from `folder` says of itself: its facts, as JSON owned by the caller.
 * Checks model.safetensors against the checksum, when there is a lockstep.json.  Local.  Errors:
 * LS_DATA, LS_IO, LS_NOMEM. */
ls_status export_origin_facts(char **out, const char *folder) LS_MUST_CHECK;

#endif
