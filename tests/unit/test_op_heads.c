/* Head split and rotary positions against the reference.  Error bound: two products and a sum of
 * float32, on sines that are float32 themselves: 4 roundings of the result or of the rms. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/reference/heads.h"
#include "tests/support/op_test.h"

enum { ROWS_BETWEEN = 3 }; /* heads */

struct heads_case {
    int64_t rows;
    int heads, head_width;
    enum op_dtype dtype;
    bool turn;
    int grid_times, grid_rows, grid_columns;
    int64_t column, more; /* columns before and after the heads */
};

static const struct heads_case cases[] = {
    {1, 1, 16, OP_F32, true, 1, 1, 1, 0, 0},     {9, 3, 22, OP_F32, true, 3, 2, 4, 66, 66},
    {50, 2, 24, OP_F32, true, 4, 5, 3, 48, 48},  {33, 6, 64, OP_F32, true, 8, 14, 14, 0, 768},
    {70, 2, 88, OP_F32, true, 2, 7, 7, 176, 0},  {17, 4, 6, OP_F32, false, 1, 1, 1, 5, 3},
    {40, 2, 64, OP_BF16, true, 8, 7, 7, 128, 0}, {12, 3, 14, OP_BF16, true, 2, 3, 3, 0, 0},
    {80, 2, 64, OP_F32, true, 8, 16, 32, 0, 64}, /* crop_size [256, 512] */
};

struct tables {
    struct reference_heads at;
    struct op_rotary rotary;
    const int32_t *positions_dev;
};

static struct tables lay_out(struct op_test *test, const struct heads_case *c)
{
    struct tables t = {0};
    int width = 2 * (c->head_width / 3 / 2),
        tokens = c->grid_times * c->grid_rows * c->grid_columns;
    int positions = c->grid_times;
    positions = c->grid_rows > positions ? c->grid_rows : positions;
    positions = c->grid_columns > positions ? c->grid_columns : positions;
    int32_t *token = op_test_integers(test, c->rows);
    for (int64_t r = 0; r < c->rows; r++)
        token[r] = (int32_t)((r * 37 + 11) % tokens);
    t.at =
        (struct reference_heads){.rows = c->rows,
                                 .columns = c->column + (int64_t)c->heads * c->head_width + c->more,
                                 .column = c->column,
                                 .head_rows = c->rows + ROWS_BETWEEN,
                                 .heads = c->heads,
                                 .head_width = c->head_width,
                                 .turn = c->turn,
                                 .axis_width = width,
                                 .grid_rows = c->grid_rows,
                                 .grid_columns = c->grid_columns,
                                 .positions = token};
    int64_t entries = (int64_t)positions * width;
    double *cosine = op_test_doubles(test, entries), *sine = op_test_doubles(test, entries);
    for (int64_t i = 0; i < entries; i++) {
        double angle = reference_rotary_angle((int)(i / width), (int)(i % width), width);
        cosine[i] = cos(angle);
        sine[i] = sin(angle);
    }
    t.rotary = (struct op_rotary){.axis_width = width,
                                  .grid_rows = c->grid_rows,
                                  .grid_columns = c->grid_columns,
                                  .cos_dev = op_test_array(test, cosine, entries, OP_F32),
                                  .sin_dev = op_test_array(test, sine, entries, OP_F32),
                                  .positions = positions};
    t.positions_dev = op_test_integer_array(test, token, c->rows);
    return t;
}

static double bound_of(enum op_dtype dtype)
{
    return 4 * 0x1p-24 + (dtype == OP_BF16 ? op_test_epsilon(OP_BF16) : 0.0);
}

