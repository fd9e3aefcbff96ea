/* AdamW, EMA, casts and the gradient's norm against the reference. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/reference/update.h"
#include "tests/support/op_test.h"

enum { COUNT = 9000, ENCODER = 6100, PIECES = 5 };

static const struct reference_update base = {.lr = 3e-4,
                                             .weight_decay = 0.04,
                                             .beta1 = 0.9,
                                             .beta2 = 0.999,
                                             .eps = 1e-8,
                                             .ema_keep = 0.99925,
                                             .gradient_scale = 0.7};

/* Pieces of the flat space: gaps between them stay as they are. */
static const struct {
    int64_t offset, count;
    int step;
    bool decay, ema;
} layout[PIECES] = {
    {0, 1, 3, false, true},        {16, 5000, 1, true, true},   {5020, 1003, 0, true, true},
    {6100, 2501, 40, true, false}, {8650, 33, 2, false, false},
};

struct flat {
    double *weights, *moment1, *moment2, *ema, *gradient, *weights_before, *ema_before;
    float *weights_dev, *moment1_dev, *moment2_dev, *ema_dev;
    void *weights_compute_dev, *ema_compute_dev;
};

static struct flat lay_out(struct op_test *test, bool compute)
{
    struct flat f = {0};
    f.weights = op_test_random(test, COUNT, OP_F32, 0.1);
    f.moment1 = op_test_random(test, COUNT, OP_F32, 1e-3);
    f.moment2 = op_test_random(test, COUNT, OP_F32, 1e-3);
    f.ema = op_test_random(test, ENCODER, OP_F32, 0.1);
    f.gradient = op_test_random(test, COUNT, OP_F32, 1e-3);
    for (int i = 0; i < COUNT; i++)
        f.moment2[i] = (double)(float)(f.moment2[i] * f.moment2[i]);
    f.weights_before = op_test_doubles(test, COUNT);
    f.ema_before = op_test_doubles(test, ENCODER);
    memcpy(f.weights_before, f.weights, COUNT * sizeof(double));
    memcpy(f.ema_before, f.ema, ENCODER * sizeof(double));
    f.weights_dev = op_test_array(test, f.weights, COUNT, OP_F32);
    f.moment1_dev = op_test_array(test, f.moment1, COUNT, OP_F32);
    f.moment2_dev = op_test_array(test, f.moment2, COUNT, OP_F32);
    f.ema_dev = op_test_array(test, f.ema, ENCODER, OP_F32);
    if (compute) {
        f.weights_compute_dev = op_test_array(test, f.weights, COUNT, OP_BF16);
        f.ema_compute_dev = op_test_array(test, f.ema, ENCODER, OP_BF16);
    }
    return f;
}

static struct op_update update_of(struct op_test *test, const struct flat *f,
                                  const struct op_update_piece *pieces)
{
    return (struct op_update){.pieces = pieces,
                              .piece_count = PIECES,
                              .weights_dev = f->weights_dev,
                              .moment1_dev = f->moment1_dev,
                              .moment2_dev = f->moment2_dev,
                              .ema_dev = f->ema_dev,
                              .gradient_dev = op_test_array(test, f->gradient, COUNT, OP_F32),
                              .weights_compute_dev = f->weights_compute_dev,
                              .ema_compute_dev = f->ema_compute_dev,
                              .lr = base.lr,
                              .weight_decay = base.weight_decay,
                              .beta1 = base.beta1,
                              .beta2 = base.beta2,
                              .eps = base.eps,
                              .ema_keep = base.ema_keep,
                              .gradient_scale = base.gradient_scale};
}

/* The error of a new value is one rounding of it; what it moved by must be right to a few roundings
 * of the move besides. */
static void expect_moves(struct op_test *test, const char *what, const void *array_dev,
                         const double *want, const double *before, int64_t count)
{
    const double *got = op_test_read(test, array_dev);
    for (int64_t i = 0; i < count; i++) {
        double bound = 16 * 0x1p-24 * fabs(want[i] - before[i]) +
                       2 * 0x1p-24 * fmax(fabs(want[i]), fabs(before[i]));
        if (!(fabs(got[i] - want[i]) <= bound))
            fail_msg("%s[%lld]: got %.9g, want %.9g, was %.9g", what, (long long)i, got[i], want[i],
                     before[i]);
    }
}

