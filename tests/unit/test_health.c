/* worker/health, worker/spikes, worker/pooled: what is called a collapse, a spike, a stall, and
 * what is not. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/files.h"
#include "worker/events.h"
#include "worker/health.h"
#include "worker/pooled.h"
#include "worker/spikes.h"

/* Uniform over -0.5 to 0.5. */
static double noise(uint64_t i)
{
    i = (i + 1) * 0x9e3779b97f4a7c15ULL;
    i = (i ^ (i >> 30)) * 0xbf58476d1ce4e5b9ULL;
    i = (i ^ (i >> 27)) * 0x94d049bb133111ebULL;
    return (double)(i >> 11) / 9007199254740992.0 - 0.5;
}

/* Steps of a healthy run: figures like those of a small model that learns. */
static struct step_metrics healthy(int64_t step)
{
    double fall = 0.15 * (1 - exp(-(double)step / 100));
    return (struct step_metrics){.step = step,
                                 .loss = 0.8 - fall + 0.05 * noise((uint64_t)step),
                                 .lr = 1e-3,
                                 .target_std = 0.92 - fall / 2 + 0.03 * noise((uint64_t)step + 7),
                                 .prediction_cosine = step < 150 ? 1.0 : 0.7,
                                 .has_rank = step == 1 || step % 20 == 0,
                                 .target_rank = 4.5 + 3 * noise((uint64_t)step),
                                 .step_s = 0.1,
                                 .data_wait_s = 0.001};
}

static struct health *open_health(int64_t first_step, int64_t schedule)
{
    struct health *health = NULL;
    assert_int_equal(health_open(&health, &(struct health_options){.limits = {.std_share = 0.6,
                                                                              .rank_share = 0.45,
                                                                              .warmup_steps = 10},
                                                                   .first_step = first_step,
                                                                   .schedule_steps = schedule}),
                     LS_OK);
    return health;
}

/* Run steps 1 to `last`, changed by `spoil`; count what each rule says and when it first did. */
struct told {
    int count[HEALTH_KINDS];
    int64_t first[HEALTH_KINDS];
};

static struct told run(int64_t last, void (*spoil)(struct step_metrics *step))
{
    struct told told = {{0}, {0}};
    struct health_word words[HEALTH_KINDS];
    struct health *health = open_health(0, last);
    for (int64_t s = 1; s <= last; s++) {
        struct step_metrics step = healthy(s);
        if (spoil != NULL)
            spoil(&step);
        int count = health_take(health, &step, words);
        for (int i = 0; i < count; i++) {
            if (told.count[words[i].kind]++ == 0)
                told.first[words[i].kind] = s;
        }
    }
    health_close(&health);
    return told;
}

static void check_only(const struct told *told, enum health_kind kind, int times)
{
    for (int k = 0; k < HEALTH_KINDS; k++)
        if (told->count[k] != ((enum health_kind)k == kind ? times : 0))
            fail_msg("rule %d spoke %d times", k, told->count[k]);
}

static void a_healthy_run_gets_no_warning(void **state)
{
    (void)state;
    struct told told = run(2000, NULL);
    check_only(&told, HEALTH_KINDS, 0);
}

static void spread_falls(struct step_metrics *step)
{
    if (step->step > 300)
        step->target_std *= fmax(0.3, 1 - (double)(step->step - 300) / 400);
}

static void falling_spread_is_told_once(void **state)
{
    (void)state;
    struct told told = run(2000, spread_falls);
    check_only(&told, HEALTH_TARGET_STD, 1);
    assert_in_range(told.first[HEALTH_TARGET_STD], 400, 480);
}

static void spread_falls_twice(struct step_metrics *step)
{
    if ((step->step > 300 && step->step < 400) || step->step > 600)
        step->target_std *= 0.3;
}

static void what_recovered_is_told_again(void **state)
{
    (void)state;
    struct told told = run(1000, spread_falls_twice);
    check_only(&told, HEALTH_TARGET_STD, 2);
}

static void rank_falls(struct step_metrics *step)
{
    if (step->step > 200)
        step->target_rank = 1.3 + 0.2 * noise((uint64_t)step->step);
}

static void lost_directions_are_told(void **state)
{
    (void)state;
    struct told told = run(1000, rank_falls);
    check_only(&told, HEALTH_TARGET_RANK, 1);
    assert_in_range(told.first[HEALTH_TARGET_RANK], 220, 260);
}

static void same_predictions(struct step_metrics *step)
{
    if (step->step > 250 && step->step % 15 != 0)
        step->prediction_cosine = 0.9995;
}

static void constant_predictions_are_told(void **state)
{
    (void)state;
    struct told told = run(1000, same_predictions);
    check_only(&told, HEALTH_COSINE, 1);
}

