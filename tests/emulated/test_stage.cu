/* Micro-batches that are staged ahead: on streams that run as late as the program's waits allow, a
 * forgotten one shows as another gradient. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include "model/device.h"
#include "tests/support/jepa_case.h"
#include <cmocka.h>
}

#include <cstring>
#include <vector>

#include "tests/emulator/runtime.h"

enum { BATCHES = 5 };

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

/* The case's clips with another brightness for every micro-batch, in one buffer that is written
 * anew each time, as a loader does. */
struct source {
    struct jepa_case it;
    std::vector<float> buffer;
    struct jepa_batch batch;

    explicit source(int which)
    {
        int count = 0;
        assert_int_equal(jepa_case_open(&it, &jepa_case_shapes(&count)[which], 11), LS_OK);
        buffer.resize(static_cast<size_t>(it.pixel_count));
        batch = it.batch;
        batch.pixels = buffer.data();
    }
    ~source()
    {
        jepa_case_close(&it);
    }
    void fill(int number)
    {
        for (size_t i = 0; i < buffer.size(); i++)
            buffer[i] = it.pixels[i] * (1.0F + 0.3F * static_cast<float>(number));
    }
};

static std::vector<float> gradient(struct jepa *jepa, const struct jepa_case &it)
{
    double norm = 0.0;
    assert_int_equal(jepa_gradient_norm(jepa, &norm), LS_OK); /* waits for the device */
    const float *host = jepa_gradient_host(jepa);
    return std::vector<float>(host, host + it.parameters->flat_count);
}

enum class way { one_by_one, ahead, without_wait };

static std::vector<float> run(source &from, way how)
{
    struct jepa *jepa = nullptr;
    assert_int_equal(jepa_case_model(&jepa, &from.it, card.table, card.device), LS_OK);
    assert_int_equal(jepa_begin_step(jepa), LS_OK);
    if (how != way::one_by_one) {
        from.fill(0);
        assert_int_equal(jepa_stage(jepa, &from.batch), LS_OK);
    }
    for (int i = 0; i < BATCHES; i++) {
        jepa_gradient_ready ready = i + 1 == BATCHES ? jepa_case_ignore : nullptr;
        if (how == way::one_by_one) {
            from.fill(i);
            assert_int_equal(jepa_micro_batch(jepa, &from.batch, 0.2, ready, nullptr), LS_OK);
            continue;
        }
        assert_int_equal(jepa_staged_micro_batch(jepa, 0.2, ready, nullptr), LS_OK);
        if (i + 1 == BATCHES)
            break;
        if (how == way::ahead)
            assert_int_equal(jepa_stage_wait(jepa), LS_OK);
        from.fill(i + 1);
        assert_int_equal(jepa_stage(jepa, &from.batch), LS_OK);
    }
    std::vector<float> out = gradient(jepa, from.it);
    jepa_close(&jepa);
    return out;
}

static bool same_bits(const std::vector<float> &a, const std::vector<float> &b)
{
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof a[0]) == 0;
}

static void staging_ahead_changes_no_bit(void **)
{
    for (int which = 0; which < 3; which++) {
        source from(which);
        assert_true(same_bits(run(from, way::one_by_one), run(from, way::ahead)));
    }
}

static void memory_that_is_written_before_the_wait_shows(void **)
{
    source from(0);
    assert_false(same_bits(run(from, way::one_by_one), run(from, way::without_wait)));
}

static void the_host_waits_neither_for_copies_nor_for_the_computation(void **)
{
    source from(0);
    struct jepa *jepa = nullptr;
    assert_int_equal(jepa_case_model(&jepa, &from.it, card.table, card.device), LS_OK);
    assert_int_equal(jepa_begin_step(jepa), LS_OK);
    const int64_t copies = emulator_count().copies;
    from.fill(0);
    assert_int_equal(jepa_stage(jepa, &from.batch), LS_OK);
    assert_int_equal(jepa_staged_micro_batch(jepa, 1.0, nullptr, nullptr), LS_OK);
    assert_int_equal(jepa_stage(jepa, &from.batch), LS_OK);
    assert_int_equal(emulator_count().copies, copies); /* all of it is still queued */
    assert_int_equal(jepa_stage_wait(jepa), LS_OK);
    assert_true(emulator_count().copies > copies);
    assert_int_equal(jepa_unstage(jepa), LS_OK);
    jepa_close(&jepa);
}

