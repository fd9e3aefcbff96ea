/* Fused attention of ragged sequences on libraries that behave otherwise than the newest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include "model/device.h"
#include <cmocka.h>
}

#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/emulator/device.h"

enum { HEADS = 2, WIDTH = 16, SEQUENCES = 3, ROWS = 160, LONGEST = 64 };

static const int32_t starts[SEQUENCES] = {0, 64, 120};
static const int32_t lengths[SEQUENCES] = {61, 7, 33};

struct attention_results {
    std::vector<uint16_t> dq;
    int64_t refused;
};

static void *device_memory(const struct model_device &card, size_t bytes)
{
    void *memory = nullptr;
    assert_int_equal(card.table->allocate(card.device, &memory, bytes), LS_OK);
    return memory;
}

static void *noise(const struct model_device &card, size_t count, unsigned seed)
{
    auto *x = static_cast<__nv_bfloat16 *>(device_memory(card, count * sizeof(__nv_bfloat16)));
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525U + 1013904223U;
        x[i] = __float2bfloat16(static_cast<float>(seed >> 8) * 0x1p-23F - 1.0F);
    }
    return x;
}

/* Forward and backward by a library that is faulty in the way that `wrong` says. */
static attention_results run(const char *wrong, bool deterministic)
{
    struct model_device card;
    struct op_sequences s = {};
    const size_t count = HEADS * ROWS * WIDTH;
    attention_results out;
    const struct op_limits limits = {ROWS, HEADS * WIDTH, HEADS, WIDTH, LONGEST, SEQUENCES};
    assert_int_equal(setenv("EMULATOR_CUDNN_WRONG", wrong, 1), 0);
    assert_int_equal(model_device_open(&card, CONFIG_DEVICE_EMULATED, 1, 0, deterministic), LS_OK);
    assert_int_equal(card.table->reserve(card.device, &limits), LS_OK);
    auto *lists = static_cast<int32_t *>(device_memory(card, 2 * sizeof starts));
    (void)memcpy(lists, starts, sizeof starts);
    (void)memcpy(lists + SEQUENCES, lengths, sizeof lengths);
    s.count = SEQUENCES;
    s.rows = s.head_rows = ROWS;
    s.max_length = LONGEST;
    for (int32_t length : lengths)
        s.true_rows += length;
    s.start = starts;
    s.length = lengths;
    s.start_dev = lists;
    s.length_dev = lists + SEQUENCES;
    void *inputs[4]; /* q, k, v, dO */
    for (unsigned i = 0; i < 4; i++)
        inputs[i] = noise(card, count, i);
    void *outputs[4]; /* o, dq, dk, dv */
    for (void *&output : outputs)
        output = noise(card, count, 9);
    auto *lse = static_cast<float *>(device_memory(card, HEADS * ROWS * sizeof(float)));
    const struct op_matrix o = {outputs[0], ROWS, HEADS * WIDTH, OP_BF16};
    const struct op_matrix d_o = {inputs[3], ROWS, HEADS * WIDTH, OP_BF16};
    assert_int_equal(card.table->attention_fwd(card.device, o, lse, inputs[0], inputs[1], inputs[2],
                                               HEADS, WIDTH, &s, &s),
                     LS_OK);
    assert_int_equal(card.table->attention_bwd(card.device, outputs[1], outputs[2], outputs[3], d_o,
                                               o, lse, inputs[0], inputs[1], inputs[2], HEADS,
                                               WIDTH, &s, &s),
                     LS_OK);
    assert_int_equal(card.table->synchronize(card.device), LS_OK);
    out.dq.resize(count);
    (void)memcpy(out.dq.data(), outputs[1], count * sizeof out.dq[0]);
    out.refused = card.table->plan_counts(card.device).attention_refused;
    for (void *memory : inputs)
        card.table->release(card.device, memory);
    for (void *memory : outputs)
        card.table->release(card.device, memory);
    card.table->release(card.device, lists);
    card.table->release(card.device, lse);
    model_device_close(&card);
    (void)unsetenv("EMULATOR_CUDNN_WRONG");
    return out;
}

static void sums_that_the_library_leaves_as_they_are_get_cleared(void **)
{
    const attention_results right = run("", false);
    const attention_results wrong = run("sums", false);
    assert_int_equal(right.refused, 0);
    assert_int_equal(wrong.refused, 0);
    assert_true(right.dq == wrong.dq);
}

static void a_library_that_is_wrong_otherwise_is_refused(void **)
{
    assert_int_equal(run("scale", false).refused, 2); /* forward and backward */
}

/* The stand-in refuses lists that do not begin where their descriptors say. */
static void pieces_of_sequences_find_their_lists(void **)
{
    assert_int_equal(run("", true).refused, 0);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_that_the_library_leaves_as_they_are_get_cleared),
        cmocka_unit_test(a_library_that_is_wrong_otherwise_is_refused),
        cmocka_unit_test(pieces_of_sequences_find_their_lists),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
