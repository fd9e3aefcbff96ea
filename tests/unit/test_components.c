/* Principal components: known directions, order, shares, signs, and rows that do not differ. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/components.h"
#include "core/random.h"

enum { ROWS = 500, DIM = 24, WANTED = 3 };

/* Orthogonal directions: rows of the cosine transform. */
static double axis(int k, int c)
{
    return sqrt(2.0 / DIM) * cos(3.14159265358979323846 * (c + 0.5) * (k + 1) / DIM);
}

/* Variances 100, 25, 9 along three axes and .01 elsewhere, around a mean far from 0. */
static void make_rows(float *rows, float *known)
{
    static const double size[WANTED] = {10, 5, 3};
    struct random_stream stream;
    random_open(&stream, 7, RANDOM_TEST, 0, 0, 0);
    for (int r = 0; r < ROWS; r++) {
        for (int c = 0; c < DIM; c++)
            rows[r * DIM + c] = (float)(40.0 + c + 0.1 * random_normal(&stream));
        for (int k = 0; k < WANTED; k++) {
            const double at = size[k] * random_normal(&stream);
            known[r * WANTED + k] = (float)at;
            for (int c = 0; c < DIM; c++)
                rows[r * DIM + c] += (float)(at * axis(k, c));
        }
    }
}

static double correlation(const float *a, const float *b, int k)
{
    double sums[5] = {0};
    for (int r = 0; r < ROWS; r++) {
        const double x = a[r * WANTED + k];
        const double y = b[r * WANTED + k];
        sums[0] += x;
        sums[1] += y;
        sums[2] += x * x;
        sums[3] += y * y;
        sums[4] += x * y;
    }
    return (sums[4] - sums[0] * sums[1] / ROWS) /
           sqrt((sums[2] - sums[0] * sums[0] / ROWS) * (sums[3] - sums[1] * sums[1] / ROWS));
}

static void known_directions_are_found_in_order(void **state)
{
    (void)state;
    float *rows = malloc(sizeof(float) * ROWS * DIM);
    float known[ROWS * WANTED];
    float places[ROWS * WANTED];
    double shares[WANTED];
    make_rows(rows, known);
    assert_int_equal(components_find(places, shares, rows, ROWS, DIM, WANTED), LS_OK);
    for (int k = 0; k < WANTED; k++)
        assert_true(fabs(correlation(places, known, k)) > 0.99);
    assert_true(fabs(shares[0] - 100 / 134.3) < 0.05);
    assert_true(shares[0] > shares[1] && shares[1] > shares[2]);
    assert_true(shares[0] + shares[1] + shares[2] > 0.99 &&
                shares[0] + shares[1] + shares[2] < 1.0 + 1e-9);
    free(rows);
}

static void signs_do_not_depend_on_the_order_of_rows(void **state)
{
    (void)state;
    float *rows = malloc(sizeof(float) * ROWS * DIM);
    float *turned = malloc(sizeof(float) * ROWS * DIM);
    float known[ROWS * WANTED];
    float places[2][ROWS * WANTED];
    double shares[2][WANTED];
    make_rows(rows, known);
    for (int i = 0; i < ROWS * DIM; i++)
        turned[(ROWS - 1 - i / DIM) * DIM + i % DIM] = rows[i];
    assert_int_equal(components_find(places[0], shares[0], rows, ROWS, DIM, WANTED), LS_OK);
    assert_int_equal(components_find(places[1], shares[1], turned, ROWS, DIM, WANTED), LS_OK);
    for (int r = 0; r < ROWS; r++)
        for (int k = 0; k < WANTED; k++)
            assert_true(fabs(places[0][r * WANTED + k] - places[1][(ROWS - 1 - r) * WANTED + k]) <
                        1e-3);
    free(rows);
    free(turned);
}

static void rows_that_do_not_differ_have_no_components(void **state)
{
    (void)state;
    float rows[20 * DIM];
    float places[20 * WANTED];
    double shares[WANTED];
    for (int i = 0; i < 20 * DIM; i++)
        rows[i] = 0.1F * (float)(i % DIM) + 7.3F;
    assert_int_equal(components_find(places, shares, rows, 20, DIM, WANTED), LS_OK);
    for (int i = 0; i < 20 * WANTED; i++)
        assert_true(places[i] == 0.0F);
    assert_true(shares[0] == 0.0 && shares[2] == 0.0);
}

static void fewer_rows_than_components_leave_the_rest_at_0(void **state)
{
    (void)state;
    float rows[2 * DIM] = {0};
    float places[2 * WANTED];
    double shares[WANTED];
    rows[3] = 2.0F;
    assert_int_equal(components_find(places, shares, rows, 2, DIM, WANTED), LS_OK);
    assert_true(fabs(places[0] - 1.0F) < 1e-5 && fabs(places[WANTED] + 1.0F) < 1e-5);
    assert_true(fabs(shares[0] - 1.0) < 1e-9 && fabs(shares[1]) < 1e-9 && fabs(shares[2]) < 1e-9);
}

static void counts_that_cannot_be_are_refused(void **state)
{
    (void)state;
    float rows[4] = {0};
    float places[16];
    double shares[9];
    assert_int_equal(components_find(places, shares, rows, 2, 2, 3), LS_USAGE);
    assert_int_equal(components_find(places, shares, rows, 2, 2, 0), LS_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_directions_are_found_in_order),
        cmocka_unit_test(signs_do_not_depend_on_the_order_of_rows),
        cmocka_unit_test(rows_that_do_not_differ_have_no_components),
        cmocka_unit_test(fewer_rows_than_components_leave_the_rest_at_0),
        cmocka_unit_test(counts_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