static void update(struct op_test *test, const void *argument)
{
    bool compute = *(const bool *)argument;
    struct flat f = lay_out(test, compute);
    struct op_update_piece pieces[PIECES];
    for (int i = 0; i < PIECES; i++) {
        struct reference_update at = base;
        int64_t offset = layout[i].offset;
        at.step = layout[i].step;
        at.decay = layout[i].decay;
        at.ema = layout[i].ema;
        pieces[i] = (struct op_update_piece){.offset = offset,
                                             .count = layout[i].count,
                                             .decay = layout[i].decay,
                                             .ema = layout[i].ema,
                                             .first_correction = 1.0 - pow(base.beta1, at.step),
                                             .second_correction = 1.0 - pow(base.beta2, at.step)};
        reference_update(f.weights + offset, f.moment1 + offset, f.moment2 + offset,
                         at.ema ? f.ema + offset : NULL, f.gradient + offset, layout[i].count, &at);
    }
    struct op_update all = update_of(test, &f, pieces);
    op_test_ok(test->table->update(test->device, &all));
    expect_moves(test, "weights", f.weights_dev, f.weights, f.weights_before, COUNT);
    expect_moves(test, "ema", f.ema_dev, f.ema, f.ema_before, ENCODER);
    /* A moment is a sum of two rounded products. */
    op_test_expect(test, "moment1", f.moment1_dev, f.moment1, 2 * 0x1p-24, 2 * 0x1p-24);
    op_test_expect(test, "moment2", f.moment2_dev, f.moment2, 4 * 0x1p-24, 0.0);
    if (compute) {
        double half = 1.01 * op_test_epsilon(OP_BF16);
        op_test_expect(test, "bf16 weights", f.weights_compute_dev, f.weights, half, 0.0);
        op_test_expect(test, "bf16 ema", f.ema_compute_dev, f.ema, half, 0.0);
    }
}

static void update_moves_weights_moments_and_target(void **state)
{
    (void)state;
    static const bool kinds[] = {false, true};
    op_test_repeat(update, &kinds[0]);
    op_test_repeat(update, &kinds[1]);
}

/* With ema_keep 1 the target stays, bit for bit. */
static void keep_target(struct op_test *test, const void *argument)
{
    (void)argument;
    struct flat f = lay_out(test, false);
    struct op_update_piece pieces[PIECES] = {{.count = ENCODER,
                                              .ema = true,
                                              .decay = true,
                                              .first_correction = 0.1,
                                              .second_correction = 0.001}};
    struct op_update all = update_of(test, &f, pieces);
    all.piece_count = 1;
    all.ema_keep = 1.0;
    op_test_ok(test->table->update(test->device, &all));
    op_test_expect(test, "ema", f.ema_dev, f.ema_before, 0.0, 0.0);
}

static void a_target_that_is_kept_does_not_move(void **state)
{
    (void)state;
    op_test_repeat(keep_target, NULL);
}

static void norm(struct op_test *test, const void *argument)
{
    int64_t count = *(const int64_t *)argument;
    double *x = op_test_random(test, count, OP_F32, 1e-3), want[1] = {0.0}, nothing[1] = {NAN};
    double *out = op_test_double_array(test, nothing, 1);
    for (int64_t i = 0; i < count; i++)
        want[0] += x[i] * x[i];
    op_test_ok(
        test->table->square_sum(test->device, out, op_test_array(test, x, count, OP_F32), count));
    op_test_expect(test, "square sum", out, want, 1e-12, 0.0);
}

static void square_sum_is_taken_in_double(void **state)
{
    (void)state;
    static const int64_t counts[] = {1, 17, 1000, 100003};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        op_test_repeat(norm, &counts[i]);
}

static void norm_not_finite(struct op_test *test, const void *argument)
{
    double *x = op_test_random(test, 5000, OP_F32, 1.0), nothing[1] = {0.0};
    double *out = op_test_double_array(test, nothing, 1);
    x[4321] = *(const double *)argument;
    op_test_ok(
        test->table->square_sum(test->device, out, op_test_array(test, x, 5000, OP_F32), 5000));
    assert_true(!isfinite(op_test_read(test, out)[0]));
}

