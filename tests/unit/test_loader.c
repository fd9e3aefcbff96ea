/* The loader: what its batches hold, whoever asks for them and in whatever order its threads run.
 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/log.h"
#include "tests/fakes/dataset.h"

static enum fake_behaviour some_are_bad(int64_t video)
{
    return video == 4 ? FAKE_BAD_MIDWAY : video == 9 ? FAKE_BAD_AT_START : FAKE_GOOD;
}

enum { STEPS = 6 };

static void batches_do_not_depend_on_the_thread_count(void **state)
{
    (void)state;
    struct fake_setting setting;
    struct fake_seen expected[STEPS * 4];
    struct fake_seen got[STEPS * 4];
    for (int threads = 1; threads <= 3; threads++) {
        fake_setting_init(&setting, 2);
        setting.made[1].behaviour = some_are_bad;
        setting.config.data.max_bad_share = 0.3;
        setting.config.data.num_workers = threads;
        struct loader *loader = fake_loader_open(&setting, 0, 0, 4);
        fake_take(threads == 1 ? expected : got, STEPS * 4, loader, &setting.config);
        loader_close(&loader);
        assert_null(loader);
        if (threads > 1)
            assert_memory_equal(expected, got, sizeof got);
    }
    int64_t replaced = 0;
    for (int i = 0; i < STEPS * 4; i++) {
        replaced += expected[i].replaced;
        assert_int_equal(expected[i].step, i / 4);
        assert_int_equal(expected[i].micro_batch, i % 4);
        for (int k = 0; k < i; k++)
            assert_false(hash_equal(expected[i].draw_hash, expected[k].draw_hash));
    }
    assert_true(replaced > 0);
}

static void starting_later_gives_the_same_batches(void **state)
{
    (void)state;
    struct fake_setting setting;
    struct fake_seen all[STEPS * 4];
    struct fake_seen rest[(STEPS - 2) * 4];
    fake_setting_init(&setting, 2);
    struct loader *loader = fake_loader_open(&setting, 0, 0, 4);
    fake_take(all, STEPS * 4, loader, &setting.config);
    loader_close(&loader);
    loader = fake_loader_open(&setting, 2, 0, 4);
    fake_take(rest, (STEPS - 2) * 4, loader, &setting.config);
    loader_close(&loader);
    assert_memory_equal(all + 8, rest, sizeof rest);
}

/* 4 micro-batches on 1, 2 and 3 ranks. */
static void ranks_share_the_micro_batches_of_a_step(void **state)
{
    (void)state;
    static const int counts[][4] = {{4, 0}, {2, 2, 0}, {2, 1, 1, 0}, {1, 1, 1, 1}};
    struct fake_setting setting;
    struct fake_seen expected[STEPS * 4];
    for (int c = 0; c < 4; c++) {
        struct fake_seen got[STEPS * 4];
        int first = 0;
        for (int r = 0; r < 4 && counts[c][r] > 0; r++) {
            fake_setting_init(&setting, 2);
            struct fake_seen part[STEPS * 4];
            struct loader *loader = fake_loader_open(&setting, 0, first, counts[c][r]);
            fake_take(part, STEPS * counts[c][r], loader, &setting.config);
            loader_close(&loader);
            for (int i = 0; i < STEPS * counts[c][r]; i++)
                got[part[i].step * 4 + part[i].micro_batch] = part[i];
            first += counts[c][r];
        }
        assert_int_equal(first, 4);
        if (c == 0)
            memcpy(expected, got, sizeof got);
        assert_memory_equal(expected, got, sizeof got);
    }
}

