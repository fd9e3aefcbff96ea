/* worker/watch: what a warning says.  Each rule has one line in the events with the settings that
 * matter, told once however long its cause lasts. */
#include <cJSON.h>
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
#include "core/log.h"
#include "tests/support/config_text.h"
#include "tests/support/jepa_case.h"
#include "worker/events.h"
#include "worker/watch.h"

enum { STEPS = 400 };

static struct op_device *device;
static char folder[] = "/tmp/lockstep-test-watch.XXXXXX";

/* Steps of a healthy run of 400. */
static struct step_metrics healthy(int64_t step)
{
    return (struct step_metrics){.step = step,
                                 .loss = 0.7 + 0.01 * sin((double)step),
                                 .lr = 1e-3,
                                 .target_std = 0.9,
                                 .prediction_cosine = step < 60 ? 1.0 : 0.8,
                                 .has_rank = step == 1 || step % 20 == 0,
                                 .target_rank = 8,
                                 .step_s = 0.1,
                                 .data_wait_s = 0.001};
}

/* Events of a run whose steps from 200 on are changed by `spoil`; JSON objects of the warnings. */
static cJSON *warnings_of(void (*spoil)(struct step_metrics *step), const char *const *overrides,
                          int override_count)
{
    struct jepa_case it;
    struct jepa *jepa = NULL;
    struct config *config = NULL;
    struct events *events = NULL;
    struct watch *watch = NULL;
    struct spikes spikes;
    char path[128];
    char *text = NULL;
    int count = 0;
    assert_int_equal(jepa_case_open(&it, jepa_case_shapes(&count), 5), LS_OK);
    assert_int_equal(jepa_case_model(&jepa, &it, &op_table_cpu, device), LS_OK);
    assert_int_equal(config_text_open(&config, config_text_small, overrides, override_count),
                     LS_OK);
    assert_int_equal(events_open(&events, folder, 1), LS_OK);
    spikes_open(&spikes, 100);
    assert_int_equal(
        watch_open(&watch, &spikes,
                   &(struct watch_options){
                       .config = config, .run = folder, .events = events, .jepa = jepa}),
        LS_OK);
    for (int64_t s = 1; s <= STEPS; s++) {
        struct step_metrics step = healthy(s);
        if (s >= 200 && spoil != NULL)
            spoil(&step);
        watch_step(watch, &step);
    }
    cJSON *list = cJSON_CreateArray();
    (void)snprintf(path, sizeof path, "%s/events.jsonl", folder);
    if (files_exists(path)) {
        assert_int_equal(files_read(&text, NULL, path, 1 << 20), LS_OK);
        for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
            assert_true(cJSON_AddItemToArray(list, cJSON_Parse(line)));
        assert_int_equal(remove(path), 0);
    }
    free(text);
    watch_close(&watch);
    events_close(&events);
    config_close(&config);
    jepa_close(&jepa);
    jepa_case_close(&it);
    return list;
}

static const char *text_of(const cJSON *event, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(event, key));
    return text != NULL ? text : "";
}

static void spread_halves(struct step_metrics *step)
{
    step->target_std *= 0.4;
}

static void directions_go(struct step_metrics *step)
{
    step->target_rank = 2;
}

static void predictions_grow_alike(struct step_metrics *step)
{
    step->prediction_cosine = 0.999;
}

static void loss_doubles(struct step_metrics *step)
{
    step->loss *= 2;
}

static void data_is_slow(struct step_metrics *step)
{
    step->data_wait_s = 0.05;
}

static void data_stalls(struct step_metrics *step)
{
    if (step->step == 210)
        step->data_wait_s = step->step_s = 9;
}