static void loss_rises(struct step_metrics *step)
{
    if (step->step > 500)
        step->loss += (double)(step->step - 500) * 0.001;
}

static void divergence_is_told(void **state)
{
    (void)state;
    struct told told = run(1500, loss_rises);
    check_only(&told, HEALTH_LOSS, 1);
    assert_in_range(told.first[HEALTH_LOSS], 600, 900);
}

static void data_comes_late(struct step_metrics *step)
{
    if (step->step > 100)
        step->data_wait_s = 0.05;
    step->step_s += step->data_wait_s;
}

static void slow_data_is_told_once_in_a_while(void **state)
{
    (void)state;
    struct told told = run(2000, data_comes_late);
    check_only(&told, HEALTH_DATA_SLOW, 2); /* 38 slow windows of 50: the first and the 22nd */
    assert_int_equal(told.first[HEALTH_DATA_SLOW], 150);
}

static void one_long_wait(struct step_metrics *step)
{
    if (step->step == 777)
        step->data_wait_s = 8;
    step->step_s += step->data_wait_s;
}

static void a_stall_is_told(void **state)
{
    (void)state;
    struct told told = run(1000, one_long_wait);
    check_only(&told, HEALTH_DATA_STALL, 1);
    assert_int_equal(told.first[HEALTH_DATA_STALL], 777);
}

static void the_end_of_the_schedule_is_told(void **state)
{
    (void)state;
    struct health_word words[HEALTH_KINDS];
    struct health *health = open_health(1000, 100);
    int told = 0;
    for (int64_t s = 990; s <= 1150; s++) {
        struct step_metrics step = healthy(s);
        int count = health_take(health, &step, words);
        told += count;
        if (count > 0) {
            assert_int_equal(s, 1101);
            assert_int_equal(words[0].kind, HEALTH_SCHEDULE);
        }
    }
    assert_int_equal(told, 1);
    health_close(&health);
}

static void skipped_steps_do_not_count(void **state)
{
    (void)state;
    struct health_word words[HEALTH_KINDS];
    struct health *health = open_health(0, 500);
    for (int64_t s = 1; s <= 300; s++) {
        struct step_metrics step = healthy(s);
        if (s > 150) {
            step.skipped = true;
            step.loss = step.target_std = NAN;
        }
        assert_int_equal(health_take(health, &step, words), 0);
    }
    health_close(&health);
}

static void a_spike_stands_out_and_a_trend_does_not(void **state)
{
    (void)state;
    struct spikes spikes;
    spikes_open(&spikes, 100);
    for (int i = 0; i < 99; i++)
        spikes_add(&spikes, 0.7 + 0.02 * noise((uint64_t)i));
    assert_true(spikes_score(&spikes, 7.0) == 0); /* not full */
    spikes_add(&spikes, 0.7);
    assert_true(spikes_score(&spikes, 0.71) < 3);
    assert_true(spikes_score(&spikes, 0.9) > 10);
    assert_true(spikes_score(&spikes, 0.1) < 0);
    for (int i = 0; i < 250; i++) { /* a steep rise along a line */
        double loss = 0.5 + 0.01 * i;
        if (i > 100)
            assert_true(spikes_score(&spikes, loss) < 1.6);
        spikes_add(&spikes, loss);
    }
    spikes_open(&spikes, 8);
    for (int i = 0; i < 8; i++)
        spikes_add(&spikes, 0.5); /* no spread at all: half a percent stands for it */
    assert_true(spikes_score(&spikes, 0.51) < 5);
    assert_true(spikes_score(&spikes, 0.6) > 10);
}

static void losses_are_what_a_line_holds(void **state)
{
    (void)state;
    char text[64];
    for (uint64_t i = 0; i < 1000; i++) {
        double loss = 0.7 + 0.1 * noise(i);
        (void)snprintf(text, sizeof text, "%.10g", loss);
        assert_true(metrics_rounded(loss) == strtod(text, NULL));
        assert_true(metrics_rounded(metrics_rounded(loss)) == metrics_rounded(loss));
    }
}

enum { WIDTH = 24 };

/* Features of 64 clips: `along` of what differs lies in one direction, which follows brightness. */
static struct pooled_verdict pooled_of(double along, int count)
{
    struct pooled *pooled = NULL;
    assert_int_equal(pooled_open(&pooled, WIDTH), LS_OK);
    for (int i = 0; i < count; i++) {
        float features[WIDTH];
        struct pooled_clip clip = {{100 + 40 * noise((uint64_t)i),
                                    30 + 9 * noise((uint64_t)i + 500),
                                    5 + 2 * noise((uint64_t)i + 900)}};
        for (int c = 0; c < WIDTH; c++)
            features[c] = (float)(2.0 + (1 - along) * noise((uint64_t)i * WIDTH + (uint64_t)c + 3) +
                                  along * (c % 3 - 1) * noise((uint64_t)i));
        pooled_add(pooled, features, &clip, 1);
    }
    struct pooled_verdict verdict = pooled_judge(pooled);
    pooled_close(&pooled);
    return verdict;
}

