/* Configs: the public files and ours, what is resolved, the round trip, the fingerprint, the docs.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/config_stages.h"
#include "core/files.h"
#include "tests/support/capture.h"
#include "tests/support/config_text.h"

/* A file of the public configs, or a skip where the folder is not there. */
static const char *public_path(const char *name)
{
    static char path[512];
    const char *shared = getenv("SHARED");
    (void)snprintf(path, sizeof path, "%s/public_configs/%s", shared != NULL ? shared : "../shared",
                   name);
    if (!files_exists(path))
        skip();
    return path;
}

static struct config *open_small(const char *const *overrides, int count)
{
    struct config *config = NULL;
    ls_status st = config_text_open(&config, config_text_small, overrides, count);
    if (st != LS_OK)
        fail_msg("%s", status_message());
    return config;
}

static void public_files_load_as_they_are(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int width, depth, micro_batches, clips, frames, crop;
        int64_t total, warmup, schedule;
        bool anneal, warns;
    } cases[] = {
        {"vitl16-pretrain-256px-16f.yaml", 1024, 24, 128, 24, 16, 256, 3000, 12000, 3750, false,
         true},
        {"vith16-pretrain-256px-16f.yaml", 1280, 32, 128, 24, 16, 256, 3000, 12000, 3750, false,
         true},
        {"vitg16-pretrain-256px-16f.yaml", 1408, 40, 128, 24, 16, 256, 240000, 12000, 300000, false,
         false},
        {"vitl16-cooldown-256px-64f.yaml", 1024, 24, 256, 12, 64, 256, 12000, 0, 15000, true, true},
        {"vith16-cooldown-256px-64f.yaml", 1280, 32, 256, 12, 64, 256, 12000, 0, 15000, true, true},
        {"vitg16-cooldown-256px-64f.yaml", 1408, 40, 512, 6, 64, 256, 120, 0, 150, true, true},
        {"vitg16-cooldown-384px-64f.yaml", 1408, 40, 512, 6, 64, 384, 12000, 0, 15000, true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config *config = NULL;
        const char *path = public_path(cases[i].name);
        capture_begin();
        ls_status st = config_open(&config, path, NULL, 0);
        if (st == LS_OK)
            config_warn(config);
        char *log = capture_end();
        if (st != LS_OK)
            fail_msg("%s", status_message());
        assert_int_equal(capture_count(log, "ignored_keys="), 1);
        assert_int_equal(capture_count(log, "data.pin_mem"), 1);
        assert_int_equal(capture_count(log, "level=warn"), cases[i].warns ? 1 : 0);
        assert_int_equal(config->model.embed_dim, cases[i].width);
        assert_int_equal(config->model.depth, cases[i].depth);
        assert_int_equal(config->model.num_mask_tokens, 2 * 3);
        assert_int_equal(config->micro_batches, cases[i].micro_batches);
        assert_int_equal(config->data.batch_size, cases[i].clips);
        assert_int_equal(config->data.dataset_count, 3);
        assert_int_equal(config->data.datasets[2].frames_per_clip, cases[i].frames);
        assert_true(config->data.weighted);
        assert_true(config->data.datasets[2].weight == 0.565);
        assert_int_equal(config->data.crop_height, cases[i].crop);
        assert_int_equal(config->data.crop_width, cases[i].crop);
        assert_int_equal(config->mask_count, 2);
        assert_int_equal(config->masks[0].num_blocks, 8);
        assert_true(config->masks[1].spatial_scale[1] == 0.7);
        assert_int_equal(config->masks[1].max_keep, 0);
        assert_int_equal(config->meta.dtype, CONFIG_BFLOAT16);
        assert_int_equal(config->meta.seed, 239);
        assert_int_equal(config->optimization.is_anneal, cases[i].anneal);
        assert_int_equal(config->optimization.total_steps, cases[i].total);
        assert_int_equal(config->optimization.warmup_steps, cases[i].warmup);
        assert_int_equal(config->optimization.schedule_steps, cases[i].schedule);
        config_text_assert_round_trip(config);
        config_close(&config);
        free(log);
    }
}

static void mlp_ratio_of_giant_is_not_rounded(void **state)
{
    (void)state;
    const char *const overrides[] = {"model={model_name: vit_giant_xformers, pred_embed_dim: 352}"};
    struct config *config = open_small(overrides, 1);
    assert_true(config->model.mlp_ratio == 48.0 / 11.0);
    assert_int_equal(config->model.num_heads, 22);
    assert_int_equal(config->model.pred_num_heads, 22); /* those of the encoder when not given */
    config_close(&config);
}

