/* The cache of matrix products: more shapes than it holds, and the workspace's limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "model/ops.h"
#include "tests/support/op_test.h"

enum { SHAPES = 1300, CACHED = 1024 };

struct ones {
    struct op_device *device;
    void *x, *w, *y;
};

static void open_ones(struct ones *ones)
{
    op_test_ok(op_cpu_open(&ones->device, 2));
    op_test_ok(op_table_cpu.allocate(ones->device, &ones->x, SHAPES * sizeof(float)));
    op_test_ok(op_table_cpu.allocate(ones->device, &ones->w, SHAPES * sizeof(float)));
    op_test_ok(op_table_cpu.allocate(ones->device, &ones->y, SHAPES * sizeof(float)));
    for (int i = 0; i < SHAPES; i++) {
        ((float *)ones->x)[i] = 1.0f;
        ((float *)ones->w)[i] = (float)(i % 3);
    }
}

static void close_ones(struct ones *ones)
{
    op_table_cpu.release(ones->device, ones->x);
    op_table_cpu.release(ones->device, ones->w);
    op_table_cpu.release(ones->device, ones->y);
    op_cpu_close(&ones->device);
}

/* Sum of w[0 .. count) by a product of that many terms: whole numbers, so exact in any order. */
static void expect_sum(const struct ones *ones, int count, bool accumulate)
{
    float *y = ones->y;
    float want = accumulate ? *y : 0.0f;
    for (int i = 0; i < count; i++)
        want += (float)(i % 3);
    op_test_ok(op_table_cpu.linear_fwd(ones->device, (struct op_matrix){y, 1, 1, OP_F32},
                                       (struct op_matrix){ones->x, 1, count, OP_F32},
                                       (struct op_matrix){ones->w, 1, count, OP_F32}, NULL,
                                       accumulate));
    assert_true(*y == want);
}

static void products_stay_right_when_the_cache_overflows(void **state)
{
    (void)state;
    assert_true(SHAPES > CACHED);
    struct ones ones;
    open_ones(&ones);
    for (int count = 1; count <= SHAPES; count++)
        expect_sum(&ones, count, false);
    for (int count = 1; count <= 30; count++)
        expect_sum(&ones, count, count % 2 == 0);
    close_ones(&ones);
}

/* Shapes that differ in their rows alone, as mask lengths make them. */
static void the_cache_tells_rows_apart(void **state)
{
    (void)state;
    struct ones ones;
    open_ones(&ones);
    float *y = ones.y;
    for (int rows = 1; rows < SHAPES; rows += 3) {
        for (int i = 0; i < SHAPES; i++)
            y[i] = -1.0f;
        op_test_ok(op_table_cpu.linear_fwd(ones.device, (struct op_matrix){y, rows, 1, OP_F32},
                                           (struct op_matrix){ones.x, rows, 1, OP_F32},
                                           (struct op_matrix){ones.x, 1, 1, OP_F32}, NULL, false));
        assert_true(y[rows - 1] == 1.0f && y[rows] == -1.0f);
    }
    close_ones(&ones);
}

static void two_devices_do_not_disturb_each_other(void **state)
{
    (void)state;
    struct ones a, b;
    open_ones(&a);
    open_ones(&b);
    expect_sum(&a, 20, false);
    expect_sum(&b, 20, true);
    close_ones(&a);
    expect_sum(&b, 20, true);
    expect_sum(&b, 21, true);
    close_ones(&b);
}

static void a_shape_beyond_the_reserved_is_refused(void **state)
{
    (void)state;
    struct ones ones;
    const struct op_limits limits = {
        .rows = 8, .columns = 64, .heads = 1, .head_width = 8, .max_length = 4, .sequences = 1};
    open_ones(&ones);
    const struct op_matrix small = {ones.x, 2, 64, OP_F32};
    const struct op_matrix small_out = {ones.w, 2, 64, OP_F32};
    assert_int_equal(
        op_table_cpu.layernorm_fwd(ones.device, small_out, NULL, NULL, small, NULL, NULL, 1e-6f),
        LS_USAGE);
    op_test_ok(op_table_cpu.reserve(ones.device, &limits));
    op_test_ok(
        op_table_cpu.layernorm_fwd(ones.device, small_out, NULL, NULL, small, NULL, NULL, 1e-6f));
    int32_t start = 0, length = 800;
    const struct op_sequences all = {.count = 1,
                                     .rows = 800,
                                     .true_rows = 800,
                                     .head_rows = 800,
                                     .max_length = 800,
                                     .start = &start,
                                     .length = &length,
                                     .start_dev = &start,
                                     .length_dev = &length};
    const struct op_matrix o = {ones.w, 800, 1, OP_F32};
    assert_int_equal(
        op_table_cpu.attention_fwd(ones.device, o, NULL, ones.x, ones.x, ones.x, 1, 1, &all, &all),
        LS_USAGE);
    assert_int_equal(op_table_cpu.attention_bwd(ones.device, ones.w, ones.w, ones.w, o, o, ones.x,
                                                ones.x, ones.x, ones.x, 1, 1, &all, &all),
                     LS_USAGE);
    close_ones(&ones);
}

static void no_threads_are_refused(void **state)
{
    struct op_device *device = NULL;
    (void)state;
    assert_int_equal(op_cpu_open(&device, 0), LS_USAGE);
    assert_null(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_stay_right_when_the_cache_overflows),
        cmocka_unit_test(the_cache_tells_rows_apart),
        cmocka_unit_test(two_devices_do_not_disturb_each_other),
        cmocka_unit_test(a_shape_beyond_the_reserved_is_refused),
        cmocka_unit_test(no_threads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
