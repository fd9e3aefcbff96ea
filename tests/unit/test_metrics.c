/* worker/metrics: the file holds each step once and in order, whatever happened before. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cJSON.h>
#include <cmocka.h>

#include "core/files.h"
#include "worker/metrics.h"

static char folder[] = "/tmp/lockstep-test-metrics.XXXXXX";
static char *path;

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL || core_format(&path, "%s/metrics.jsonl", folder) != LS_OK)
        return -1;
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    free(path);
    return files_remove(folder) == LS_OK ? 0 : -1;
}

static void put(const char *text)
{
    assert_int_equal(files_replace(path, text, strlen(text)), LS_OK);
}

static void append_steps(int64_t first, int64_t last, int64_t finished)
{
    struct metrics *metrics = NULL;
    assert_int_equal(metrics_open(&metrics, folder, finished), LS_OK);
    for (int64_t s = first; s <= last; s++)
        metrics_append(metrics, &(struct step_metrics){.step = s, .epoch = 1, .group_count = 2});
    metrics_close(&metrics);
    assert_null(metrics);
}

/* The steps of the file must be 1 .. `last`, one whole object a line. */
static void check_steps(int last)
{
    char *text = NULL;
    assert_int_equal(files_read(&text, NULL, path, 1 << 20), LS_OK);
    int step = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        cJSON *json = cJSON_Parse(line);
        assert_non_null(json);
        step++;
        assert_int_equal(cJSON_GetObjectItemCaseSensitive(json, "step")->valueint, step);
        cJSON_Delete(json);
    }
    assert_int_equal(step, last);
    free(text);
}

static void each_step_appears_once_after_a_resume(void **state)
{
    (void)state;
    append_steps(1, 7, 0);
    check_steps(7);
    append_steps(6, 9, 5); /* 6 and 7 were done, but not saved */
    check_steps(9);
    append_steps(10, 9, 9);
    check_steps(9);
    append_steps(1, 2, 0); /* a fresh start */
    check_steps(2);
}

static void torn_last_line_is_cut(void **state)
{
    (void)state;
    append_steps(1, 3, 0);
    FILE *file = fopen(path, "ae");
    assert_non_null(file);
    assert_true(fputs("{\"step\":4,\"epoch\":1,\"lo", file) >= 0);
    assert_int_equal(fclose(file), 0);
    append_steps(4, 5, 4);
    check_steps(5);
}

static void foreign_and_disordered_lines_go_and_the_others_stay(void **state)
{
    (void)state;
    static const char *const tails[] = {"rubbish\n",
                                        "{\"step\":1,\"epoch\":1}\n",
                                        "\n",
                                        "{\"step\":0,\"epoch\":1}\n",
                                        "{\"step\":-3,\"epoch\":1}\n",
                                        "{\"step\":99999999999999999999,\"a\":1}\n"};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "{\"step\":1,\"epoch\":1}\n%s{\"step\":2,\"epoch\":1}\n",
                       tails[i]);
        put(text);
        append_steps(3, 3, 2);
        check_steps(3);
    }
}

static void an_old_writer_reaches_nobody_any_more(void **state)
{
    (void)state;
    struct metrics *old = NULL;
    struct metrics *new = NULL;
    assert_int_equal(metrics_open(&old, folder, 0), LS_OK);
    for (int64_t s = 1; s <= 5; s++)
        metrics_append(old, &(struct step_metrics){.step = s, .epoch = 1});
    assert_int_equal(metrics_open(&new, folder, 3), LS_OK);
    metrics_append(new, &(struct step_metrics){.step = 4, .epoch = 1});
    for (int64_t s = 6; s <= 9; s++) /* cut off, not yet noticed */
        metrics_append(old, &(struct step_metrics){.step = s, .epoch = 1});
    metrics_append(new, &(struct step_metrics){.step = 5, .epoch = 1});
    metrics_close(&old);
    metrics_close(&new);
    check_steps(5);
}

static const cJSON *item(const cJSON *json, const char *key)
{
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(json, key);
    if (found == NULL)
        fail_msg("no key %s", key);
    return found;
}

static void line_has_every_key_and_null_for_what_is_not_finite(void **state)
{
    (void)state;
    static const char *const keys[] = {"step",
                                       "epoch",
                                       "loss",
                                       "loss_groups",
                                       "lr",
                                       "ema",
                                       "weight_decay",
                                       "grad_norm",
                                       "target_std",
                                       "target_rank",
                                       "prediction_cosine",
                                       "clips_per_s",
                                       "flops_per_s",
                                       "step_s",
                                       "padding_share",
                                       "data_wait_s",
                                       "comm_wait_s",
                                       "draw_hash"};
    struct metrics *metrics = NULL;
    assert_int_equal(metrics_open(&metrics, folder, 0), LS_OK);
    struct step_metrics step = {.step = 1,
                                .epoch = 3,
                                .loss = NAN,
                                .group_count = 2,
                                .group_loss = {0.123456789, INFINITY},
                                .has_rank = false,
                                .target_rank = 5,
                                .skipped = true,
                                .draw_hash = {.low = 1, .high = 2}};
    metrics_append(metrics, &step);
    metrics_close(&metrics);
    char *text = NULL;
    assert_int_equal(files_read(&text, NULL, path, 1 << 20), LS_OK);
    cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        (void)item(json, keys[k]);
    assert_true(cJSON_IsNull(item(json, "loss")));
    assert_true(cJSON_IsNull(item(json, "target_rank")));
    assert_true(cJSON_IsTrue(item(json, "skipped")));
    const cJSON *groups = item(json, "loss_groups");
    assert_int_equal(cJSON_GetArraySize(groups), 2);
    assert_true(cJSON_GetArrayItem(groups, 0)->valuedouble == 0.123456789);
    assert_true(cJSON_IsNull(cJSON_GetArrayItem(groups, 1)));
    assert_string_equal(item(json, "draw_hash")->valuestring, "00000000000000020000000000000001");
    cJSON_Delete(json);
    free(text);
}

static void folder_that_is_not_there_is_named(void **state)
{
    (void)state;
    struct metrics *metrics = NULL;
    assert_int_equal(metrics_open(&metrics, "/nowhere", 0), LS_IO);
    assert_non_null(strstr(status_message(), "/nowhere/metrics.jsonl"));
    assert_null(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_step_appears_once_after_a_resume),
        cmocka_unit_test(torn_last_line_is_cut),
        cmocka_unit_test(foreign_and_disordered_lines_go_and_the_others_stay),
        cmocka_unit_test(an_old_writer_reaches_nobody_any_more),
        cmocka_unit_test(line_has_every_key_and_null_for_what_is_not_finite),
        cmocka_unit_test(folder_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