static void configs_of_other_programs_are_refused_in_one_line(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"vitg16-droid-256px-8f.yaml", ":1: app: vjepa_droid is action-conditioned post-training"},
        {"eval-vitl16-ssv2.yaml", ":2: eval_name: this is the config of an evaluation"},
    };
    for (int i = 0; i < 2; i++) {
        struct config *config = NULL;
        const char *path = public_path(names[i][0]);
        capture_begin();
        ls_status st = config_open(&config, path, NULL, 0);
        char *log = capture_end();
        assert_int_equal(st, LS_USAGE);
        assert_null(config);
        assert_non_null(strstr(status_message(), names[i][1]));
        assert_string_equal(log, "");
        free(log);
    }
}

/* Our files have no fault that is warned of, no ignored key, and end at their final values.  The
 * config of an evaluation is run by tests/e2e/probe.sh. */
static void own_configs_are_right(void **state)
{
    (void)state;
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(files_list(&names, &count, "configs"), LS_OK);
    assert_true(count >= 8);
    for (size_t i = 0; i < count; i++) {
        struct config_stages stages = {0};
        char *path = NULL;
        if (strcmp(names[i], "demo-probe.yaml") == 0)
            continue;
        assert_int_equal(core_format(&path, "configs/%s", names[i]), LS_OK);
        capture_begin();
        ls_status st = config_stages_open(&stages, path, NULL, 0);
        for (int s = 0; s < stages.count; s++)
            config_warn(stages.list[s]);
        char *log = capture_end();
        if (st != LS_OK)
            fail_msg("%s", status_message());
        assert_string_equal(log, "");
        for (int s = 0; s < stages.count; s++) {
            const struct config_optimization *o = &stages.list[s]->optimization;
            assert_int_equal(o->schedule_steps, o->total_steps);
            assert_true(o->warmup_steps < o->total_steps);
        }
        config_text_assert_round_trip(stages.list[0]);
        config_stages_close(&stages);
        free(path);
        free(log);
    }
    files_list_free(&names, count);
}

static void defaults_follow_the_table(void **state)
{
    (void)state;
    struct config *config = open_small(NULL, 0);
    assert_string_equal(config->app, "vjepa");
    assert_string_equal(config->model.model_name, "custom");
    assert_true(config->model.mlp_ratio == 4.0);
    assert_int_equal(config->data.tubelet_size, 2);
    assert_false(config->data.weighted);
    assert_true(isnan(config->data.datasets[0].weight));
    assert_true(config->data_aug.random_resize_aspect_ratio[1] == 4.0 / 3.0);
    assert_true(config->data_aug.horizontal_flip);
    assert_true(config->masks[0].temporal_scale[0] == 1.0);
    assert_true(config->optimization.beta1 == 0.9 && config->optimization.beta2 == 0.999);
    assert_true(config->optimization.eps == 1e-8);
    assert_true(config->meta.load_checkpoint);
    assert_null(config->meta.read_checkpoint);
    assert_int_equal(config->run.device, CONFIG_DEVICE_AUTO);
    config_close(&config);
}

static void steps_are_resolved(void **state)
{
    (void)state;
    static const struct {
        const char *overrides[4];
        int64_t total, warmup, schedule;
        int epochs, ipe;
    } cases[] = {
        {{NULL}, 70, 14, 70, 10, 7},
        {{"optimization.ipe_scale=1.25"}, 70, 14, 87, 10, 7},
        {{"optimization.warmup=0.5"}, 70, 3, 70, 10, 7},
        {{"optimization.steps=60"}, 60, 14, 60, 9, 7},
        {{"optimization.steps=60", "optimization.ipe=null", "optimization.warmup_steps=13"},
         60,
         13,
         60,
         1,
         60},
        {{"optimization.warmup_steps=13"}, 70, 13, 70, 10, 7},
        {{"optimization.steps=30", "optimization.epochs=3"}, 21, 14, 21, 3, 7},
        {{"optimization.epochs=800", "optimization.ipe=300", "optimization.warmup=40",
          "optimization.ipe_scale=1.25"},
         240000,
         12000,
         300000,
         800,
         300},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int count = 0;
        while (count < 4 && cases[i].overrides[count] != NULL)
            count++;
        struct config *config = open_small(cases[i].overrides, count);
        assert_int_equal(config->optimization.total_steps, cases[i].total);
        assert_int_equal(config->optimization.warmup_steps, cases[i].warmup);
        assert_int_equal(config->optimization.schedule_steps, cases[i].schedule);
        assert_int_equal(config->optimization.epochs, cases[i].epochs);
        assert_int_equal(config->optimization.ipe, cases[i].ipe);
        config_text_assert_round_trip(config);
        config_close(&config);
    }
}