static void split_fwd(struct op_test *test, const void *argument)
{
    const struct heads_case *c = argument;
    struct tables t = lay_out(test, c);
    int64_t count = t.at.head_rows * c->heads * c->head_width;
    double *in = op_test_random(test, c->rows * t.at.columns, c->dtype, 1.0);
    double *want = op_test_random(test, count, c->dtype, 1.0);
    void *out = op_test_array(test, want, count, c->dtype);
    op_test_ok(test->table->split_heads_fwd(
        test->device, out, t.at.head_rows,
        op_test_matrix(test, in, c->rows, t.at.columns, c->dtype), c->column, c->heads,
        c->head_width, c->turn ? &t.rotary : NULL, t.positions_dev));
    reference_split_heads_fwd(want, in, &t.at); /* what lies between heads stays as it was */
    op_test_expect(test, "heads", out, want, bound_of(c->dtype), 4 * 0x1p-24);
}

static void split_bwd(struct op_test *test, const void *argument)
{
    const struct heads_case *c = argument;
    struct tables t = lay_out(test, c);
    int64_t count = t.at.head_rows * c->heads * c->head_width;
    double *gradient = op_test_random(test, count, c->dtype, 1.0);
    double *want = op_test_random(test, c->rows * t.at.columns, c->dtype, 1.0);
    struct op_matrix din = op_test_matrix(test, want, c->rows, t.at.columns, c->dtype);
    op_test_ok(test->table->split_heads_bwd(
        test->device, din, c->column, op_test_array(test, gradient, count, c->dtype),
        t.at.head_rows, c->heads, c->head_width, c->turn ? &t.rotary : NULL, t.positions_dev));
    reference_split_heads_bwd(want, gradient, &t.at); /* other columns stay as they were */
    op_test_expect(test, "din", din.data_dev, want, bound_of(c->dtype), 4 * 0x1p-24);
}

static void heads_are_split_and_turned(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        op_test_repeat(split_fwd, &cases[i]);
}

/* Row, column and angle of tokens of 256 x 512 pixels: V-JEPA 2's separate_positions and
 * rotate_queries_or_keys in float64 (torch 2.15), head width 64, channel c holding (c + 1) / 64. */
static void tokens_of_wide_pictures_turn_as_in_the_public_code(void **state)
{
    enum { TOKENS = 8, WIDTH = 64, ROWS = 16, COLUMNS = 32, CHANNELS = 11 };
    static const int channels[CHANNELS] = {0, 1, 13, 19, 20, 25, 39, 40, 47, 59, 63};
    static const int32_t tokens[TOKENS] = {0, 31, 32, 47, 511, 512, 1061, 4095};
    static const double golden[TOKENS][CHANNELS] = {
        {0.015625000, 0.031250000, 0.218750000, 0.312500000, 0.328125000, 0.406250000, 0.625000000,
         0.640625000, 0.750000000, 0.937500000, 1.000000000},
        {0.015625000, 0.031250000, 0.218750000, 0.312500000, 0.328125000, 0.406250000, 0.625000000,
         0.851156528, 0.785161531, 0.944650005, 1.000000000},
        {0.015625000, 0.031250000, 0.218750000, 0.312500000, -0.111968957, 0.410135873, 0.625153048,
         0.640625000, 0.750000000, 0.937500000, 1.000000000},
        {0.015625000, 0.031250000, 0.218750000, 0.312500000, -0.111968957, 0.410135873, 0.625153048,
         -0.913426464, 0.767245014, 0.940966805, 1.000000000},
        {0.015625000, 0.031250000, 0.218750000, 0.312500000, -0.472809041, 0.460062521, 0.627291579,
         0.851156528, 0.785161531, 0.944650005, 1.000000000},
        {-0.017853745, 0.034863549, 0.231122534, 0.312574562, 0.328125000, 0.406250000, 0.625000000,
         0.640625000, 0.750000000, 0.937500000, 1.000000000},
        {-0.034917839, 0.033024191, 0.242575257, 0.312649104, -0.111968957, 0.410135873,
         0.625153048, 0.811015143, 0.755795920, 0.938657083, 1.000000000},
        {-0.008751108, -0.023874372, 0.284584304, 0.313021518, -0.472809041, 0.460062521,
         0.627291579, 0.851156528, 0.785161531, 0.944650005, 1.000000000},
    };
    double in[TOKENS * WIDTH];
    double out[TOKENS * WIDTH];
    (void)state;
    for (int i = 0; i < TOKENS * WIDTH; i++)
        in[i] = (i % WIDTH + 1) / (double)WIDTH;
    const struct reference_heads at = {.rows = TOKENS,
                                       .columns = WIDTH,
                                       .head_rows = TOKENS,
                                       .heads = 1,
                                       .head_width = WIDTH,
                                       .turn = true,
                                       .axis_width = 20,
                                       .grid_rows = ROWS,
                                       .grid_columns = COLUMNS,
                                       .positions = tokens};
    reference_split_heads_fwd(out, in, &at);
    for (int i = 0; i < TOKENS; i++)
        for (int c = 0; c < CHANNELS; c++)
            if (!(fabs(out[i * WIDTH + channels[c]] - golden[i][c]) < 1e-9))
                fail_msg("token %d, channel %d: %.9f, not %.9f", tokens[i], channels[c],
                         out[i * WIDTH + channels[c]], golden[i][c]);
}