static void one_direction_is_found_with_what_it_follows(void **state)
{
    (void)state;
    struct pooled_verdict verdict = pooled_of(0.95, 200);
    assert_int_equal(verdict.clips, POOLED_CLIPS);
    assert_true(verdict.share > 0.95 && verdict.share <= 1.0 + 1e-9);
    assert_int_equal(verdict.nearest, POOLED_BRIGHTNESS);
    assert_true(fabs(verdict.correlations[POOLED_BRIGHTNESS]) > 0.95);
    assert_true(fabs(verdict.correlations[POOLED_CONTRAST]) < 0.5);
    verdict = pooled_of(0, 200);
    assert_true(verdict.share < 0.3);
    assert_int_equal(pooled_of(0.95, POOLED_LEAST - 1).clips, 0);
    assert_true(pooled_of(0.95, POOLED_LEAST).share > 0.9);
}

static void the_look_of_a_clip_is_measured(void **state)
{
    (void)state;
    enum { FRAMES = 4, SIDE = 20, FRAME = SIDE * SIDE * 3 };
    static uint8_t pixels[FRAMES * FRAME];
    memset(pixels, 90, sizeof pixels);
    struct pooled_clip clip = pooled_look_at(pixels, FRAMES, SIDE, SIDE);
    assert_true(fabs(clip.looks[POOLED_BRIGHTNESS] - 90) < 1e-9);
    assert_true(clip.looks[POOLED_CONTRAST] < 1e-6 && clip.looks[POOLED_MOTION] < 1e-9);
    for (int f = 0; f < FRAMES; f++)
        memset(pixels + f * FRAME, 90 + 10 * (f % 2), FRAME);
    clip = pooled_look_at(pixels, FRAMES, SIDE, SIDE);
    assert_true(fabs(clip.looks[POOLED_BRIGHTNESS] - 95) < 1e-9);
    assert_true(fabs(clip.looks[POOLED_CONTRAST] - 5) < 1e-9);
    assert_true(fabs(clip.looks[POOLED_MOTION] - 10) < 1e-9);
}

static void events_are_whole_lines(void **state)
{
    (void)state;
    char folder[] = "/tmp/lockstep-test-events.XXXXXX";
    struct events *events = NULL;
    char *path = NULL;
    char *text = NULL;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(events_open(&events, folder, 3), LS_OK);
    events_add(NULL, &(struct event){.kind = "nothing"});
    events_add(events, &(struct event){.step = 12,
                                       .kind = "collapse",
                                       .warning = true,
                                       .by = "target_std",
                                       .text = "a \"text\"\nof two lines",
                                       .values = {{"now", 0.25}, {"early", NAN}},
                                       .settings = {"optimization.lr"}});
    events_add(events, &(struct event){.step = 13, .kind = "saved"});
    assert_int_equal(core_format(&path, "%s/events.jsonl", folder), LS_OK);
    assert_int_equal(files_read(&text, NULL, path, 1 << 20), LS_OK);
    char *second = strchr(text, '\n');
    assert_non_null(second);
    assert_non_null(strstr(text, "{\"step\":12,\"start\":3,\"time\":"));
    assert_non_null(strstr(text, "\"event\":\"collapse\",\"warning\":true,\"by\":\"target_std\","
                                 "\"now\":0.25,\"early\":null,\"settings\":[\"optimization.lr\"],"
                                 "\"text\":\"a \\\"text\\\"\\nof two lines\"}\n"));
    assert_non_null(strstr(second, "{\"step\":13,\"start\":3,"));
    assert_int_equal(second[strlen(second) - 1], '\n');
    free(text);
    free(path);
    events_close(&events);
    assert_int_equal(files_remove(folder), LS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_healthy_run_gets_no_warning),
        cmocka_unit_test(falling_spread_is_told_once),
        cmocka_unit_test(what_recovered_is_told_again),
        cmocka_unit_test(lost_directions_are_told),
        cmocka_unit_test(constant_predictions_are_told),
        cmocka_unit_test(divergence_is_told),
        cmocka_unit_test(slow_data_is_told_once_in_a_while),
        cmocka_unit_test(a_stall_is_told),
        cmocka_unit_test(the_end_of_the_schedule_is_told),
        cmocka_unit_test(skipped_steps_do_not_count),
        cmocka_unit_test(a_spike_stands_out_and_a_trend_does_not),
        cmocka_unit_test(losses_are_what_a_line_holds),
        cmocka_unit_test(one_direction_is_found_with_what_it_follows),
        cmocka_unit_test(the_look_of_a_clip_is_measured),
        cmocka_unit_test(events_are_whole_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
