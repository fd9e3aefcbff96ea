/* A decoded frame's native planes as one run of bytes: rows without padding, plane after plane, a
 * palette last; what ffmpeg's rawvideo writes. */
#ifndef LOCKSTEP_DATA_PLANES_H
#define LOCKSTEP_DATA_PLANES_H

#include <libavutil/frame.h>
#include <stdint.h>

#include "core/status.h"

enum { PLANES_MD5_TEXT_BYTES = 33 };

/* Bytes of the run; 0 for a format that has no such form (hardware frames).  Local. */
int64_t planes_bytes(const AVFrame *frame);

/* Low half of the XXH3-128 of the run.  Local.  Errors: LS_NOMEM; LS_DATA for such a format. */
ls_status planes_hash(uint64_t *out, const AVFrame *frame) LS_MUST_CHECK;

/* MD5 of the run as 32 lower-case hexadecimal digits in out[PLANES_MD5_TEXT_BYTES].  Local.
 * Errors: LS_NOMEM; LS_DATA for such a format. */
ls_status planes_md5(char *out, const AVFrame *frame) LS_MUST_CHECK;

#endif