/* Frames are flat, so a clip's pixels say which frames it holds, whatever its crop. */
static void pixels_are_those_of_the_frames_drawn(void **state)
{
    (void)state;
    struct fake_setting setting;
    fake_setting_init(&setting, 2);
    setting.made[0].frames = 20; /* shorter than a clip of 8 x 7: frames repeat at the end */
    struct loader *loader = fake_loader_open(&setting, 3, 0, 4);
    for (int i = 0; i < 12; i++) {
        struct loader_batch *batch = NULL;
        assert_int_equal(loader_next(loader, &batch, 100.0), LS_OK);
        assert_int_equal(batch->clips, 3);
        assert_int_equal(batch->frames, 8);
        for (int b = 0; b < 3; b++) {
            const struct loader_clip_source *source = &batch->sources[b];
            const uint8_t *clip = batch->pixels + (ptrdiff_t)b * 8 * 16 * 24 * 3;
            const uint8_t *last = clip + (ptrdiff_t)7 * 16 * 24 * 3;
            assert_in_range(source->dataset, 0, 1);
            uint8_t levels[2] = {fake_level(source->dataset, source->video, source->first_frame),
                                 fake_level(source->dataset, source->video, source->last_frame)};
            for (int k = 0; k < 16 * 24 * 3; k++) {
                assert_int_equal(clip[k], levels[0]);
                assert_int_equal(last[k], levels[1]);
            }
            if (source->dataset == 0) {
                assert_int_equal(source->first_frame, 0);
                assert_int_equal(source->last_frame, 19);
            } else {
                assert_int_equal(source->last_frame - source->first_frame, 55);
            }
        }
        loader_release(loader, batch);
    }
    loader_close(&loader);
}

/* The micro-batch at which a run gives up, -1 when it does not within `limit`. */
/* Not replaced: other ranks would not replace it.  What comes before it is still delivered. */
/* So that each can be pinned for a card. */
static void pixels_share_no_page(void **state)
{
    (void)state;
    struct fake_setting setting;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *memory = NULL;
    size_t bytes = 0;
    int buffers = 0;
    fake_setting_init(&setting, 1);
    struct loader *loader = fake_loader_open(&setting, 0, 0, 4);
    for (; loader_pixels(loader, buffers, &memory, &bytes); buffers++) {
        assert_int_equal((uintptr_t)memory % page, 0);
        assert_true(malloc_usable_size(memory) >= (bytes + page - 1) / page * page);
    }
    assert_int_equal(buffers, 3); /* prefetch + 1 */
    loader_close(&loader);
}

static void batches_are_recycled(void **state)
{
    (void)state;
    struct fake_setting setting;
    struct loader_batch *lent[4] = {NULL};
    fake_setting_init(&setting, 1);
    setting.made[0].restless = false;
    struct loader *loader = fake_loader_open(&setting, 0, 0, 4);
    for (int i = 0; i < 3; i++) { /* prefetch + 1 */
        assert_int_equal(loader_next(loader, &lent[i], 100.0), LS_OK);
        for (int k = 0; k < i; k++)
            assert_ptr_not_equal(lent[i], lent[k]);
    }
    assert_int_equal(loader_next(loader, &lent[3], 100.0), LS_USAGE);
    assert_non_null(strstr(status_message(), "lent"));
    for (int i = 0; i < 3; i++)
        loader_release(loader, lent[i]);
    size_t used = 0;
    for (int i = 0; i < 200; i++) {
        struct loader_batch *batch = NULL;
        assert_int_equal(loader_next(loader, &batch, 100.0), LS_OK);
        assert_true(batch == lent[0] || batch == lent[1] || batch == lent[2]);
        loader_release(loader, batch);
        if (i == 50)
            used = mallinfo2().uordblks;
    }
    assert_true(mallinfo2().uordblks <= used + 4096);
    loader_close(&loader);
}

static void skipped_steps_pass_on_the_draws_of_later_ones(void **state)
{
    (void)state;
    struct fake_setting setting;
    struct fake_seen plain[8];
    struct fake_seen skipping[5];
    static const int64_t skip[] = {1, 2, 4};
    static const int expected[] = {0, 3, 5, 6, 7};
    fake_setting_init(&setting, 1);
    struct loader *loader = fake_loader_open(&setting, 0, 2, 1);
    fake_take(plain, 8, loader, &setting.config);
    loader_close(&loader);
    assert_int_equal(loader_open(&loader, &setting.config, setting.datasets, 0, 2, 1, skip, 3),
                     LS_OK);
    fake_take(skipping, 5, loader, &setting.config);
    loader_close(&loader);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(skipping[i].step, i);
        assert_true(hash_equal(skipping[i].draw_hash, plain[expected[i]].draw_hash));
        assert_true(hash_equal(skipping[i].pixels, plain[expected[i]].pixels));
    }
}

