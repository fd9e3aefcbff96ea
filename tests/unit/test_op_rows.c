/* Gather, scatter, patchify, loss and statistics against the reference. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/reference/rows.h"
#include "tests/support/op_test.h"

struct rows_case {
    int64_t rows, columns, sources;
    enum op_dtype in, out;
};

static const struct rows_case cases[] = {
    {1, 1, 1, OP_F32, OP_F32},       {7, 5, 9, OP_F32, OP_F32},     {130, 33, 200, OP_F32, OP_F32},
    {64, 384, 300, OP_F32, OP_F32},  {50, 40, 60, OP_BF16, OP_F32}, {31, 70, 40, OP_F32, OP_BF16},
    {90, 19, 100, OP_BF16, OP_BF16},
};

static double store_bound(enum op_dtype dtype)
{
    return dtype == OP_BF16 ? 1.01 * op_test_epsilon(OP_BF16) : 0.0;
}

/* Every source at most once, some rows filled, some padding. */
static int32_t *indexes(struct op_test *test, const struct rows_case *c)
{
    int32_t *index = op_test_integers(test, c->rows);
    for (int64_t r = 0; r < c->rows; r++) {
        index[r] = (int32_t)(c->sources - 1 - r);
        if (r % 5 == 3)
            index[r] = -1;
        if (r % 11 == 6)
            index[r] = -2;
    }
    return index;
}

static void gather(struct op_test *test, const void *argument)
{
    const struct rows_case *c = argument;
    int32_t *index = indexes(test, c);
    double *from = op_test_random(test, c->sources * c->columns, c->in, 1.0);
    double *fill = op_test_random(test, c->columns, OP_F32, 1.0);
    double *want = op_test_doubles(test, c->rows * c->columns);
    struct op_matrix to = op_test_matrix(test, NULL, c->rows, c->columns, c->out);
    op_test_ok(test->table->gather_rows(test->device, to,
                                        op_test_matrix(test, from, c->sources, c->columns, c->in),
                                        op_test_integer_array(test, index, c->rows),
                                        op_test_array(test, fill, c->columns, OP_F32)));
    reference_gather_rows(want, from, index, fill, c->rows, c->columns);
    op_test_expect(test, "to", to.data_dev, want, store_bound(c->out), 0.0); /* copies: exact */
}

struct scatter_case {
    const struct rows_case *shape;
    bool accumulate, fill;
};

static void scatter(struct op_test *test, const void *argument)
{
    const struct scatter_case *s = argument;
    const struct rows_case *c = s->shape;
    int32_t *index = indexes(test, c);
    double *dto = op_test_random(test, c->rows * c->columns, c->in, 1.0);
    double *want = op_test_random(test, c->sources * c->columns, c->out, 1.0);
    double *fill = op_test_random(test, c->columns, OP_F32, 1.0);
    struct op_matrix dfrom =
        op_test_matrix(test, s->accumulate ? want : NULL, c->sources, c->columns, c->out);
    float *fill_dev = s->fill ? op_test_array(test, fill, c->columns, OP_F32) : NULL;
    op_test_ok(test->table->scatter_rows(
        test->device, dfrom, fill_dev, op_test_matrix(test, dto, c->rows, c->columns, c->in),
        op_test_integer_array(test, index, c->rows), s->accumulate));
    for (int64_t i = 0; !s->accumulate && i < c->sources * c->columns; i++)
        want[i] = 0.0;
    reference_scatter_rows(want, fill, dto, index, c->rows, c->columns);
    op_test_expect(test, "dfrom", dfrom.data_dev, want, store_bound(c->out) + 0x1p-24, 0.0);
    if (s->fill) /* up to 26 rows summed */
        op_test_expect(test, "dfill", fill_dev, fill, 8 * 0x1p-24, 8 * 0x1p-24);
}

static void rows_are_gathered_filled_and_padded(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        op_test_repeat(gather, &cases[i]);
}

