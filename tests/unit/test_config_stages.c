/* Configs with stages: what an entry replaces, what it may not, and the way back from the dump. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config_stages.h"
#include "core/config_table.h"
#include "core/files.h"
#include "core/log.h"
#include "model/schedule.h"
#include "tests/support/checkpoints.h"
#include "tests/support/config_text.h"

static const char stages_text[] = "stages:\n"
                                  "- name: low\n"
                                  "- name: high\n"
                                  "  nodes: 2\n"
                                  "  data:\n"
                                  "    crop_size: [96, 128]\n"
                                  "    datasets: [c, d]\n"
                                  "    dataset_fpcs: [32, 16]\n"
                                  "    fps: null\n"
                                  "    frame_step: 3\n"
                                  "  mask:\n"
                                  "  - num_blocks: 2\n"
                                  "    spatial_scale: [0.7, 0.7]\n"
                                  "    aspect_ratio: [0.75, 1.5]\n"
                                  "  optimization: {steps: 9, warmup: 0, is_anneal: true}\n"
                                  "- name: higher\n"
                                  "  data: {crop_size: 128}\n";

static char *folder;

/* The small config with `tail` behind it, in a file. */
static char *file_of(const char *tail)
{
    char *path = NULL;
    char *text = NULL;
    assert_int_equal(core_format(&path, "%s/stages.yaml", folder), LS_OK);
    assert_int_equal(core_format(&text, "%s%s", config_text_small, tail), LS_OK);
    assert_int_equal(files_replace(path, text, strlen(text)), LS_OK);
    free(text);
    return path;
}

static void open_stages(struct config_stages *out, const char *tail, const char *const *overrides,
                        int count)
{
    char *path = file_of(tail);
    if (config_stages_open(out, path, overrides, count) != LS_OK)
        fail_msg("%s", status_text());
    free(path);
}

static void assert_refused(const char *tail, const char *const *overrides, int count,
                           const char *why)
{
    struct config_stages stages = {0};
    char *path = file_of(tail);
    assert_int_equal(config_stages_open(&stages, path, overrides, count), LS_USAGE);
    if (strstr(status_message(), why) == NULL)
        fail_msg("%s", status_message());
    free(path);
}

static void an_entry_takes_the_place_of_the_files_keys(void **unused)
{
    (void)unused;
    struct config_stages stages = {0};
    open_stages(&stages, stages_text, NULL, 0);
    assert_int_equal(stages.count, 3);
    const struct config *low = stages.list[0];
    const struct config *high = stages.list[1];
    const struct config *higher = stages.list[2];
    assert_string_equal(low->name, "low");
    assert_int_equal(low->data.crop_height, 64);
    assert_int_equal(low->optimization.total_steps, 70);
    assert_string_equal(high->name, "high");
    assert_int_equal(high->micro_batches, 8);
    assert_int_equal(high->data.crop_height, 96);
    assert_int_equal(high->data.crop_width, 128);
    assert_string_equal(high->data.datasets[1].path, "d");
    assert_int_equal(high->data.datasets[0].frames_per_clip, 32);
    assert_int_equal(high->data.frame_step, 3);
    assert_int_equal(high->mask_count, 1);
    assert_int_equal(high->masks[0].num_blocks, 2);
    assert_int_equal(high->optimization.total_steps, 9); /* pushes the file's epochs out */
    assert_true(high->optimization.is_anneal);
    assert_int_equal(high->data.batch_size, 2);
    assert_true(high->optimization.lr == low->optimization.lr);
    assert_int_equal(higher->data.crop_height, 128); /* beside the file's keys, not the entry's
                                                        before it */
    assert_int_equal(higher->nodes, 1);
    assert_false(higher->optimization.is_anneal);
    config_stages_close(&stages);
}

static void steps_are_counted_through_the_stages(void **unused)
{
    (void)unused;
    struct config_stages stages = {0};
    open_stages(&stages, stages_text, NULL, 0);
    assert_int_equal(config_stages_resolve(&stages), LS_OK);
    static const struct {
        int64_t finished;
        int stage;
    } cases[] = {{0, 0}, {69, 0}, {70, 1}, {78, 1}, {79, 2}, {148, 2}, {149, 2}, {1000, 2}};
    assert_int_equal(stages.list[1]->first_step, 70);
    assert_int_equal(stages.list[2]->first_step, 79);
    assert_int_equal(config_stages_steps(&stages), 149);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(config_stages_at(&stages, cases[i].finished), cases[i].stage);
    config_stages_close(&stages);
}