static void ipe_comes_from_the_data_when_absent(void **state)
{
    (void)state;
    const char *const overrides[] = {"optimization.ipe=null", "optimization.warmup_steps=13"};
    struct config *config = open_small(overrides, 2);
    assert_int_equal(config->optimization.ipe, 0);
    assert_int_equal(config->optimization.total_steps, 0);
    config_text_assert_round_trip(config);
    assert_int_equal(config_set_ipe(config, 30), LS_OK);
    assert_int_equal(config->optimization.total_steps, 300);
    assert_int_equal(config->optimization.warmup_steps, 13);
    config_text_assert_round_trip(config);
    assert_int_equal(config_set_ipe(config, 5), LS_OK); /* has one now */
    assert_int_equal(config->optimization.ipe, 30);
    config_close(&config);
    config = open_small(overrides, 1);
    assert_int_equal(config_set_ipe(config, 0), LS_OK); /* less data than a step takes */
    assert_int_equal(config->optimization.total_steps, 10);
    config_close(&config);
    config = open_small(overrides, 1);
    assert_int_equal(config_set_ipe(config, (int64_t)1 << 40), LS_USAGE);
    config_close(&config);
}

static void any_warmup_survives_the_dump(void **state)
{
    (void)state;
    for (int ipe = 1; ipe < 400; ipe += 13) {
        for (int steps = 1; steps < 300; steps += 7) {
            char ipe_text[64];
            char warmup_text[64];
            (void)snprintf(ipe_text, sizeof ipe_text, "optimization.ipe=%d", ipe);
            (void)snprintf(warmup_text, sizeof warmup_text, "optimization.warmup_steps=%d", steps);
            const char *const overrides[] = {ipe_text, warmup_text};
            struct config *config = open_small(overrides, 2);
            assert_int_equal(config->optimization.warmup_steps, steps);
            assert_int_equal((int64_t)(config->optimization.warmup * ipe), steps);
            config_close(&config);
        }
    }
}

static void odd_texts_survive_the_dump(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "two  spaces, a comma & 100% #1",
        " leading and trailing ",
        "quote \" and ' and \\ backslash",
        "a: b",
        "- dash",
        "#hash",
        "null",
        "~",
        "true",
        "1e3",
        "123",
        "[x]",
        "{y}",
        "*star &amp !bang",
        "%percent",
        "@at `tick",
        "tab\there",
        "line\nbreak\r\n",
        "пример клипа 视频, №2.mp4",
        "\xf0\x9f\x8e\xac film",
        "line separator \xe2\x80\xa8 next line \xc2\x85 byte order \xef\xbb\xbf",
        "bell \a delete \x7f c1 \xc2\x9b",
    };
    struct config *config = open_small(NULL, 0);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *kept[3] = {config->folder, config->data.datasets[0].path,
                         config->meta.read_checkpoint};
        config->folder = (char *)texts[i];
        config->data.datasets[0].path = (char *)texts[i];
        config->meta.read_checkpoint = (char *)texts[i];
        config_text_assert_round_trip(config);
        config->folder = kept[0];
        config->data.datasets[0].path = kept[1];
        config->meta.read_checkpoint = kept[2];
    }
    config_close(&config);
}

static void every_kind_of_value_survives_the_dump(void **state)
{
    (void)state;
    const char *const overrides[] = {
        "data.crop_size=[64, 128]",
        "data.datasets_weights=[0.1, 1.0e-300]",
        "data.frame_step=3",
        "data.packed_folder=/tmp/x y",
        "mask[0].max_keep=17",
        "mask[0].inv_block=yes",
        "meta.dtype=bfloat16",
        "meta.seed=8999999999999999",
        "meta.save_every_freq=-1",
        "optimization.ema=[0.30000000000000004, 0.1]",
        "optimization.lr=5e-324",
        "optimization.weight_decay=999.9999999999999",
        "optimization.optimizer_state=sharded",
        "lockstep={device: cpu, threads: 3, step_timeout_s: 0.1}",
        "mem_per_gpu=220G",
        "cpus_per_task=12",
        "loss.loss_exp=1.5",
    };
    struct config *config = open_small(overrides, sizeof overrides / sizeof *overrides);
    assert_int_equal(config->data.crop_height, 64);
    assert_int_equal(config->data.crop_width, 128);
    assert_true(config->data.fps == 0);
    assert_int_equal(config->data.frame_step, 3);
    assert_true(config->masks[0].inv_block);
    assert_int_equal(config->meta.seed, 8999999999999999);
    assert_int_equal(config->run.device, CONFIG_DEVICE_CPU);
    config_text_assert_round_trip(config);
    config_close(&config);

    const char *const by_time[] = {"data.sampling=timestamps"}; /* which needs data.fps */
    config = open_small(by_time, 1);
    assert_int_equal(config->data.sampling, CONFIG_SAMPLING_TIMESTAMPS);
    config_text_assert_round_trip(config);
    config_close(&config);
}