static void row_gradients_are_scattered(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int kind = 0; kind < 4; kind++) {
            struct scatter_case s = {&cases[i], (kind & 1) != 0, (kind & 2) != 0};
            op_test_repeat(scatter, &s);
        }
}

struct patch_case {
    int clips, frames, height, width, tubelet, patch;
    bool bytes;
    enum op_dtype out;
};

static const struct patch_case patch_cases[] = {
    {1, 2, 4, 4, 2, 4, true, OP_F32},     {2, 6, 24, 36, 2, 12, true, OP_F32},
    {2, 4, 32, 48, 2, 16, false, OP_F32}, {3, 4, 10, 15, 1, 5, true, OP_BF16},
    {1, 4, 32, 32, 2, 16, true, OP_F32},
};

static void patchify(struct op_test *test, const void *argument)
{
    const struct patch_case *c = argument;
    struct reference_clips reference = {.frames = c->frames,
                                        .height = c->height,
                                        .width = c->width,
                                        .tubelet = c->tubelet,
                                        .patch = c->patch,
                                        .mean = {0.485, 0.456, 0.406},
                                        .std = {0.229, 0.224, 0.225}};
    struct op_clips clips = {.clips = c->clips,
                             .frames = c->frames,
                             .height = c->height,
                             .width = c->width,
                             .tubelet = c->tubelet,
                             .patch = c->patch,
                             .mean = {0.485f, 0.456f, 0.406f},
                             .inverse_std = {1.0f / 0.229f, 1.0f / 0.224f, 1.0f / 0.225f}};
    int64_t values = (int64_t)c->clips * c->frames * c->height * c->width * 3;
    int tokens = c->frames / c->tubelet * (c->height / c->patch) * (c->width / c->patch);
    int64_t rows = (int64_t)c->clips * tokens,
            columns = (int64_t)3 * c->tubelet * c->patch * c->patch;
    double *floats = op_test_random(test, values, OP_F32, 1.0);
    uint8_t *bytes = (uint8_t *)op_test_integers(test, values / 4 + 1);
    for (int64_t i = 0; i < values; i++)
        bytes[i] = (uint8_t)((i * 97 + i / 255 * 13) % 256);
    if (c->bytes) {
        reference.bytes = bytes;
        clips.kind = OP_PIXELS_U8_THWC;
        clips.pixels_dev =
            op_test_integer_array(test, (const int32_t *)(const void *)bytes, values / 4 + 1);
    } else {
        reference.floats = floats;
        clips.kind = OP_PIXELS_F32_CTHW;
        clips.pixels_dev = op_test_array(test, floats, values, OP_F32);
    }
    int32_t *index = op_test_integers(test, rows);
    for (int64_t r = 0; r < rows; r++)
        index[r] = r % 7 == 5 ? -2 : (int32_t)(rows - 1 - r);
    double *want = op_test_doubles(test, rows * columns);
    struct op_matrix out = op_test_matrix(test, NULL, rows, columns, c->out);
    op_test_ok(
        test->table->patchify(test->device, out, clips, op_test_integer_array(test, index, rows)));
    reference_patchify(want, &reference, index, rows);
    /* The mean times 1/std, up to 2.2, is rounded once, its two factors too. */
    op_test_expect(test, "patches", out.data_dev, want, store_bound(c->out) + 2 * 0x1p-24,
                   c->bytes ? 8 * 0x1p-24 : 0.0);
}

static void clips_become_normalised_patches(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof patch_cases / sizeof *patch_cases; i++)
        op_test_repeat(patchify, &patch_cases[i]);
}

/* Three sequences with gaps between them. */
struct list {
    struct op_sequences sequences;
    int32_t *row; /* true rows in order */
};