static void a_file_without_stages_is_one(void **unused)
{
    (void)unused;
    struct config_stages stages = {0};
    struct config *config = NULL;
    char *whole = NULL;
    char *text = NULL;
    open_stages(&stages, "", NULL, 0);
    assert_int_equal(stages.count, 1);
    assert_int_equal(config_text_open(&config, config_text_small, NULL, 0), LS_OK);
    config_text_assert_equal(stages.list[0], config);
    assert_int_equal(config_stages_dump(&whole, &stages), LS_OK);
    assert_int_equal(config_dump(&text, config), LS_OK);
    assert_string_equal(whole, text);
    free(whole);
    free(text);
    config_close(&config);
    config_stages_close(&stages);
}

/* Also where the first stage gives a key that a later one must not have. */
static void the_dump_reads_back_to_the_same_stages(void **unused)
{
    (void)unused;
    static const char *const overrides[] = {"data.datasets_weights=[0.5, 0.5]",
                                            "stages[1].data.datasets_weights=null",
                                            "optimization.is_anneal=true",
                                            "optimization.warmup=0",
                                            "optimization.anneal_ckpt=\"x: [y]\"",
                                            "stages[2].data.batch_size=7",
                                            "name=whole"};
    struct config_stages stages = {0};
    struct config_stages again = {0};
    char *text = NULL;
    char *path = NULL;
    open_stages(&stages, stages_text, overrides, 7);
    assert_int_equal(config_stages_dump(&text, &stages), LS_OK);
    assert_int_equal(core_format(&path, "%s/again.yaml", folder), LS_OK);
    assert_int_equal(files_replace(path, text, strlen(text)), LS_OK);
    if (config_stages_open(&again, path, NULL, 0) != LS_OK)
        fail_msg("%s", status_text());
    assert_int_equal(again.count, 3);
    for (int i = 0; i < 3; i++)
        config_text_assert_equal(stages.list[i], again.list[i]);
    assert_string_equal(again.list[0]->optimization.anneal_ckpt, "x: [y]");
    assert_null(again.list[1]->optimization.anneal_ckpt);
    assert_true(again.list[0]->data.weighted);
    assert_false(again.list[1]->data.weighted);
    assert_int_equal(again.list[2]->data.batch_size, 7);
    free(text);
    free(path);
    config_stages_close(&stages);
    config_stages_close(&again);
}

static void overrides_reach_the_file_and_the_entries(void **unused)
{
    (void)unused;
    static const char *const overrides[] = {"data.batch_size=5", "stages[1].data.batch_size=6",
                                            "stages[0].optimization.steps=4", "folder=elsewhere"};
    struct config_stages stages = {0};
    open_stages(&stages, stages_text, overrides, 4);
    assert_int_equal(stages.list[0]->data.batch_size, 5);
    assert_int_equal(stages.list[1]->data.batch_size, 6);
    assert_int_equal(stages.list[2]->data.batch_size, 5);
    assert_int_equal(stages.list[0]->optimization.total_steps, 4);
    assert_string_equal(stages.list[1]->folder, "elsewhere");
    config_stages_close(&stages);
}

static void what_cannot_be_meant_is_refused(void **unused)
{
    (void)unused;
    static const char *const third[] = {"stages[3].nodes=2"};
    static const char *const first_anneals[] = {"optimization.is_anneal=true",
                                                "optimization.warmup=0"};
    assert_refused("stages: 3\n", NULL, 0, "list of 1 to 8 stages");
    assert_refused("stages: []\n", NULL, 0, "list of 1 to 8 stages");
    assert_refused("stages: [1, 2]\n", NULL, 0, "stages[0]: is not a stage");
    assert_refused("stages:\n- folder: x\n", NULL, 0, "folder is for the whole run");
    assert_refused("stages:\n- name: a\n- optimization: {anneal_ckpt: x}\n", NULL, 0,
                   "stages[1]: optimization.anneal_ckpt is for the whole run");
    assert_refused("stages:\n- meta: {read_checkpoint: x}\n", NULL, 0, "for the whole run");
    assert_refused("stages:\n- stages: []\n", NULL, 0, "a stage has no stages");
    assert_refused("stages:\n- data: {batch_siz: 3}\n", NULL, 0, "did you mean data.batch_size");
    assert_refused("stages:\n- name: a\n- data: {crop_size: 65}\n", NULL, 0, "not a multiple");
    assert_refused("stages:\n- optimization: {steps: 3, epochs: 2}\n", NULL, 0, "do not fit");
    assert_refused(stages_text, third, 1, "3 entries");
    assert_refused(stages_text, first_anneals, 2, "starts from a checkpoint");
    assert_refused("stages: [{}, {}, {}, {}, {}, {}, {}, {}, {}]\n", NULL, 0, "1 to 8 stages");
}

