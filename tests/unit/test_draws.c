/* When a run gives up on bad videos: a function of its draws, whoever makes them and wherever the
 * run was stopped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "data/clip_maker.h"
#include "tests/fakes/dataset.h"
#include "worker/draws.h"

enum { MICRO_BATCHES = 4, RANKS_MAX = 4, DATASETS = 2, STEPS = 60 };

static const struct hash128 datasets_hash = {7, 11};

static enum fake_behaviour a_fifth_is_bad(int64_t video)
{
    return video % 10 == 0 ? FAKE_SHORT : video % 10 == 5 ? FAKE_BAD_MIDWAY : FAKE_GOOD;
}

/* A run's end: the step (counted from 1) that gave up, 0 when none did; and what it said. */
struct ending {
    int64_t step;
    int dataset;
    struct draw_count counts[DATASETS];
    struct reasons reasons;
};

/* Steps of `ranks` ranks from `first` on.  All come to the same; rank 0's counts are looked at. */
static void run_steps(struct ending *out, struct fake_setting *setting, struct draws *draws,
                      int ranks, int64_t first, int64_t end)
{
    struct loader *loaders[RANKS_MAX];
    const int share = MICRO_BATCHES / ranks;
    for (int r = 0; r < ranks; r++)
        loaders[r] = fake_loader_open(setting, first, r * share, share);
    *out = (struct ending){.dataset = -1};
    for (int64_t step = first; step < end && out->dataset < 0; step++) {
        double sums[2 * DATASETS] = {0};
        for (int r = 0; r < ranks; r++) {
            double mine[2 * DATASETS];
            draws_begin_step(draws);
            for (int i = 0; i < share; i++) {
                struct loader_batch *batch = NULL;
                assert_int_equal(loader_next(loaders[r], &batch, 20.0), LS_OK);
                draws_take(draws, batch);
                loader_release(loaders[r], batch);
            }
            draws_put(mine, draws);
            for (int i = 0; i < 2 * DATASETS; i++)
                sums[i] += mine[i];
        }
        (void)draws_add(draws, sums);
        out->dataset = draws_worst(draws, setting->config.data.max_bad_share);
        out->step = out->dataset < 0 ? 0 : step + 1;
    }
    for (int d = 0; d < DATASETS; d++)
        out->counts[d] = draws_of(draws, d);
    for (int r = 0; r < ranks; r++) {
        const struct loader_counters counters = loader_counters(loaders[r]);
        reasons_merge(&out->reasons, &counters.reasons);
        loader_close(&loaders[r]);
    }
}

static void set_up(struct fake_setting *setting, double share)
{
    fake_setting_init(setting, DATASETS);
    setting->made[1].behaviour = a_fifth_is_bad;
    setting->config.data.max_bad_share = share;
}

static struct ending run_once(struct fake_setting *setting, int ranks)
{
    struct draws *draws = NULL;
    struct ending ending;
    assert_int_equal(draws_open(&draws, setting->datasets, DATASETS), LS_OK);
    run_steps(&ending, setting, draws, ranks, 0, STEPS);
    draws_close(&draws);
    return ending;
}

static void assert_same_counts(const struct ending *a, const struct ending *b)
{
    assert_int_equal(a->step, b->step);
    assert_int_equal(a->dataset, b->dataset);
    assert_memory_equal(a->counts, b->counts, sizeof a->counts);
}

static void any_number_of_workers_gives_up_at_the_same_step(void **state)
{
    (void)state;
    struct fake_setting setting;
    char first[256], other[256];
    set_up(&setting, 0.05);
    const struct ending expected = run_once(&setting, 1);
    assert_int_equal(expected.dataset, 1);
    assert_in_range(expected.step, 2, 20);
    reasons_text(first, sizeof first, &expected.reasons, 1);
    for (int ranks = 2; ranks <= RANKS_MAX; ranks *= 2) {
        set_up(&setting, 0.05);
        setting.config.data.num_workers = ranks;
        const struct ending got = run_once(&setting, ranks);
        assert_same_counts(&got, &expected);
        reasons_text(other, sizeof other, &got.reasons, 1);
        assert_string_equal(other, first);
    }
}

static void a_resume_anywhere_gives_up_at_the_same_step(void **state)
{
    (void)state;
    struct fake_setting setting;
    set_up(&setting, 0.05);
    const struct ending expected = run_once(&setting, 1);
    for (int64_t stop = 1; stop < expected.step; stop++) {
        struct draws *draws = NULL;
        struct ending got;
        char *saved = NULL;
        assert_int_equal(draws_open(&draws, setting.datasets, DATASETS), LS_OK);
        run_steps(&got, &setting, draws, 2, 0, stop);
        assert_int_equal(got.dataset, -1);
        assert_int_equal(draws_write(&saved, draws, datasets_hash), LS_OK);
        draws_close(&draws);
        assert_int_equal(draws_open(&draws, setting.datasets, DATASETS), LS_OK);
        assert_true(draws_read(draws, saved, datasets_hash));
        run_steps(&got, &setting, draws, 4, stop, STEPS);
        assert_same_counts(&got, &expected);
        free(saved);
        draws_close(&draws);
    }
}

static void the_share_is_the_datasets_own(void **state)
{
    (void)state;
    struct fake_setting setting;
    set_up(&setting, 0.15); /* of all draws fewer fail */
    setting.configs[0].weight = 10;
    setting.configs[1].weight = 1;
    setting.config.data.weighted = true;
    const struct ending ending = run_once(&setting, 1);
    assert_int_equal(ending.dataset, -1);
    assert_int_equal(ending.step, 0);
    assert_int_equal(ending.counts[0].bad, 0);
    assert_true(ending.counts[1].bad > 0);
}

