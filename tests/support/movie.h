/* Writes small video files with the FFmpeg libraries, for tests and the demo's videos. */
#ifndef LOCKSTEP_TESTS_SUPPORT_MOVIE_H
#define LOCKSTEP_TESTS_SUPPORT_MOVIE_H

#include <stdint.h>

#include "core/status.h"

/* Encode grey frames[count, height, width] as `path` (the container follows from its ending): H.264
 * by x264 at constant quality, or MPEG-4 part 2 where FFmpeg has no x264; one key frame, neutral
 * chroma, limited range.  The same frames give the same bytes on one machine.  `width` and `height`
 * are even.  The file appears whole or not at all.
 *
 * Local, any thread.  Errors: LS_IO naming `path`; LS_FAILED when no encoder is there. */
ls_status movie_write_grey(const char *path, const uint8_t *frames, int count, int width,
                           int height, int frames_per_s) LS_MUST_CHECK;

#endif
