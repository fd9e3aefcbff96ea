/* Pictures and films of RGB pixels, for people to look at. */
#ifndef LOCKSTEP_DATA_PICTURE_H
#define LOCKSTEP_DATA_PICTURE_H

#include <stdint.h>

#include "core/status.h"

/* Write rgb[height, width, 3] as a PNG file, whole or not at all.  Local.  Errors: LS_IO, LS_NOMEM,
 * LS_DATA for a size that PNG or FFmpeg does not take; LS_USAGE in a build without FFmpeg. */
ls_status picture_write(const char *path, const uint8_t *rgb, int width, int height) LS_MUST_CHECK;

/* An MP4 film: H.264 by x264, MPEG-4 part 2 where FFmpeg has no x264.  Width and height are even.
 * It is made in memory; film_commit writes it, whole or not at all, and film_close without it
 * leaves nothing.  Local.  Errors: as picture_write. */
struct film;
ls_status film_open(struct film **out, const char *path, int width, int height,
                    double frames_per_s) LS_MUST_CHECK;
ls_status film_add(struct film *film, const uint8_t *rgb) LS_MUST_CHECK;
ls_status film_commit(struct film *film) LS_MUST_CHECK;
void film_close(struct film **film);

#endif