static void head_gradients_are_joined_and_turned_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        op_test_repeat(split_bwd, &cases[i]);
}

struct differences {
    struct reference_heads at;
    double *in, *heads, *weight;
};

static double weighted_output(void *context)
{
    struct differences *d = context;
    double sum = 0.0;
    reference_split_heads_fwd(d->heads, d->in, &d->at);
    for (int64_t i = 0; i < d->at.head_rows * d->at.heads * d->at.head_width; i++)
        sum += d->weight[i] * d->heads[i];
    return sum;
}

static void differentiate(struct op_test *test, const void *argument)
{
    const struct heads_case *c = argument;
    struct differences d = {.at = lay_out(test, c).at};
    int64_t count = d.at.head_rows * c->heads * c->head_width, all = c->rows * d.at.columns;
    d.in = op_test_random(test, all, OP_F32, 1.0);
    d.weight = op_test_random(test, count, OP_F32, 1.0);
    d.heads = op_test_doubles(test, count);
    double *gradient = op_test_doubles(test, all);
    reference_split_heads_bwd(gradient, d.weight, &d.at);
    op_test_differences("din", weighted_output, &d, d.in, gradient, all);
}

static void the_reference_gradient_is_its_differences(void **state)
{
    (void)state;
    op_test_repeat(differentiate, &cases[1]);
}

static void refuse(struct op_test *test, const void *argument)
{
    (void)argument;
    struct op_matrix in = op_test_matrix(test, NULL, 2, 12, OP_F32);
    void *out = op_test_array(test, NULL, 48, OP_F32);
    assert_int_equal(test->table->split_heads_fwd(test->device, out, 2, in, 4, 3, 4, NULL, NULL),
                     LS_USAGE);
    assert_int_equal(test->table->split_heads_fwd(test->device, out, 2, in, 0, 4, 3, NULL, NULL),
                     LS_USAGE);
    assert_non_null(strstr(status_message(), "4 heads of 3 (which must be even)"));
    assert_int_equal(test->table->split_heads_bwd(test->device, in, 3, out, 2, 3, 3, NULL, NULL),
                     LS_USAGE);
    assert_int_equal(test->table->split_heads_fwd(test->device, out, 1, in, 0, 3, 4, NULL, NULL),
                     LS_USAGE);
    struct op_rotary wide = {.axis_width = 2};
    assert_int_equal(test->table->split_heads_bwd(test->device, in, 0, out, 2, 3, 4, &wide, NULL),
                     LS_USAGE);
}

static void heads_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    op_test_repeat(refuse, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_split_and_turned),
        cmocka_unit_test(tokens_of_wide_pictures_turn_as_in_the_public_code),
        cmocka_unit_test(head_gradients_are_joined_and_turned_back),
        cmocka_unit_test(the_reference_gradient_is_its_differences),
        cmocka_unit_test(heads_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