static void the_line_says_which_how_many_and_why(void **state)
{
    (void)state;
    struct fake_setting setting;
    struct draws *draws = NULL;
    struct reasons reasons = {.kinds = 0};
    const double sums[2 * DATASETS] = {50, 1, 40, 12};
    fake_setting_init(&setting, DATASETS);
    assert_int_equal(draws_open(&draws, setting.datasets, DATASETS), LS_OK);
    assert_int_equal(draws_add(draws, sums), 13);
    for (int i = 0; i < 6; i++)
        reasons_add(&reasons, 1, "b.mp4",
                    i % 2 == 0 ? "/d/shard-00001.h5: damaged: packet 12 of 'b.mp4'"
                               : "/d/shard-00002.h5: damaged: packet 3 of 'c d.mp4'");
    for (int i = 0; i < 3; i++)
        reasons_add(&reasons, 1, "b.mp4", "b.mp4: 0 frames of 0 x 0");
    reasons_add(&reasons, 0, "a.mp4", "a.mp4: another dataset's");
    assert_int_equal(draws_worst(draws, 0.05), 1);
    assert_int_equal(draws_refuse(draws, 1, "/data/two", 0.05, &reasons), LS_DATA);
    assert_string_equal(status_message(),
                        "/data/two: 12 of 40 draws could not be decoded, more than "
                        "data.max_bad_share (0.05) allows: 6 x damaged: packet # of '...'; 3 x # "
                        "frames of # x #; run `lockstep verify` on it");
    assert_int_equal(draws_refuse(draws, 0, "/data/one", 0.05, &(struct reasons){.kinds = 0}),
                     LS_DATA);
    assert_non_null(strstr(status_message(), "(0.05) allows; run"));
    draws_close(&draws);
}

static void more_kinds_of_reasons_than_are_kept_do_no_harm(void **state)
{
    (void)state;
    struct reasons reasons = {.kinds = 0};
    char message[512];
    char text[64];
    for (int i = 0; i < 4 * REASONS_MAX; i++) {
        memset(message, 'a' + i % 26, sizeof message - 1);
        message[sizeof message - 1 - (size_t)i] = '\0';
        reasons_add(&reasons, i % 3, "", message);
    }
    assert_int_equal(reasons.kinds, REASONS_MAX);
    reasons_text(text, sizeof text, &reasons, 0);
    assert_true(strlen(text) < sizeof text);
}

static void videos_are_named_once_however_often_they_fail(void **state)
{
    (void)state;
    struct fake_setting setting;
    struct draws *draws = NULL;
    struct bad_videos step = {.count = 0};
    struct bad_videos other = {.count = 0};
    fake_setting_init(&setting, DATASETS);
    assert_int_equal(draws_open(&draws, setting.datasets, DATASETS), LS_OK);
    for (int i = 0; i < 3; i++) {
        bad_videos_add(&step, 0, 5, "a");
        bad_videos_add(&step, 1, 5, "b");
    }
    assert_int_equal(step.count, 2);
    assert_true(draws_name(draws, &step.list[0]));
    assert_true(draws_name(draws, &step.list[1]));
    assert_false(draws_name(draws, &step.list[0]));
    for (int64_t v = 0; v < 3 * BAD_VIDEOS_MAX; v++)
        bad_videos_add(&other, 0, v, "c");
    assert_int_equal(other.count, BAD_VIDEOS_MAX);
    bad_videos_merge(&step, &other);
    assert_int_equal(step.count, BAD_VIDEOS_MAX);
    assert_string_equal(step.list[0].text, "a"); /* 0:5 was there */
    draws_close(&draws);
}

/* Somebody mended a dataset, or another one is used: its past is not held against it. */
static void counts_of_other_datasets_are_not_taken_up(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "{}",
        "{\"datasets\":\"00000000000000000000000000000000\",\"drawn\":[9,9],\"bad\":[1,1]}",
        "{\"datasets\":\"000000000000000b0000000000000007\",\"drawn\":[9],\"bad\":[1]}",
        "{\"datasets\":\"000000000000000b0000000000000007\",\"drawn\":[9,9],\"bad\":[1,10]}",
        "{\"datasets\":\"000000000000000b0000000000000007\",\"drawn\":[9,9],\"bad\":[1,-1]}",
        "{\"datasets\":\"000000000000000b0000000000000007\",\"drawn\":[9,1e300],\"bad\":[1,1]}",
        "{\"datasets\":\"000000000000000b0000000000000007\",\"drawn\":[9,1.5],\"bad\":[1,1]}",
        "no JSON",
    };
    struct fake_setting setting;
    struct draws *draws = NULL;
    fake_setting_init(&setting, DATASETS);
    assert_int_equal(draws_open(&draws, setting.datasets, DATASETS), LS_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(draws_read(draws, wrong[i], datasets_hash));
        assert_int_equal(draws_of(draws, 0).drawn, 0);
    }
    assert_true(draws_read(
        draws, "{\"datasets\":\"000000000000000b0000000000000007\",\"drawn\":[9,8],\"bad\":[1,2]}",
        datasets_hash));
    assert_int_equal(draws_of(draws, 0).drawn, 9);
    assert_int_equal(draws_of(draws, 1).bad, 2);
    draws_close(&draws);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_workers_gives_up_at_the_same_step),
        cmocka_unit_test(a_resume_anywhere_gives_up_at_the_same_step),
        cmocka_unit_test(the_share_is_the_datasets_own),
        cmocka_unit_test(the_line_says_which_how_many_and_why),
        cmocka_unit_test(more_kinds_of_reasons_than_are_kept_do_no_harm),
        cmocka_unit_test(videos_are_named_once_however_often_they_fail),
        cmocka_unit_test(counts_of_other_datasets_are_not_taken_up),
    };
    log_open(-1, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