static void each_rule_is_one_line_with_its_settings(void **state)
{
    (void)state;
    static const char *const short_schedule[] = {"optimization.ipe=400", "optimization.epochs=1",
                                                 "optimization.ipe_scale=0.75",
                                                 "optimization.warmup=0.1"};
    static const char *const plain[] = {"optimization.ipe=400", "optimization.epochs=1",
                                        "optimization.warmup=0.1"};
    static const struct {
        void (*spoil)(struct step_metrics *step);
        const char *kind, *by, *words, *setting;
    } rules[] = {
        {spread_halves, "collapse", "target_std", "raise optimization.ema (", "optimization.ema"},
        {directions_go, "collapse", "target_rank", "lower optimization.lr (", "optimization.lr"},
        {predictions_grow_alike, "collapse", "prediction_cosine",
         "lengthen optimization.warmup (40 steps)", "optimization.warmup"},
        {loss_doubles, "divergence", "loss", "lower optimization.lr (", "optimization.lr"},
        {data_is_slow, "data_too_slow", "data_wait_s", "raise data.num_workers (",
         "data.num_workers"},
        {data_stalls, "loader_stalled", "data_wait_s", "file system of data.datasets",
         "lockstep.prefetch"},
        {NULL, "learning_rate", "schedule_end", "the schedules ended at step 300",
         "optimization.ipe_scale"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        cJSON *list = rules[i].spoil != NULL ? warnings_of(rules[i].spoil, plain, 3)
                                             : warnings_of(NULL, short_schedule, 4);
        if (cJSON_GetArraySize(list) != 1)
            fail_msg("%s: told %d times", rules[i].by, cJSON_GetArraySize(list));
        const cJSON *event = cJSON_GetArrayItem(list, 0);
        assert_string_equal(text_of(event, "event"), rules[i].kind);
        assert_string_equal(text_of(event, "by"), rules[i].by);
        if (strstr(text_of(event, "text"), rules[i].words) == NULL)
            fail_msg("%s: '%s' does not say '%s'", rules[i].by, text_of(event, "text"),
                     rules[i].words);
        bool named = false;
        const cJSON *setting = NULL;
        cJSON_ArrayForEach(setting, cJSON_GetObjectItemCaseSensitive(event, "settings")) named =
            named || strcmp(cJSON_GetStringValue(setting), rules[i].setting) == 0;
        assert_true(named);
        cJSON_Delete(list);
    }
}

/* Clips of two kinds, dark and bright: all that their features differ in is one direction. */
static void one_direction_is_told_with_what_it_follows(void **state)
{
    (void)state;
    enum { CLIPS = 40, SIDE = 64, FRAMES = 2 };
    static uint8_t shown[FRAMES * SIDE * SIDE * 3];
    struct jepa_case it;
    struct jepa *jepa = NULL;
    struct config *config = NULL;
    struct events *events = NULL;
    struct watch *watch = NULL;
    struct spikes spikes;
    char path[128];
    char *text = NULL;
    int count = 0;
    assert_int_equal(jepa_case_open(&it, &jepa_case_shapes(&count)[2], 5), LS_OK);
    assert_int_equal(jepa_case_model(&jepa, &it, &op_table_cpu, device), LS_OK);
    assert_int_equal(config_text_open(&config, config_text_small, NULL, 0), LS_OK);
    assert_int_equal(events_open(&events, folder, 1), LS_OK);
    spikes_open(&spikes, 100);
    assert_int_equal(
        watch_open(&watch, &spikes,
                   &(struct watch_options){
                       .config = config, .run = folder, .events = events, .jepa = jepa}),
        LS_OK);
    for (int64_t s = 1; s <= CLIPS + 10; s++) {
        const bool bright = s % 2 == 0;
        const struct step_metrics step = healthy(s);
        memset(shown, bright ? 200 : 50, sizeof shown);
        for (int64_t i = 0; i < it.pixel_count / 3 && (bright || s > 1); i++)
            it.pixels[i] += bright ? 2.0F : -2.0F;
        watch_clips(watch, &(struct loader_batch){.clips = 1, .frames = FRAMES, .pixels = shown});
        assert_int_equal(jepa_case_step(jepa, &it, NULL), LS_OK);
        assert_int_equal(watch_features(watch), LS_OK);
        watch_step(watch, &step);
    }
    (void)snprintf(path, sizeof path, "%s/events.jsonl", folder);
    assert_int_equal(files_read(&text, NULL, path, 1 << 20), LS_OK);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
    assert_non_null(strstr(text, "collapse by=pooled_direction share=1.000 clips=32 "
                                 "correlates_with=brightness r="));
    assert_non_null(strstr(text, "lower optimization.lr ("));
    assert_int_equal(remove(path), 0);
    free(text);
    watch_close(&watch);
    events_close(&events);
    config_close(&config);
    jepa_close(&jepa);
    jepa_case_close(&it);
}

static void a_healthy_run_has_no_events(void **state)
{
    (void)state;
    static const char *const plain[] = {"optimization.ipe=400", "optimization.epochs=1"};
    cJSON *list = warnings_of(NULL, plain, 2);
    assert_int_equal(cJSON_GetArraySize(list), 0);
    cJSON_Delete(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_is_one_line_with_its_settings),
        cmocka_unit_test(one_direction_is_told_with_what_it_follows),
        cmocka_unit_test(a_healthy_run_has_no_events),
    };
    log_open(0, LOG_LEVEL_ERROR);
    if (mkdtemp(folder) == NULL || op_cpu_open(&device, 1) != LS_OK)
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    op_cpu_close(&device);
    return files_remove(folder) == LS_OK ? failed : 1;
}