static void copies_come_from_pinned_memory(void **)
{
    source from(0);
    struct jepa *jepa = nullptr;
    const size_t bytes = from.buffer.size() * sizeof from.buffer[0];
    assert_int_equal(jepa_case_model(&jepa, &from.it, card.table, card.device), LS_OK);
    for (int pinned = 0; pinned < 2; pinned++) {
        if (pinned == 1)
            assert_int_equal(card.table->host_pin(card.device, from.buffer.data(), bytes), LS_OK);
        const int64_t pageable = emulator_count().pageable_copies;
        from.fill(0);
        assert_int_equal(jepa_begin_step(jepa), LS_OK);
        assert_int_equal(jepa_micro_batch(jepa, &from.batch, 1.0, jepa_case_ignore, nullptr),
                         LS_OK);
        (void)gradient(jepa, from.it);
        assert_int_equal(emulator_count().pageable_copies - pageable, pinned == 1 ? 0 : 1);
    }
    card.table->host_unpin(card.device, from.buffer.data());
    jepa_close(&jepa);
}

/* The runtime remembers the refusal until it is asked, which the next launch does. */
static void memory_that_cannot_be_pinned_stops_no_step(void **)
{
    source from(0);
    struct jepa *jepa = nullptr;
    const size_t bytes = from.buffer.size() * sizeof from.buffer[0];
    assert_int_equal(jepa_case_model(&jepa, &from.it, card.table, card.device), LS_OK);
    assert_int_equal(card.table->host_pin(card.device, from.buffer.data(), bytes), LS_OK);
    assert_int_equal(card.table->host_pin(card.device, from.buffer.data(), bytes), LS_DEVICE);
    status_clear();
    from.fill(0);
    assert_int_equal(jepa_begin_step(jepa), LS_OK);
    assert_int_equal(jepa_micro_batch(jepa, &from.batch, 1.0, jepa_case_ignore, nullptr), LS_OK);
    card.table->host_unpin(card.device, from.buffer.data());
    jepa_close(&jepa);
}

static void two_micro_batches_are_staged_at_most(void **)
{
    source from(1);
    struct jepa *jepa = nullptr;
    from.fill(0);
    assert_int_equal(jepa_case_model(&jepa, &from.it, card.table, card.device), LS_OK);
    assert_int_equal(jepa_begin_step(jepa), LS_OK);
    assert_int_equal(jepa_staged_micro_batch(jepa, 1.0, nullptr, nullptr), LS_USAGE);
    assert_int_equal(jepa_stage(jepa, &from.batch), LS_OK);
    assert_int_equal(jepa_stage(jepa, &from.batch), LS_OK);
    assert_int_equal(jepa_stage(jepa, &from.batch), LS_USAGE);
    assert_int_equal(jepa_micro_batch(jepa, &from.batch, 1.0, nullptr, nullptr), LS_USAGE);
    assert_int_equal(jepa_unstage(jepa), LS_OK);
    assert_int_equal(jepa_micro_batch(jepa, &from.batch, 1.0, nullptr, nullptr), LS_OK);
    jepa_close(&jepa);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(staging_ahead_changes_no_bit),
        cmocka_unit_test(memory_that_is_written_before_the_wait_shows),
        cmocka_unit_test(the_host_waits_neither_for_copies_nor_for_the_computation),
        cmocka_unit_test(copies_come_from_pinned_memory),
        cmocka_unit_test(memory_that_cannot_be_pinned_stops_no_step),
        cmocka_unit_test(two_micro_batches_are_staged_at_most),
    };
    return cmocka_run_group_tests(tests, open_card, close_card);
}
