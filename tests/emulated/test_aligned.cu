/* Operators take memory that is aligned for single elements only, which a card must not load 16
 * bytes at a time: the sanitizer sees it where a kernel does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include "model/device.h"
#include <cmocka.h>
}

#include <cmath>

#include "tests/emulator/device.h"

enum { HEADS = 2, WIDTH = 16, COLUMNS = HEADS * WIDTH, ROWS = 3, COUNT = ROWS * COLUMNS };

static struct model_device card;

static int open_card(void **)
{
    return model_device_open(&card, CONFIG_DEVICE_EMULATED, 1, 0, true) == LS_OK ? 0 : -1;
}

static int close_card(void **)
{
    model_device_close(&card);
    return 0;
}

/* COUNT numbers and some, `shift` of them further than memory begins. */
template <typename T> struct numbers {
    T *memory;
    T *at;
    explicit numbers(int shift)
    {
        void *made = nullptr;
        assert_int_equal(card.table->allocate(card.device, &made, (COUNT + WIDTH) * sizeof(T)),
                         LS_OK);
        memory = static_cast<T *>(made);
        at = memory + shift;
    }
    ~numbers()
    {
        card.table->release(card.device, memory);
    }
};

static float value(int i)
{
    return static_cast<float>(i % 17) / 8.0F - 1.0F;
}

static void elements_are_taken_from_anywhere(void **)
{
    for (int shift : {0, 1, 4, 8}) {
        numbers<float> x(shift);
        numbers<__nv_bfloat16> y(shift);
        numbers<__nv_bfloat16> dy(shift);
        for (int i = 0; i < COUNT; i++)
            x.at[i] = value(i);
        /* The last thread's share is not whole. */
        const struct op_matrix from = {x.at, 1, COUNT - 3, OP_F32};
        const struct op_matrix to = {y.at, 1, COUNT - 3, OP_BF16};
        const struct op_matrix gradient = {dy.at, 1, COUNT - 3, OP_BF16};
        assert_int_equal(card.table->cast(card.device, to, from), LS_OK);
        assert_int_equal(card.table->cast(card.device, gradient, from), LS_OK);
        assert_int_equal(card.table->gelu_bwd(card.device, gradient, gradient, from), LS_OK);
        assert_int_equal(card.table->synchronize(card.device), LS_OK);
        for (int i = 0; i < COUNT - 3; i++) {
            const double a = value(i);
            const double slope = 0.5 * (1.0 + std::erf(a / std::sqrt(2.0))) +
                                 a * std::exp(-0.5 * a * a) / std::sqrt(2.0 * M_PI);
            assert_true(__bfloat162float(y.at[i]) == value(i));
            assert_true(std::fabs(__bfloat162float(dy.at[i]) - a * slope) < 0.01);
        }
        assert_true(__bfloat162float(y.at[COUNT - 3]) == 0.0F);
    }
}

static void heads_are_taken_from_anywhere(void **)
{
    for (int shift : {0, 1, 2, 8}) {
        numbers<__nv_bfloat16> in(shift);
        numbers<__nv_bfloat16> heads(shift);
        numbers<__nv_bfloat16> back(shift);
        const struct op_matrix matrix = {in.at, ROWS, COLUMNS, OP_BF16};
        const struct op_matrix out = {back.at, ROWS, COLUMNS, OP_BF16};
        for (int i = 0; i < COUNT; i++)
            in.at[i] = __float2bfloat16(value(i));
        assert_int_equal(card.table->split_heads_fwd(card.device, heads.at, ROWS, matrix, 0, HEADS,
                                                     WIDTH, nullptr, nullptr),
                         LS_OK);
        assert_int_equal(card.table->split_heads_bwd(card.device, out, 0, heads.at, ROWS, HEADS,
                                                     WIDTH, nullptr, nullptr),
                         LS_OK);
        assert_int_equal(card.table->synchronize(card.device), LS_OK);
        for (int h = 0; h < HEADS; h++)
            for (int r = 0; r < ROWS; r++)
                for (int c = 0; c < WIDTH; c++)
                    assert_true(__bfloat162float(heads.at[(h * ROWS + r) * WIDTH + c]) ==
                                value(r * COLUMNS + h * WIDTH + c));
        for (int i = 0; i < COUNT; i++)
            assert_true(__bfloat162float(back.at[i]) == value(i));
    }
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_are_taken_from_anywhere),
        cmocka_unit_test(heads_are_taken_from_anywhere),
    };
    return cmocka_run_group_tests(tests, open_card, close_card);
}
