/* What libavcodec alone needs for the frames of clips: the yardstick of bench_loader.
 *
 * The packets that a clip reader would feed are read into memory beforehand; each video keeps one
 * open decoder, which is flushed before a clip.  Nothing is read, checked or converted. */
#ifndef LOCKSTEP_TESTS_SUPPORT_BARE_DECODE_H
#define LOCKSTEP_TESTS_SUPPORT_BARE_DECODE_H

#include <stdint.h>

#include "core/status.h"
#include "data/dataset.h"

struct bare_decode;
ls_status bare_decode_open(struct bare_decode **out, const struct dataset *dataset) LS_MUST_CHECK;
void bare_decode_close(struct bare_decode **bare);

/* Read the packets of one clip; `numbers` as for clip_reader_read.  Local.  Errors: LS_IO, LS_DATA,
 * LS_NOMEM. */
ls_status bare_decode_add(struct bare_decode *bare, int64_t video, const int64_t *numbers,
                          int count) LS_MUST_CHECK;

/* Decode all clips with single-threaded decoders.  `*frames` counts what came out, `*packets` what
 * went in.  Local.  Errors: LS_DATA, LS_NOMEM. */
ls_status bare_decode_run(struct bare_decode *bare, int64_t *frames,
                          int64_t *packets) LS_MUST_CHECK;

#endif
