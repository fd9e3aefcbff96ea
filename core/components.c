/* Block power iteration: the directions are multiplied by the covariance (through the rows, which
 * are fewer or shorter than it is large), made orthogonal again, and this until they stand still.
 * Twice as many directions are carried as are asked for, so that the last of them settles soon. */
#include "core/components.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"

enum { ROUNDS = 60, BLOCK = 2 * COMPONENTS_MOST };

static const double SETTLED = 1e-13; /* change of the wanted variances in a round, of all of it */

struct work {
    const float *rows;
    int64_t row_count, dim;
    int block;          /* directions carried */
    double *mean;       /* [dim] */
    double *directions; /* [block, dim] */
    double *next;       /* [block, dim] */
    double variance[BLOCK], total;
};

static void find_mean(struct work *w)
{
    for (int64_t r = 0; r < w->row_count; r++)
        for (int64_t c = 0; c < w->dim; c++)
            w->mean[c] += (double)w->rows[r * w->dim + c] / (double)w->row_count;
    for (int64_t r = 0; r < w->row_count; r++)
        for (int64_t c = 0; c < w->dim; c++) {
            const double off = (double)w->rows[r * w->dim + c] - w->mean[c];
            w->total += off * off;
        }
}

/* Coordinates of a row along the first `count` directions. */
static void place(double *out, const struct work *w, int64_t row, int count)
{
    const float *values = w->rows + row * w->dim;
    for (int k = 0; k < count; k++) {
        const double *direction = w->directions + k * w->dim;
        double sum = 0.0;
        for (int64_t c = 0; c < w->dim; c++)
            sum += ((double)values[c] - w->mean[c]) * direction[c];
        out[k] = sum;
    }
}

/* next = covariance (times the row count) of directions. */
static void multiply(struct work *w)
{
    double at[BLOCK];
    memset(w->next, 0, (size_t)(w->block * w->dim) * sizeof *w->next);
    for (int64_t r = 0; r < w->row_count; r++) {
        const float *values = w->rows + r * w->dim;
        place(at, w, r, w->block);
        for (int k = 0; k < w->block; k++)
            for (int64_t c = 0; c < w->dim; c++)
                w->next[k * w->dim + c] += at[k] * ((double)values[c] - w->mean[c]);
    }
}

static double dot(const double *a, const double *b, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

/* directions = next, orthogonal and of length 1; what is left of one that the others hold is 0. */
static void straighten(struct work *w)
{
    for (int k = 0; k < w->block; k++) {
        double *direction = w->next + k * w->dim;
        w->variance[k] = sqrt(dot(direction, direction, w->dim));
        for (int twice = 0; twice < 2; twice++)
            for (int j = 0; j < k; j++) {
                const double *other = w->directions + j * w->dim;
                const double part = dot(direction, other, w->dim);
                for (int64_t c = 0; c < w->dim; c++)
                    direction[c] -= part * other[c];
            }
        const double length = sqrt(dot(direction, direction, w->dim));
        const bool some = length > 1e-13 * w->total;
        for (int64_t c = 0; c < w->dim; c++)
            w->directions[k * w->dim + c] = some ? direction[c] / length : 0.0;
    }
}

/* Any vectors that no data stands across: sines of different pace. */
static void begin(struct work *w)
{
    for (int k = 0; k < w->block; k++)
        for (int64_t c = 0; c < w->dim; c++)
            w->next[k * w->dim + c] =
                sin((double)((k + 1) * (c + 1)) + 0.3 * k) + (c % w->block == k);
}

static void iterate(struct work *w, int count)
{
    double before = 0.0;
    begin(w);
    straighten(w);
    for (int round = 0; round < ROUNDS; round++) {
        double now = 0.0;
        multiply(w);
        straighten(w);
        for (int k = 0; k < count; k++)
            now += w->variance[k];
        if (fabs(now - before) <= SETTLED * w->total)
            break;
        before = now;
    }
}

static void choose_signs(struct work *w, int count)
{
    for (int k = 0; k < count; k++) {
        double *direction = w->directions + k * w->dim;
        double largest = 0.0;
        for (int64_t c = 0; c < w->dim; c++)
            largest = fabs(direction[c]) > fabs(largest) ? direction[c] : largest;
        for (int64_t c = 0; c < w->dim && largest < 0.0; c++)
            direction[c] = -direction[c];
    }
}

static void write_places(float *places, double *shares, struct work *w, int count)
{
    double at[BLOCK];
    for (int64_t r = 0; r < w->row_count; r++) {
        place(at, w, r, count);
        for (int k = 0; k < count; k++) {
            places[r * count + k] = (float)at[k];
            shares[k] += at[k] * at[k] / w->total;
        }
    }
}

ls_status components_find(float *places, double *shares, const float *rows, int64_t row_count,
                          int64_t dim, int count)
{
    ls_status st = LS_OK;
    struct work w = {.rows = rows, .row_count = row_count, .dim = dim};
    if (count < 1 || count > COMPONENTS_MOST || count > dim)
        return LS_FAIL(LS_USAGE, "%d components of %lld dimensions", count, (long long)dim);
    const int twice = 2 * count;
    w.block = twice < dim ? twice : (int)dim;
    LS_TRY(core_alloc(&w.mean, dim));
    LS_TRY(core_alloc(&w.directions, w.block * dim));
    LS_TRY(core_alloc(&w.next, w.block * dim));
    memset(places, 0, (size_t)(row_count * count) * sizeof *places);
    memset(shares, 0, (size_t)count * sizeof *shares);
    find_mean(&w);
    /* Rows that differ by rounding alone do not differ. */
    if (!(w.total > 1e-12 * (double)row_count * dot(w.mean, w.mean, dim)) || !(w.total > 0.0))
        goto done;
    iterate(&w, count);
    choose_signs(&w, count);
    write_places(places, shares, &w, count);
done:
    free(w.mean);
    free(w.directions);
    free(w.next);
    return st;
}