static void a_norm_that_is_not_finite_stays_so(void **state)
{
    (void)state;
    static const double values[] = {(double)NAN, (double)INFINITY, (double)-INFINITY};
    for (int i = 0; i < 3; i++)
        op_test_repeat(norm_not_finite, &values[i]);
}

struct cast_case {
    int64_t rows, columns;
    enum op_dtype to, from;
};

static void cast(struct op_test *test, const void *argument)
{
    const struct cast_case *c = argument;
    double *x = op_test_random(test, c->rows * c->columns, c->from, 1.0);
    struct op_matrix to = op_test_matrix(test, NULL, c->rows, c->columns, c->to);
    op_test_ok(
        test->table->cast(test->device, to, op_test_matrix(test, x, c->rows, c->columns, c->from)));
    /* What the host's own rounding to nearest even gives, exactly. */
    struct op_matrix want = op_test_matrix(test, x, c->rows, c->columns, c->to);
    op_test_expect(test, "cast", to.data_dev, op_test_read(test, want.data_dev), 0.0, 0.0);
}

static void casts_round_to_nearest_even(void **state)
{
    (void)state;
    static const struct cast_case kinds[] = {{3, 7, OP_BF16, OP_F32},
                                             {5, 1000, OP_F32, OP_BF16},
                                             {1, 4097, OP_F32, OP_F32},
                                             {33, 100, OP_BF16, OP_BF16}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        op_test_repeat(cast, &kinds[i]);
}

static void memory(struct op_test *test, const void *argument)
{
    (void)argument;
    enum { BYTES = 5000 };
    unsigned char here[BYTES], there[BYTES];
    void *a = NULL, *b = NULL, *host = NULL;
    op_test_ok(test->table->allocate(test->device, &a, BYTES));
    op_test_ok(test->table->allocate(test->device, &b, BYTES));
    op_test_ok(test->table->host_allocate(test->device, &host, BYTES));
    assert_int_equal((uintptr_t)a % 256, 0);
    op_test_ok(test->table->download(test->device, there, a, BYTES));
    op_test_ok(test->table->synchronize(test->device));
    for (int i = 0; i < BYTES; i++) {
        assert_int_equal(there[i], 0);
        here[i] = (unsigned char)(i * 7);
    }
    memcpy(host, here, BYTES);
    op_test_ok(test->table->upload(test->device, a, host, BYTES));
    op_test_ok(test->table->copy(test->device, b, a, BYTES));
    op_test_ok(test->table->zero(test->device, a, BYTES));
    op_test_ok(test->table->download(test->device, there, b, BYTES));
    op_test_ok(test->table->synchronize(test->device));
    assert_memory_equal(here, there, BYTES);
    op_test_ok(test->table->download(test->device, there, a, BYTES));
    op_test_ok(test->table->synchronize(test->device));
    assert_int_equal(there[1234], 0);
    test->table->release(test->device, a);
    test->table->release(test->device, b);
    test->table->host_release(test->device, host);
}

static void memory_is_zeroed_copied_and_aligned(void **state)
{
    (void)state;
    op_test_repeat(memory, NULL);
}

/* Every function of the table is there: a missing one would be a jump to address 0. */
static void slots(struct op_test *test, const void *argument)
{
    (void)argument;
    size_t first = offsetof(struct op_table, allocate);
    const char *functions = (const char *)test->table + first;
    for (size_t i = 0; i < (sizeof *test->table - first) / sizeof(void *); i++) {
        void *slot = NULL;
        memcpy(&slot, functions + i * sizeof slot, sizeof slot);
        assert_non_null(slot);
    }
    assert_true(test->table->row_multiple >= 1);
}

static void the_table_is_complete(void **state)
{
    (void)state;
    op_test_repeat(slots, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(update_moves_weights_moments_and_target),
        cmocka_unit_test(a_target_that_is_kept_does_not_move),
        cmocka_unit_test(square_sum_is_taken_in_double),
        cmocka_unit_test(a_norm_that_is_not_finite_stays_so),
        cmocka_unit_test(casts_round_to_nearest_even),
        cmocka_unit_test(memory_is_zeroed_copied_and_aligned),
        cmocka_unit_test(the_table_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
