/* RUN/tensorboard/: every number of metrics.jsonl as an event file that TensorBoard reads.
 *
 * Each start writes a file of its own, whose name sorts behind those of all starts before it.  It
 * begins with the record by which TensorBoard drops what earlier files hold of the steps that come
 * again, so that nothing that was written is ever changed.  The format is in docs/formats.md. */
#ifndef LOCKSTEP_WORKER_TENSORBOARD_H
#define LOCKSTEP_WORKER_TENSORBOARD_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

struct tensorboard;

/* Begin the file of this start, which goes on after `finished` steps.  Where the folder has no
 * event file yet, the steps in RUN/metrics.jsonl come first.  Rank 0, after metrics_open.  Errors:
 * LS_IO, LS_NOMEM. */
ls_status tensorboard_open(struct tensorboard **out, const char *run, int64_t run_epoch,
                           int64_t finished) LS_MUST_CHECK;
void tensorboard_close(struct tensorboard **events);

/* Append a line of metrics.jsonl.  What cannot be written is lost with a warning.  Rank 0. */
void tensorboard_append(struct tensorboard *events, const char *line);

/* One record around `data`: its length (uint64), masked CRC-32C of these 8 bytes, data, masked
 * CRC-32C of data; little-endian.  `out` has room for bytes + TENSORBOARD_FRAME_BYTES.  Returns its
 * length.  Local. */
enum { TENSORBOARD_FRAME_BYTES = 16 };
size_t tensorboard_frame(unsigned char *out, const void *data, size_t bytes);

#endif