static void all_stages_have_one_model(void **unused)
{
    (void)unused;
    static const struct {
        const char *override, *key;
    } cases[] = {
        {"stages[1].model.depth=3", "model.depth"},
        {"stages[2].model.mlp_ratio=3.0", "model.mlp_ratio"},
        {"stages[1].data.patch_size=16", "data.patch_size"},
        {"stages[2].data={datasets: [a], dataset_fpcs: [8]}", "mask groups x datasets"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config_stages stages = {0};
        open_stages(&stages, stages_text, &cases[i].override, 1);
        assert_int_equal(config_stages_resolve(&stages), LS_USAGE);
        if (strstr(status_message(), cases[i].key) == NULL)
            fail_msg("%s", status_message());
        config_stages_close(&stages);
    }
}

/* The stage as a file of its own would have it. */
static char *own_text(struct config *config)
{
    char *text = NULL;
    free(config->name);
    config->name = NULL;
    assert_int_equal(config_dump_part(&text, config, false), LS_OK);
    return text;
}

static void assert_same_as_file(struct config *stage, const char *path)
{
    struct config *config = NULL;
    assert_int_equal(config_open(&config, path, NULL, 0), LS_OK);
    char *mine = own_text(stage);
    char *theirs = own_text(config);
    assert_string_equal(mine, theirs);
    free(mine);
    free(theirs);
    config_close(&config);
}

static void open_shipped(struct config_stages *out, const char *path, const char *const *overrides,
                         int count)
{
    if (config_stages_open(out, path, overrides, count) != LS_OK ||
        config_stages_resolve(out) != LS_OK)
        fail_msg("%s", status_text());
}

/* One decay through the cool-down, and the rate reaches its end. */
static void shipped_runs_end_at_their_last_rate(void **unused)
{
    (void)unused;
    static const char *const paths[] = {"configs/progressive-vitl16.yaml",
                                        "configs/progressive-vitg16.yaml"};
    for (int i = 0; i < 2; i++) {
        struct config_stages stages = {0};
        open_shipped(&stages, paths[i], NULL, 0);
        assert_int_equal(stages.count, 3);
        double whole = schedule_linear_decay(9000, 0.000525, 1e-6, 12000);
        double middle = schedule_at(stages.list[1], 249000).lr;
        assert_true(fabs(middle - whole) < 1e-9);
        assert_true(schedule_at(stages.list[2], 249000).lr == middle);
        assert_true(schedule_at(stages.list[0], 240000).lr == stages.list[1]->optimization.lr);
        assert_int_equal(config_stages_steps(&stages), 252000);
        assert_true(schedule_at(stages.list[2], 252000).lr == 1e-6);
        config_stages_close(&stages);
    }
}

/* With what their heads say, stages are the files of the two-config way. */
static void shipped_stages_are_the_single_files(void **unused)
{
    (void)unused;
    static const char *const at_256[] = {"stages[1].optimization.epochs=40",
                                         "stages[1].optimization.final_lr=1.0e-6"};
    static const char *const at_384[] = {
        "stages[1].optimization.epochs=40", "stages[1].optimization.final_lr=1.0e-6",
        "stages[1].data.crop_size=384", "stages[1].data.batch_size=6", "stages[1].nodes=64"};
    struct config_stages stages = {0};
    open_shipped(&stages, "configs/progressive-vitl16.yaml", at_256, 2);
    assert_same_as_file(stages.list[0], "configs/vitl16-pretrain-256px-16f.yaml");
    assert_same_as_file(stages.list[1], "configs/vitl16-cooldown-256px-64f.yaml");
    config_stages_close(&stages);
    open_shipped(&stages, "configs/progressive-vitg16.yaml", at_384, 5);
    assert_same_as_file(stages.list[0], "configs/vitg16-pretrain-256px-16f.yaml");
    assert_same_as_file(stages.list[1], "configs/vitg16-cooldown-384px-64f.yaml");
    config_stages_close(&stages);
    open_shipped(&stages, "configs/demo-progressive.yaml", NULL, 0);
    assert_same_as_file(stages.list[0], "configs/demo.yaml");
    config_stages_close(&stages);
}

static int make_folder(void **unused)
{
    (void)unused;
    folder = support_folder_quick();
    return 0;
}

static int remove_folder(void **unused)
{
    (void)unused;
    support_folder_remove(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_takes_the_place_of_the_files_keys),
        cmocka_unit_test(steps_are_counted_through_the_stages),
        cmocka_unit_test(a_file_without_stages_is_one),
        cmocka_unit_test(the_dump_reads_back_to_the_same_stages),
        cmocka_unit_test(overrides_reach_the_file_and_the_entries),
        cmocka_unit_test(what_cannot_be_meant_is_refused),
        cmocka_unit_test(all_stages_have_one_model),
        cmocka_unit_test(shipped_runs_end_at_their_last_rate),
        cmocka_unit_test(shipped_stages_are_the_single_files),
    };
    log_open(-1, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
