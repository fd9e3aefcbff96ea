/* Gather, scatter, patchify, loss and statistics, by definition. */
#ifndef LOCKSTEP_TESTS_REFERENCE_ROWS_H
#define LOCKSTEP_TESTS_REFERENCE_ROWS_H

#include <stdint.h>

/* to[r] = index[r] >= 0 ? from[index[r]] : index[r] == -1 ? fill : 0 */
void reference_gather_rows(double *to, const double *from, const int32_t *index, const double *fill,
                           int64_t rows, int64_t columns);
/* dfrom[index[r]] += dto[r]; dfill (NULL: not wanted) += rows with index -1. */
void reference_scatter_rows(double *dfrom, double *dfill, const double *dto, const int32_t *index,
                            int64_t rows, int64_t columns);

/* Clips as uint8 [B, T, H, W, 3] (bytes) or double [B, 3, T, H, W] (floats), one of the two. */
struct reference_clips {
    const uint8_t *bytes;
    const double *floats;
    int frames, height, width, tubelet, patch;
    double mean[3], std[3];
};
/* patches[r] = the tubelet of token index[r] as columns (channel, time, row, column). */
void reference_patchify(double *patches, const struct reference_clips *clips, const int32_t *index,
                        int64_t rows);

/* Over the rows of a list: returns sum |z - h|^p / p; dz = weight * |z - h|^(p-1) sign(z - h). */
double reference_loss(double *dz, const double *z, const double *h, const int32_t *row,
                      int64_t rows, int64_t columns, double exponent, double weight);

/* sum += x, square += x^2, unit += x / |x| over the rows of a list. */
void reference_column_statistics(double *sum, double *square, double *unit, const double *x,
                                 const int32_t *row, int64_t rows, int64_t columns);

#endif
