/* Schedules against golden/schedules.h5 and at their edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/schedule.h"
#include "tests/support/golden.h"
#include "tests/support/golden_schedules.h"

static double warmup_cosine(int64_t step)
{
    return schedule_warmup_cosine(step, 40, 1e-4, 5.25e-4, 1e-6, 250);
}

static double linear_decay(int64_t step)
{
    return schedule_linear_decay(step, 5.25e-4, 1e-6, 150);
}

static double wsd(int64_t step)
{
    return schedule_warmup_stable_decay(step, 20, 30, 150, 1e-4, 5.25e-4, 0.0);
}

static double cosine_wd(int64_t step)
{
    return schedule_cosine(step, 0.04, 0.4, 250);
}

static double ema_linear(int64_t step)
{
    return schedule_ema(step - 1, 0.996, 1.0, 10 * 7 * 1.25);
}

static void agrees_with_the_public_code(void **state)
{
    (void)state;
    char path[512];
    struct golden *golden = NULL;
    struct golden_report report = {0};
    if (!golden_path(path, sizeof path, "schedules.h5"))
        skip();
    assert_int_equal(golden_open(&golden, path), LS_OK);
    assert_int_equal(golden_schedules(&report, golden), LS_OK);
    golden_close(&golden);
    assert_int_equal(report.checked, 7);
    assert_int_equal(report.missed, 0);
}

static void stays_at_its_end_beyond_the_horizon(void **state)
{
    (void)state;
    assert_true(warmup_cosine(250) == 1e-6);
    assert_true(warmup_cosine(400) == 1e-6);
    assert_true(linear_decay(151) == 1e-6);
    assert_true(wsd(1000) == 0.0);
    assert_true(cosine_wd(1000) == 0.4);
    assert_true(ema_linear(1000) == 1.0);
}

static void fill(struct config *config)
{
    struct config_optimization *o = &config->optimization;
    *config = (struct config){0};
    o->lr = 5.25e-4;
    o->start_lr = 1e-4;
    o->final_lr = 1e-6;
    o->weight_decay = 0.04;
    o->final_weight_decay = 0.4;
    o->ema[0] = 0.996;
    o->ema[1] = 1.0;
    o->epochs = 10;
    o->ipe = 20;
    o->ipe_scale = 1.25;
    o->total_steps = 200;
    o->warmup_steps = 40;
    o->schedule_steps = 250;
}

static void follows_the_config(void **state)
{
    (void)state;
    struct config config;
    fill(&config);
    for (int64_t step = 1; step <= 200; step++) {
        const struct schedule_values values = schedule_at(&config, step);
        assert_true(values.lr == warmup_cosine(step));
        assert_true(values.weight_decay == cosine_wd(step));
        assert_true(values.ema == schedule_ema(step - 1, 0.996, 1.0, 250.0));
    }
    assert_true(schedule_at(&config, 1).ema == 0.996);
}

static void a_cool_down_decays_linearly_from_its_own_first_step(void **state)
{
    (void)state;
    struct config config;
    fill(&config);
    config.optimization.is_anneal = true;
    config.optimization.schedule_steps = 150;
    for (int64_t step = 1; step <= 150; step++)
        assert_true(schedule_at(&config, step).lr == linear_decay(step));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_public_code),
        cmocka_unit_test(stays_at_its_end_beyond_the_horizon),
        cmocka_unit_test(follows_the_config),
        cmocka_unit_test(a_cool_down_decays_linearly_from_its_own_first_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