static struct list lay_out(struct op_test *test, int64_t rows)
{
    struct list list = {.row = op_test_integers(test, rows)};
    int32_t *start = op_test_integers(test, 3), *length = op_test_integers(test, 3);
    struct op_sequences *s = &list.sequences;
    *s = (struct op_sequences){.count = 3, .rows = rows, .start = start, .length = length};
    for (int i = 0; i < 3; i++) {
        start[i] = (int32_t)(rows * i / 3);
        length[i] = (int32_t)(rows * (i + 1) / 3) - start[i];
        length[i] -= length[i] > 2 ? i : 0;
        s->max_length = length[i] > s->max_length ? length[i] : s->max_length;
        for (int r = 0; r < length[i]; r++)
            list.row[s->true_rows++] = start[i] + r;
    }
    s->start_dev = op_test_integer_array(test, start, 3);
    s->length_dev = op_test_integer_array(test, length, 3);
    return list;
}

/* NaN in padding rows: nothing may read them. */
static double *spoiled(struct op_test *test, const double *x, const struct list *list,
                       int64_t columns)
{
    double *copy = op_test_doubles(test, list->sequences.rows * columns);
    for (int64_t i = 0; i < list->sequences.rows * columns; i++)
        copy[i] = (double)NAN;
    for (int64_t r = 0; r < list->sequences.true_rows; r++)
        for (int64_t c = 0; c < columns; c++)
            copy[list->row[r] * columns + c] = x[list->row[r] * columns + c];
    return copy;
}

struct loss_case {
    int64_t rows, columns;
    double exponent;
    enum op_dtype z, dz;
};

static const struct loss_case loss_cases[] = {
    {3, 1, 1.0, OP_F32, OP_F32},     {20, 33, 1.0, OP_F32, OP_F32}, {301, 192, 1.0, OP_F32, OP_F32},
    {40, 70, 2.0, OP_F32, OP_F32},   {40, 70, 1.5, OP_F32, OP_F32}, {50, 64, 1.0, OP_BF16, OP_F32},
    {50, 47, 2.0, OP_BF16, OP_BF16},
};

static void loss(struct op_test *test, const void *argument)
{
    const struct loss_case *c = argument;
    struct list list = lay_out(test, c->rows);
    int64_t count = c->rows * c->columns;
    double *z = op_test_random(test, count, c->z, 1.0),
           *h = op_test_random(test, count, OP_F32, 1.0);
    double *dz = op_test_doubles(test, count), total[1] = {0.25};
    for (int64_t i = 0; i < count; i += 13)
        h[i] = z[i]; /* equal: no gradient */
    double weight = 0.75 / (double)count, loss_weight = 0.5 / (double)count;
    double *total_dev = op_test_double_array(test, total, 1);
    struct op_matrix out = op_test_matrix(test, NULL, c->rows, c->columns, c->dz);
    op_test_ok(test->table->loss(
        test->device, out, total_dev,
        op_test_matrix(test, spoiled(test, z, &list, c->columns), c->rows, c->columns, c->z),
        op_test_matrix(test, spoiled(test, h, &list, c->columns), c->rows, c->columns, OP_F32),
        &list.sequences, c->exponent, weight, loss_weight));
    total[0] += loss_weight * reference_loss(dz, z, h, list.row, list.sequences.true_rows,
                                             c->columns, c->exponent, weight);
    /* z - h is rounded once in float32, the sum is double: roundings of thousands of terms cancel
     * to far less than one of them. */
    op_test_expect(test, "loss", total_dev, total, 0x1p-24, 0.0);
    op_test_expect(test, "dz", out.data_dev, dz, store_bound(c->dz) + 3 * 0x1p-24, 0x1p-24);
}

static void loss_and_its_gradient_match_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof loss_cases / sizeof *loss_cases; i++)
        op_test_repeat(loss, &loss_cases[i]);
}

