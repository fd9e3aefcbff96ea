/* model.safetensors of an exported folder, written front to back through one buffer, so that it can
 * be stopped anywhere and gone on with.  Internal to checkpoint/. */
#ifndef LOCKSTEP_CHECKPOINT_EXPORT_STREAM_H
#define LOCKSTEP_CHECKPOINT_EXPORT_STREAM_H

#include "checkpoint/export.h"
#include "checkpoint/export_names.h"
#include "checkpoint/safetensors.h"

#define EXPORT_MODEL_NAME "model.safetensors"
#define EXPORT_NOTE_NAME "progress.json"

/* What is to be written. */
struct export_plan {
    const struct checkpoint *checkpoint;
    const struct export_options *options;
    struct parameters *parameters;
    struct export_tensors tensors;
    struct safetensors_entry *entries; /* one a tensor */
    char *header;
    size_t header_bytes;
    uint64_t bytes;    /* of the file */
    int *mask_sources; /* for each mask token, whose values it gets */
};

struct export_stream;

/* Open FOLDER/model.safetensors, keep of it what an earlier try of the same plan noted as durable
 * (its hash is checked), and begin with the header where there is nothing.  `plan` is borrowed.
 * Local.  Errors: LS_IO, also when another export writes there. */
ls_status export_stream_open(struct export_stream **out, const char *folder,
                             const struct export_plan *plan) LS_MUST_CHECK;
void export_stream_close(struct export_stream **stream);

/* Bytes that were kept.  Local. */
uint64_t export_stream_resumed(const struct export_stream *stream);

/* Write the rest, durably; `*checksum` is the hash of the whole file.  Local.  Errors:
 * LS_CHECKPOINT when the checkpoint is damaged, LS_DATA when a weight is not finite, LS_IO. */
ls_status export_stream_write(struct export_stream *stream, struct hash128 *checksum) LS_MUST_CHECK;

/* Take the note away: the folder is whole.  Local.  Errors: LS_IO. */
ls_status export_stream_finish(struct export_stream *stream) LS_MUST_CHECK;

#endif
