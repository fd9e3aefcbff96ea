/* The orientation that EXIF data give a picture, where FFmpeg hands it on as text or not at all. */
#ifndef LOCKSTEP_DATA_EXIF_H
#define LOCKSTEP_DATA_EXIF_H

#include <stddef.h>
#include <stdint.h>

#include "data/dataset.h"

/* Turn and flip of an EXIF orientation number; 1 and what is no orientation turn nothing.  Local.
 * Source: CIPA DC-008 (Exif 2.32), tag 0x0112. */
struct video_orientation exif_orientation(int number);

/* The orientation number in a PNG file's eXIf chunk or in a TIFF file; 0 when there is none, as in
 * any other file.  Local, any bytes.
 * Source: PNG specification, third edition, section 11.3.3.5. */
int exif_number(const uint8_t *data, size_t size);

#endif
