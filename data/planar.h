/* Rows of planar YCbCr frames as RGB (data/colour.c chooses between this and swscale). */
#ifndef LOCKSTEP_DATA_PLANAR_H
#define LOCKSTEP_DATA_PLANAR_H

#include "data/colour.h"
#include "data/rows.h"

struct planar;

ls_status planar_open(struct planar **out) LS_MUST_CHECK;
void planar_close(struct planar **planar);

/* Whether planar_begin takes frames of this AVPixelFormat.  Local. */
bool planar_reads(int format);

/* As colour_begin and colour_row; `matrix` is copied.  Row y goes to out [count]. */
ls_status planar_begin(struct planar *planar, const struct AVFrame *frame,
                       struct colour_columns columns, bool same_columns,
                       const struct rows_matrix *matrix) LS_MUST_CHECK;
void planar_row(struct planar *planar, uint32_t *out, int y);

#endif