static void loss_keeps_what_is_not_finite(struct op_test *test, const void *argument)
{
    (void)argument;
    struct list list = lay_out(test, 9);
    double *z = op_test_random(test, 9 * 20, OP_F32, 1.0), total[1] = {0.0};
    double *h = op_test_random(test, 9 * 20, OP_F32, 1.0);
    z[4 * 20 + 7] = (double)NAN;
    double *total_dev = op_test_double_array(test, total, 1);
    struct op_matrix dz = op_test_matrix(test, NULL, 9, 20, OP_F32);
    op_test_ok(
        test->table->loss(test->device, dz, total_dev, op_test_matrix(test, z, 9, 20, OP_F32),
                          op_test_matrix(test, h, 9, 20, OP_F32), &list.sequences, 1.0, 1.0, 1.0));
    assert_true(isnan(op_test_read(test, total_dev)[0]));
    const double *gradient = op_test_read(test, dz.data_dev);
    for (int i = 0; i < 9 * 20; i++)
        assert_int_equal(isnan(gradient[i]), i == 4 * 20 + 7);
}

static void a_loss_that_is_not_a_number_is_seen(void **state)
{
    (void)state;
    op_test_repeat(loss_keeps_what_is_not_finite, NULL);
}

static void statistics(struct op_test *test, const void *argument)
{
    const struct loss_case *c = argument;
    struct list list = lay_out(test, c->rows);
    double *x = op_test_random(test, c->rows * c->columns, c->z, 1.0);
    double *want[3];
    double *out[3];
    for (int i = 0; i < 3; i++) {
        want[i] = op_test_random(test, c->columns, OP_F32, 1.0);
        out[i] = op_test_double_array(test, want[i], c->columns);
    }
    op_test_ok(test->table->column_statistics(
        test->device, out[0], out[1], c->exponent == 1.0 ? out[2] : NULL,
        op_test_matrix(test, spoiled(test, x, &list, c->columns), c->rows, c->columns, c->z),
        &list.sequences));
    double *unit = op_test_doubles(test, c->columns);
    reference_column_statistics(want[0], want[1], c->exponent == 1.0 ? want[2] : unit, x, list.row,
                                list.sequences.true_rows, c->columns);
    for (int i = 0; i < 3; i++) /* double throughout */
        op_test_expect(test, "statistics", out[i], want[i], 1e-12, 1e-12);
}

static void column_statistics_match_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof loss_cases / sizeof *loss_cases; i++)
        op_test_repeat(statistics, &loss_cases[i]);
}

struct differences {
    double *dz, *z, *h;
    int32_t *row;
    int64_t rows, columns;
    double exponent;
};

static double loss_at(void *context)
{
    struct differences *d = context;
    return reference_loss(d->dz, d->z, d->h, d->row, d->rows, d->columns, d->exponent, 1.0);
}

static void differentiate(struct op_test *test, const void *argument)
{
    struct differences d = {.rows = 3, .columns = 5, .exponent = *(const double *)argument};
    d.z = op_test_random(test, 15, OP_F32, 1.0);
    d.h = op_test_random(test, 15, OP_F32, 1.0);
    d.dz = op_test_doubles(test, 15);
    d.row = op_test_integers(test, 3);
    for (int r = 0; r < 3; r++)
        d.row[r] = r;
    double *gradient = op_test_doubles(test, 15);
    (void)loss_at(&d);
    for (int i = 0; i < 15; i++)
        gradient[i] = d.dz[i];
    op_test_differences("dz", loss_at, &d, d.z, gradient, 15);
}

static void the_reference_loss_gradient_is_its_differences(void **state)
{
    (void)state;
    static const double exponents[] = {1.0, 1.5, 2.0};
    for (int i = 0; i < 3; i++)
        op_test_repeat(differentiate, &exponents[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_gathered_filled_and_padded),
        cmocka_unit_test(row_gradients_are_scattered),
        cmocka_unit_test(clips_become_normalised_patches),
        cmocka_unit_test(loss_and_its_gradient_match_the_reference),
        cmocka_unit_test(a_loss_that_is_not_a_number_is_seen),
        cmocka_unit_test(column_statistics_match_the_reference),
        cmocka_unit_test(the_reference_loss_gradient_is_its_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
