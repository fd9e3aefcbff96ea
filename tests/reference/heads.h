/* Head split with 3D rotary positions, by definition (design section 4). */
#ifndef LOCKSTEP_TESTS_REFERENCE_HEADS_H
#define LOCKSTEP_TESTS_REFERENCE_HEADS_H

#include <stdbool.h>
#include <stdint.h>

struct reference_heads {
    int64_t rows, columns; /* of the qkv matrix */
    int64_t column;        /* where q, k or v begins */
    int64_t head_rows;     /* from one head to the next */
    int heads, head_width;
    bool turn;
    int axis_width, grid_rows, grid_columns;
    const int32_t *positions; /* [rows] token numbers */
};

/* Angle of channel c (within its axis) at position p: p * 10000^(-2i/w), i = c mod (w/2). */
double reference_rotary_angle(int position, int channel, int axis_width);

/* heads[h][row][c] = turn(in[row][column + h * head_width + c]) */
void reference_split_heads_fwd(double *heads, const double *in, const struct reference_heads *at);
/* The transpose, into the columns of din that forward read; others stay. */
void reference_split_heads_bwd(double *din, const double *dheads, const struct reference_heads *at);

#endif
