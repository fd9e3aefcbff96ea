/* The loader over videos that fail: replaced alike everywhere, counted, and at last too many in a
 * row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/log.h"
#include "tests/fakes/dataset.h"

static enum fake_behaviour some_are_bad(int64_t video)
{
    return video == 4 ? FAKE_BAD_MIDWAY : video == 9 ? FAKE_BAD_AT_START : FAKE_GOOD;
}

enum { STEPS = 6 };

static void a_bad_video_changes_only_the_clips_that_drew_it(void **state)
{
    (void)state;
    struct fake_setting setting;
    struct loader_clip_source sources[2][STEPS * 12];
    int64_t bad_draws[2] = {0};
    for (int bad = 0; bad < 2; bad++) {
        fake_setting_init(&setting, 1);
        setting.config.data.max_bad_share = 0.3;
        setting.made[0].behaviour = bad ? some_are_bad : NULL;
        struct loader *loader = fake_loader_open(&setting, 0, 0, 4);
        for (int i = 0; i < STEPS * 4; i++) {
            struct loader_batch *batch = NULL;
            assert_int_equal(loader_next(loader, &batch, 100.0), LS_OK);
            memcpy(&sources[bad][(ptrdiff_t)i * 3], batch->sources, 3 * sizeof *batch->sources);
            bad_draws[bad] += batch->bad_draws[0];
            loader_release(loader, batch);
        }
        loader_close(&loader);
    }
    int replaced = 0;
    for (int i = 0; i < STEPS * 12; i++) {
        const struct loader_clip_source *good = &sources[0][i];
        const struct loader_clip_source *with_bad = &sources[1][i];
        replaced += with_bad->replaced;
        assert_true(some_are_bad(with_bad->video) == FAKE_GOOD);
        if (some_are_bad(good->video) == FAKE_GOOD)
            assert_memory_equal(good, with_bad, sizeof *good);
        else
            assert_true(with_bad->replaced > 0);
    }
    assert_true(replaced > 0);
    assert_int_equal(bad_draws[0], 0);
    assert_int_equal(bad_draws[1], replaced);
}

static int gives_up_at(struct fake_setting *setting, int limit, ls_status *status)
{
    struct loader *loader = fake_loader_open(setting, 0, 0, 4);
    struct loader_batch *batch = NULL;
    int at = 0;
    *status = LS_OK;
    for (; at < limit; at++) {
        *status = loader_next(loader, &batch, 100.0);
        if (*status != LS_OK)
            break;
        loader_release(loader, batch);
    }
    loader_close(&loader);
    return at < limit ? at : -1;
}

static enum fake_behaviour all_are_bad(int64_t video)
{
    (void)video;
    return FAKE_BAD_AT_START;
}

static void nothing_but_bad_videos_ends_even_when_all_may_be(void **state)
{
    (void)state;
    static const double shares[] = {0.05, 1.0};
    for (int i = 0; i < 2; i++) {
        struct fake_setting setting;
        ls_status st = LS_OK;
        fake_setting_init(&setting, 1);
        setting.made[0].behaviour = all_are_bad;
        setting.made[0].restless = false;
        setting.config.data.max_bad_share = shares[i];
        assert_int_equal(gives_up_at(&setting, 10, &st), 0);
        assert_int_equal(st, LS_DATA);
        assert_non_null(strstr(status_message(), "/data/one"));
        assert_non_null(strstr(status_message(), "the last: "));
        assert_non_null(strstr(status_message(), ": bad from the start"));
    }
}

static void where_none_may_be_bad_the_first_one_ends_the_run(void **state)
{
    (void)state;
    struct fake_setting setting;
    ls_status st = LS_OK;
    fake_setting_init(&setting, 1);
    setting.made[0].behaviour = some_are_bad;
    setting.config.data.max_bad_share = 0.0;
    assert_in_range(gives_up_at(&setting, 60, &st), 0, 20);
    assert_int_equal(st, LS_DATA);
}

static enum fake_behaviour one_has_no_shard(int64_t video)
{
    return video == 11 ? FAKE_NO_SHARD : FAKE_GOOD;
}

static void an_unreadable_shard_stops_the_run_in_its_place(void **state)
{
    (void)state;
    int expected = -1;
    for (int threads = 1; threads <= 3; threads++) {
        struct fake_setting setting;
        ls_status st = LS_OK;
        fake_setting_init(&setting, 1);
        setting.made[0].behaviour = one_has_no_shard;
        setting.config.data.num_workers = threads;
        int at = gives_up_at(&setting, 20, &st);
        assert_int_equal(st, LS_IO);
        assert_non_null(strstr(status_message(), "shard-00001.h5"));
        if (threads == 1)
            expected = at;
        assert_in_range(at, 1, 7); /* 20 videos in micro-batches of 3 */
        assert_int_equal(at, expected);
    }
}

static enum fake_behaviour all_hang(int64_t video)
{
    (void)video;
    return FAKE_HANGS;
}

static void a_hanging_read_times_out_and_is_named(void **state)
{
    (void)state;
    struct fake_setting setting;
    struct loader_batch *batch = NULL;
    fake_setting_init(&setting, 1);
    setting.made[0].behaviour = all_hang;
    atomic_store(&fake_let_go, false);
    struct loader *loader = fake_loader_open(&setting, 7, 1, 2);
    double start = clock_now_s();
    assert_int_equal(loader_next(loader, &batch, 0.05), LS_TIMEOUT);
    assert_true(clock_now_s() - start < 50.0);
    assert_non_null(strstr(status_message(), "/data/one: "));
    assert_non_null(strstr(status_message(), "step 7, micro-batch 1"));
    assert_true(loader_counters(loader).wait_s >= 0.05);
    assert_true(loader_counters(loader).wait_s == 0.0);
    atomic_store(&fake_let_go, true);
    loader_close(&loader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_video_changes_only_the_clips_that_drew_it),
        cmocka_unit_test(nothing_but_bad_videos_ends_even_when_all_may_be),
        cmocka_unit_test(where_none_may_be_bad_the_first_one_ends_the_run),
        cmocka_unit_test(an_unreadable_shard_stops_the_run_in_its_place),
        cmocka_unit_test(a_hanging_read_times_out_and_is_named),
    };
    log_open(-1, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
