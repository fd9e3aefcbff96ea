/* Nearest neighbours on features whose neighbours are known. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/random.h"
#include "worker/knn.h"

enum { DIM = 8, CLASSES = 4, ROWS = 80 };

/* Rows around the class's own direction, on top of a large common offset that standardizing has to
 * take away. */
static void draw(float *rows, int32_t *labels, uint64_t seed)
{
    struct random_stream stream;
    random_open(&stream, seed, RANDOM_TEST, 0, 0, 0);
    for (int r = 0; r < ROWS; r++) {
        labels[r] = r % CLASSES;
        for (int c = 0; c < DIM; c++)
            rows[r * DIM + c] = (float)(100.0 + 10.0 * (c == labels[r]) + random_normal(&stream));
    }
}

static double accuracy(const int32_t *predicted, const int32_t *labels)
{
    int right = 0;
    for (int r = 0; r < ROWS; r++)
        right += predicted[r] == labels[r] ? 1 : 0;
    return right / (double)ROWS;
}

static void finds_clusters_below_an_offset(void **state)
{
    (void)state;
    float train_rows[ROWS * DIM], test_rows[ROWS * DIM];
    int32_t train_labels[ROWS], test_labels[ROWS], predicted[ROWS];
    draw(train_rows, train_labels, 1);
    draw(test_rows, test_labels, 2);
    const struct knn_set train = {train_rows, train_labels, ROWS, DIM};
    const struct knn_set test = {test_rows, test_labels, ROWS, DIM};
    assert_int_equal(knn_standardize(&train, &test), LS_OK);
    assert_int_equal(knn_predict(predicted, &train, &test, 5, CLASSES), LS_OK);
    assert_true(accuracy(predicted, test_labels) == 1.0);
}

static void standardized_channels_have_mean_0(void **state)
{
    (void)state;
    float rows[ROWS * DIM];
    int32_t labels[ROWS];
    draw(rows, labels, 3);
    for (int r = 0; r < ROWS; r++)
        rows[r * DIM + DIM - 1] = 7.0F; /* without deviation */
    const struct knn_set set = {rows, labels, ROWS, DIM};
    const struct knn_set none = {NULL, NULL, 0, DIM};
    assert_int_equal(knn_standardize(&set, &none), LS_OK);
    for (int r = 0; r < ROWS; r++) {
        double square = 0.0;
        for (int c = 0; c < DIM; c++)
            square += pow((double)rows[r * DIM + c], 2);
        assert_true(fabs(square - 1.0) < 1e-5);
        assert_true(rows[r * DIM + DIM - 1] == 0.0F);
    }
}

/* Rows without a label neither vote nor are asked; with random labels the figure is chance. */
static void unlabelled_rows_are_passed_over(void **state)
{
    (void)state;
    float rows[ROWS * DIM], test_rows[ROWS * DIM];
    int32_t labels[ROWS], test_labels[ROWS], predicted[ROWS];
    draw(rows, labels, 4);
    draw(test_rows, test_labels, 5);
    for (int r = 0; r < ROWS; r++)
        if (labels[r] == 2)
            labels[r] = -1;
    test_labels[0] = -1;
    const struct knn_set train = {rows, labels, ROWS, DIM};
    const struct knn_set test = {test_rows, test_labels, ROWS, DIM};
    assert_int_equal(knn_standardize(&train, &test), LS_OK);
    assert_int_equal(knn_predict(predicted, &train, &test, 3, CLASSES), LS_OK);
    assert_int_equal(predicted[0], -1);
    for (int r = 1; r < ROWS; r++)
        assert_true(predicted[r] >= 0 && predicted[r] != 2);
}

static void equal_neighbours_are_taken_in_order(void **state)
{
    (void)state;
    float rows[] = {1, 0, 1, 0, 1, 0, 0, 1};
    int32_t labels[] = {3, 1, 1, 0};
    float asked[] = {1, 0};
    int32_t its[] = {0}, predicted[1];
    const struct knn_set train = {rows, labels, 4, 2};
    const struct knn_set test = {asked, its, 1, 2};
    assert_int_equal(knn_predict(predicted, &train, &test, 1, CLASSES), LS_OK);
    assert_int_equal(predicted[0], 3); /* the lowest row of those as near */
    assert_int_equal(knn_predict(predicted, &train, &test, 2, CLASSES), LS_OK);
    assert_int_equal(predicted[0], 1); /* the lower class of two that are as strong */
    assert_int_equal(knn_predict(predicted, &train, &test, 3, CLASSES), LS_OK);
    assert_int_equal(predicted[0], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_clusters_below_an_offset),
        cmocka_unit_test(standardized_channels_have_mean_0),
        cmocka_unit_test(unlabelled_rows_are_passed_over),
        cmocka_unit_test(equal_neighbours_are_taken_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