static uint64_t fingerprint_with(const char *override)
{
    uint64_t value = 0;
    struct config *config = open_small(&override, override != NULL ? 1 : 0);
    assert_int_equal(config_fingerprint(&value, config), LS_OK);
    config_close(&config);
    return value;
}

static void fingerprint_is_of_what_determines_results(void **state)
{
    (void)state;
    static const char *const other_run[] = {
        "folder=elsewhere",
        "lockstep.threads=3",
        "lockstep.device=cpu",
        "lockstep.step_timeout_s=5",
        "data.num_workers=7",
        "data.datasets=[/moved/a, /moved/b]",
        "meta.save_freq_steps=17",
        "meta.eval_freq=3",
        "cpus_per_task=3",
        "optimization.warmup_steps=14",
        "meta.load_checkpoint=false",
    };
    static const char *const other_result[] = {
        "tasks_per_node=5",
        "data.batch_size=3",
        "data.fps=5",
        "data.dataset_fpcs=[8, 8]",
        "data.datasets_weights=[1, 2]",
        "data.crop_size=[64, 72]",
        "data_aug.horizontal_flip=false",
        "mask[0].num_blocks=7",
        "mask[0].max_keep=10",
        "meta.seed=1",
        "meta.dtype=bfloat16",
        "model.depth=3",
        "model.init_std=0.06",
        "optimization.lr=0.0011",
        "optimization.epochs=11",
        "optimization.warmup=3",
        "optimization.ipe_scale=1.25",
        "optimization.grad_clip=1",
    };
    uint64_t base = fingerprint_with(NULL);
    for (size_t i = 0; i < sizeof other_run / sizeof *other_run; i++)
        if (fingerprint_with(other_run[i]) != base)
            fail_msg("%s changes the fingerprint", other_run[i]);
    for (size_t i = 0; i < sizeof other_result / sizeof *other_result; i++)
        if (fingerprint_with(other_result[i]) == base)
            fail_msg("%s does not change the fingerprint", other_result[i]);
    /* M counts, not how it is split. */
    const char *const split[] = {"nodes=2", "tasks_per_node=2"};
    uint64_t value = 0;
    struct config *config = open_small(split, 2);
    assert_int_equal(config_fingerprint(&value, config), LS_OK);
    assert_true(value == base);
    config_close(&config);
}

static void docs_have_every_key(void **state)
{
    (void)state;
    char *page = NULL;
    char *tables = NULL;
    assert_int_equal(files_read(&page, NULL, "docs/config.md", 1 << 20), LS_OK);
    assert_int_equal(config_reference(&tables), LS_OK);
    const char *marker = strstr(page, CONFIG_REFERENCE_MARKER);
    assert_non_null(marker);
    const char *written = marker + strlen(CONFIG_REFERENCE_MARKER) + 1;
    if (strcmp(written, tables) != 0)
        fail_msg("docs/config.md is behind the table of keys: make build/tools/config_reference && "
                 "build/tools/config_reference docs/config.md");
    free(page);
    free(tables);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(public_files_load_as_they_are),
        cmocka_unit_test(mlp_ratio_of_giant_is_not_rounded),
        cmocka_unit_test(configs_of_other_programs_are_refused_in_one_line),
        cmocka_unit_test(own_configs_are_right),
        cmocka_unit_test(defaults_follow_the_table),
        cmocka_unit_test(steps_are_resolved),
        cmocka_unit_test(ipe_comes_from_the_data_when_absent),
        cmocka_unit_test(any_warmup_survives_the_dump),
        cmocka_unit_test(odd_texts_survive_the_dump),
        cmocka_unit_test(every_kind_of_value_survives_the_dump),
        cmocka_unit_test(fingerprint_is_of_what_determines_results),
        cmocka_unit_test(docs_have_every_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