static void micro_batches_hold_clips_of_one_length(void **state)
{
    (void)state;
    struct fake_setting setting;
    int seen[2] = {0};
    for (int weighted = 0; weighted < 2; weighted++) {
        fake_setting_init(&setting, 3);
        setting.config.data.weighted = weighted != 0;
        setting.configs[1].frames_per_clip = 4;
        struct loader *loader = fake_loader_open(&setting, 0, 0, 4);
        for (int i = 0; i < 24; i++) {
            struct loader_batch *batch = NULL;
            assert_int_equal(loader_next(loader, &batch, 100.0), LS_OK);
            assert_int_equal(batch->frames, batch->frames_group == 0 ? 8 : 4);
            int tokens = batch->frames / 2 * 4 * 6;
            for (int b = 0; b < 3; b++)
                assert_int_equal(batch->sources[b].dataset == 1, batch->frames_group == 1);
            for (int k = 0; k < batch->clips * batch->context[0].count; k++)
                assert_in_range(batch->context[0].tokens[k], 0, tokens - 1);
            seen[batch->frames_group]++;
            loader_release(loader, batch);
        }
        loader_close(&loader);
    }
    assert_true(seen[0] > 5 && seen[1] > 5);
}

static void weights_of_videos_reach_the_draws(void **state)
{
    (void)state;
    struct fake_setting setting;
    fake_setting_init(&setting, 1);
    setting.made[0].weighted = true;
    setting.made[0].count = 2;
    struct loader *loader = fake_loader_open(&setting, 0, 0, 4);
    for (int i = 0; i < 10; i++) {
        struct loader_batch *batch = NULL;
        assert_int_equal(loader_next(loader, &batch, 100.0), LS_OK);
        for (int b = 0; b < 3; b++)
            assert_int_equal(batch->sources[b].video, 1);
        loader_release(loader, batch);
    }
    loader_close(&loader);
}

/* The fake's frames are 1/30 s apart in its first half, 2/30 s in its second. */
static void timestamps_choose_frames_by_time(void **state)
{
    (void)state;
    struct fake_setting setting;
    int late = 0;
    fake_setting_init(&setting, 2);
    setting.config.data.sampling = CONFIG_SAMPLING_TIMESTAMPS;
    setting.made[0].frames = 10; /* ends before a clip of 7/4 s does */
    struct loader *loader = fake_loader_open(&setting, 0, 0, 4);
    for (int i = 0; i < 40; i++) {
        struct loader_batch *batch = NULL;
        assert_int_equal(loader_next(loader, &batch, 100.0), LS_OK);
        for (int b = 0; b < 3; b++) {
            const struct loader_clip_source *source = &batch->sources[b];
            assert_int_equal(source->frame_step, 0);
            if (source->dataset == 0) {
                assert_int_equal(source->first_frame, 0);
                assert_int_equal(source->last_frame, 9);
                continue;
            }
            int64_t first = source->first_frame;
            int64_t last = source->last_frame;
            first = first < 50 ? first : 2 * first - 50; /* now in 1/30 s */
            last = last < 50 ? last : 2 * last - 50;
            assert_in_range(last - first, 51, 54); /* 52.5 */
            late += source->first_frame >= 50;
        }
        loader_release(loader, batch);
    }
    loader_close(&loader);
    assert_true(late > 5);
}

static void a_crop_box_moves_when_asked_to(void **state)
{
    (void)state;
    struct fake_setting setting;
    for (int shift = 0; shift < 2; shift++) {
        int moved = 0;
        fake_setting_init(&setting, 1);
        setting.config.data_aug.motion_shift = shift != 0;
        struct loader *loader = fake_loader_open(&setting, 0, 0, 4);
        for (int i = 0; i < 10; i++) {
            struct loader_batch *batch = NULL;
            assert_int_equal(loader_next(loader, &batch, 100.0), LS_OK);
            for (int b = 0; b < 3; b++)
                moved += memcmp(&batch->sources[b].box, &batch->sources[b].last_box,
                                sizeof batch->sources[b].box) != 0;
            loader_release(loader, batch);
        }
        loader_close(&loader);
        assert_true(shift == 0 ? moved == 0 : moved > 20);
    }
}

