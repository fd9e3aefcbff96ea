/* Packing one source file: demux, decode once from the beginning, prove random access, write a
 * part. */
#ifndef LOCKSTEP_DATA_PACK_VIDEO_H
#define LOCKSTEP_DATA_PACK_VIDEO_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "data/pack.h"
#include "data/prove.h"

struct pack_source {
    const char *name; /* as listed; kept in the dataset */
    const char *path; /* where to open it */
    int64_t label;
    double weight;
    double rate;      /* true frames a second, by which its own times are replaced; 0: not known */
    uint64_t bytes;   /* of the file; 0 when it cannot be looked at */
    int64_t mtime_ns; /* likewise */
    int frame_side;   /* store decoded frames whose shorter side is at most this; 0: packets */
    struct pack_encoding encoding;
};

/* Write the part of one source file: a packed video or, when it cannot be used, the reason.  Only
 * failures to write the part (or a full memory) are failures of the call.
 *
 *   skipped   out  whether it was
 *
 * Local.  Errors: LS_IO, LS_NOMEM. */
ls_status pack_video(bool *skipped, const char *part_path, const struct pack_source *source,
                     const struct prove_progress *progress) LS_MUST_CHECK;

/* Write the part of a file that was skipped for `reason`.  Local.  Errors: LS_IO, LS_NOMEM. */
ls_status pack_skip(const char *part_path, const struct pack_source *source,
                    const char *reason) LS_MUST_CHECK;

#endif
