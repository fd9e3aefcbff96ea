/* Weights to and from other programs: folders as transformers' VJEPA2Model.from_pretrained reads
 * them (docs/formats.md, "Exported folder").
 *
 * Such a folder holds model.safetensors (encoder and predictor), config.json,
 * video_preprocessor_config.json, and lockstep.json, which says where the weights come from.
 * Everything is strict: what does not fit is no warning but a failure that names all of it. */
#ifndef LOCKSTEP_CHECKPOINT_EXPORT_H
#define LOCKSTEP_CHECKPOINT_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "checkpoint/checkpoint.h"
#include "core/config.h"

struct export_options {
    const char *folder; /* to be made; nothing or an empty folder may be there */
    bool online;        /* the encoder that is trained, instead of its moving average */
    bool bfloat16;      /* store bfloat16, rounded to nearest; else float32 */
    /* After how many bytes what is written is made durable and noted, so that an export that was
     * stopped goes on from there; 0: 256 MiB. */
    uint64_t note_bytes;
};

struct export_result {
    int tensors;
    uint64_t bytes;   /* of model.safetensors */
    uint64_t resumed; /* of them, what an export that was stopped had written */
};

/* Write the folder: first FOLDER.partial, renamed when it is whole and durable.  Called again after
 * it was stopped, it goes on where the last note was made.  A mask token that was never trained
 * gets the values of the one that was (transformers reads token 1 by default, and a run with one
 * clip length trains token 0).  Memory does not grow with the model.
 *
 * Local.  Errors: LS_USAGE when FOLDER is taken or the clips were not square; LS_CHECKPOINT when
 * the checkpoint is damaged or is not of the model that its config describes; LS_DATA when a weight
 * is not finite; LS_IO. */
ls_status checkpoint_export(struct export_result *out, const struct checkpoint *checkpoint,
                            const struct export_options *options) LS_MUST_CHECK;

struct export_summary {
    int tensors;
    int64_t elements;
    uint64_t bytes;    /* of model.safetensors */
    const char *dtype; /* "float32", "bfloat16", "float16", "mixed"; static */
    char *origin;      /* what lockstep.json says of it, a JSON object; NULL when there is none */
};

/* What a folder with a model.safetensors holds, by its header.  Free `origin`.  Local.  Errors:
 * LS_DATA, LS_IO. */
ls_status checkpoint_export_summary(struct export_summary *out, const char *folder) LS_MUST_CHECK;

/* Check the header, and every byte against the checksum in lockstep.json.  Local.  Errors: LS_DATA
 * naming the damage, also when there is no checksum to check; LS_IO. */
ls_status checkpoint_export_verify(const char *folder) LS_MUST_CHECK;

struct import_options {
    const char *folder;          /* what checkpoint_export or save_pretrained wrote */
    const struct config *config; /* of the run */
    const char *checkpoints;     /* RUN/checkpoints */
    int64_t run_epoch;
    int mask_token; /* the one of the file that all of the run's begin with; -1: each its own, and
                       the file must have as many */
};

struct import_result {
    int tensors;
    bool target; /* the file had a target encoder of its own */
};

/* Write the checkpoint of step 0 of a run whose weights are those of the folder.  Moments and step
 * counts are 0; the target encoder is the folder's encoder.  Tensors may also have the public
 * code's names (docs/operations.md tells how to come from a .pt file): then no config.json is
 * needed, and "target_encoder." may be among them.  Memory does not grow with the model.
 *
 * Rank 0, or the launcher, alone on the run.  Errors: LS_DATA naming each tensor and each key of
 * config.json that does not fit the config; LS_IO; LS_CHECKPOINT when it cannot be written. */
ls_status checkpoint_import(struct import_result *out,
                            const struct import_options *options) LS_MUST_CHECK;

#endif