/* Clips are flat but for what is erased, which is the same box in all frames. */
static void clips_are_erased_as_often_as_asked(void **state)
{
    (void)state;
    enum { ROW = 24 * 3, FRAME = 16 * ROW };
    struct fake_setting setting;
    struct fake_seen seen[2][16];
    int erased = 0;
    for (int threads = 1; threads <= 2; threads++) {
        fake_setting_init(&setting, 1);
        setting.config.data_aug.reprob = 0.5;
        setting.config.data.num_workers = threads;
        struct loader *loader = fake_loader_open(&setting, 0, 0, 4);
        fake_take(seen[threads - 1], 16, loader, &setting.config);
        for (int i = 0; threads == 1 && i < 30; i++) {
            struct loader_batch *batch = NULL;
            assert_int_equal(loader_next(loader, &batch, 100.0), LS_OK);
            for (int b = 0; b < 3; b++) {
                const uint8_t *clip = batch->pixels + (ptrdiff_t)b * 8 * FRAME;
                const uint8_t level =
                    fake_level(0, batch->sources[b].video, batch->sources[b].first_frame);
                int differing = 0;
                for (int k = 0; k < FRAME; k++)
                    differing += clip[k] != level;
                erased += differing > 0;
                assert_true(differing < FRAME * 2 / 5);
            }
            loader_release(loader, batch);
        }
        loader_close(&loader);
    }
    assert_memory_equal(seen[0], seen[1], sizeof seen[0]);
    assert_in_range(erased, 25, 65); /* of 90 */
}

static void closing_does_not_wait_for_batches(void **state)
{
    (void)state;
    struct fake_setting setting;
    for (int i = 0; i < 20; i++) {
        fake_setting_init(&setting, 2);
        setting.config.data.num_workers = 3;
        struct loader *loader = fake_loader_open(&setting, 0, 0, 4);
        struct loader_batch *batch = NULL;
        if (i % 2 == 0)
            assert_int_equal(loader_next(loader, &batch, 100.0), LS_OK);
        loader_close(&loader);
    }
}

static void refuses_what_it_cannot_serve(void **state)
{
    (void)state;
    static const char *const says[] = {"data.fps", "auto_augment",  "mask[1]",
                                       "token",    "micro-batches", "no videos"};
    for (int i = 0; i < 6; i++) {
        struct fake_setting setting;
        struct loader *loader = NULL;
        fake_setting_init(&setting, 1);
        struct config *config = &setting.config;
        config->data.sampling = i == 0 ? CONFIG_SAMPLING_TIMESTAMPS : CONFIG_SAMPLING_FRAMES;
        config->data.fps = i == 0 ? 0.0 : 4.0;
        config->data_aug.auto_augment = i == 1;
        if (i == 2)
            config->masks[1].spatial_scale[0] = config->masks[1].spatial_scale[1] = 1.0;
        if (i == 3)
            setting.configs[0].frames_per_clip = 1;
        config->micro_batches = i == 4 ? 3 : 4;
        setting.made[0].count = i == 5 ? 0 : 20;
        assert_int_equal(loader_open(&loader, config, setting.datasets, 0, 0, 4, NULL, 0),
                         LS_USAGE);
        assert_null(loader);
        if (strstr(status_message(), says[i]) == NULL)
            fail_msg("%s: %s", says[i], status_message());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_do_not_depend_on_the_thread_count),
        cmocka_unit_test(starting_later_gives_the_same_batches),
        cmocka_unit_test(ranks_share_the_micro_batches_of_a_step),
        cmocka_unit_test(pixels_are_those_of_the_frames_drawn),
        cmocka_unit_test(pixels_share_no_page),
        cmocka_unit_test(batches_are_recycled),
        cmocka_unit_test(skipped_steps_pass_on_the_draws_of_later_ones),
        cmocka_unit_test(micro_batches_hold_clips_of_one_length),
        cmocka_unit_test(weights_of_videos_reach_the_draws),
        cmocka_unit_test(timestamps_choose_frames_by_time),
        cmocka_unit_test(a_crop_box_moves_when_asked_to),
        cmocka_unit_test(clips_are_erased_as_often_as_asked),
        cmocka_unit_test(closing_does_not_wait_for_batches),
        cmocka_unit_test(refuses_what_it_cannot_serve),
    };
    log_open(-1, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
