/* What a config with mistakes gets: one line each with place, key and what is allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/config.h"
#include "core/files.h"
#include "tests/support/capture.h"
#include "tests/support/config_text.h"

/* Open text that must be refused; the message without the file's name. */
static const char *refusal(const char *text, const char *const *overrides, int count)
{
    struct config *config = NULL;
    ls_status st = config_text_open(&config, text, overrides, count);
    if (st != LS_USAGE)
        fail_msg("status %s for:\n%s", status_name(st), text);
    assert_null(config);
    const char *message = status_message();
    size_t length = strlen(config_text_path());
    return strncmp(message, config_text_path(), length) == 0 ? message + length : message;
}

/* One replacement in the small config, and how the one line must begin; NULL: it is right. */
static const struct {
    const char *old, *new, *line;
} one_change[] = {
    {"  batch_size: 2", "  batch_siz: 2",
     ":8: data.batch_siz: unknown key (did you mean data.batch_size?)"},
    {"  batch_size: 2", "  bathc_size: 2",
     ":8: data.bathc_size: unknown key (did you mean data.batch_size?)"},
    {"nodes: 1", "batch_size: 1", ":2: batch_size: unknown key (did you mean data.batch_size?)"},
    {"nodes: 1", "xyzzy: 1", ":2: xyzzy: unknown key; docs/config.md lists all"},
    {"optimization:", "optimisation:",
     ":21: optimisation: unknown key (did you mean optimization?)"},
    {"  spatial_scale: [", "  spatial_scales: [",
     ":14: mask[0].spatial_scales: unknown key (did you mean spatial_scale?)"},
    {"  batch_size: 2", "  batch_size: 0",
     ":8: data.batch_size: '0' is out of range; allowed: an integer from 1 to 65536"},
    {"  batch_size: 2", "  batch_size: 99999999999999999999",
     ":8: data.batch_size: '99999999999999999999' is out of range"},
    {"  batch_size: 2", "  batch_size: 2.0", ":8: data.batch_size: '2.0' is not an integer"},
    {"  batch_size: 2", "  batch_size: 02", ":8: data.batch_size: '02' is not an integer"},
    {"  batch_size: 2", "  batch_size: '2'",
     ":8: data.batch_size: '2' is not an integer (it stands in quotes)"},
    {"  batch_size: 2", "  batch_size:", ":8: data.batch_size: has no value; allowed: an"},
    {"  batch_size: 2", "  batch_size: [2]", ":8: data.batch_size: a list does not fit here"},
    {"  batch_size: 2", "  batch_size: {a: 2}", ":8: data.batch_size: a section does not fit here"},
    {"  batch_size: 2\n", "", ":5: data.batch_size: missing: Clips of a micro-batch."},
    {"folder: run\n", "", ": folder: missing: The run folder"},
    {"folder: run", "folder: ''", ":4: folder: is empty; allowed: a text"},
    {"  fps: 4", "  fps: 4\n  frame_step: 2", ":11: data.fps: stands beside data.frame_step"},
    {"  fps: 4", "  sampling: timestamps\n  frame_step: 2",
     ":11: data.sampling: `timestamps` needs data.fps"},
    {"  fps: 4\n", "", ":5: data.fps: missing: give this (frames a second) or"},
    {"  fps: 4", "  fps: 0", ":11: data.fps: '0' is out of range; allowed: a number above 0"},
    {"  fps: 4", "  fps: .inf", ":11: data.fps: '.inf' is not a number"},
    {"  fps: 4", "  fps: nan", ":11: data.fps: 'nan' is not a number"},
    {"  fps: 4", "  fps: 0x10", ":11: data.fps: '0x10' is not a number"},
    {"  fps: 4", "  fps: 1e999", ":11: data.fps: '1e999' is out of range"},
    {"[8, 16]", "[8]", ":7: data.dataset_fpcs: 1 given, data.datasets has 2: one for each"},
    {"[8, 16]", "[8, 15]",
     ":7: data.dataset_fpcs[1]: 15 is not a multiple of data.tubelet_size (2)"},
    {"[8, 16]", "[8, x]", ":7: data.dataset_fpcs[1]: 'x' is not an integer"},
    {"[a, b]", "[a, [b]]", ":6: data.datasets[1]: a list does not fit here"},
    {"[a, b]", "a", ":6: data.datasets: is not a list of paths"},
    {"[a, b]", "[]", ":6: data.datasets: is not a list of paths"},
    {"  fps: 4", "  fps: 4\n  datasets_weights: [1]",
     ":12: data.datasets_weights: 1 given, data.datasets has 2"},
    {"  fps: 4", "  fps: 4\n  datasets_weights: [0, 0]", ":12: data.datasets_weights: sum to 0"},
    {"  fps: 4", "  fps: 4\n  datasets_weights: [1, -1]",
     ":12: data.datasets_weights[1]: '-1' is out of range"},
    {"crop_size: 64", "crop_size: 65",
     ":9: data.crop_size: 65 is not a multiple of data.patch_size (8)"},
    {"crop_size: 64", "crop_size: [64, 65]",
     ":9: data.crop_size: 65 is not a multiple of data.patch_size (8)"},
    {"crop_size: 64", "crop_size: [64, 64, 3]",
     ":9: data.crop_size: is not a list of two integers"},
    {"crop_size: 64", "crop_size: 8192", ":9: data.crop_size: a clip would have 8388608 patches"},
    {"tasks_per_node: 4", "tasks_per_node: 1024\ncpus_per_task: -1",
     ":4: cpus_per_task: '-1' is out of range"},
    {"nodes: 1", "nodes: 60000",
     ":2: nodes: nodes x tasks_per_node is 240000; allowed: at most 65536"},
    {"[0.15, 0.15]", "[0.2, 0.15]",
     ":14: mask[0].spatial_scale: the first number is above the second"},
    {"[0.15, 0.15]", "[0.15, 1.15]", ":14: mask[0].spatial_scale: '1.15' is out of range"},
    {"[0.15, 0.15]", "0.15", ":14: mask[0].spatial_scale: is not a list of two numbers"},
    {"  aspect_ratio: [0.75, 1.5]\n", "", ":13: mask[0].aspect_ratio: missing: Height over"},
    {"  num_heads: 3", "  num_heads: 5",
     ":17: model.embed_dim: a width of 48 is not a multiple of 5 heads"},
    {"  num_heads: 3", "  num_heads: 16", ":17: model.embed_dim: a width of 48 over 16 heads is"},
    {"  pred_embed_dim: 24", "  pred_embed_dim: 25",
     ":20: model.pred_embed_dim: a width of 25 is not a multiple of 3 heads"},
    {"  depth: 2\n", "", ":16: model.depth: missing: a custom encoder needs it"},
    {"  depth: 2", "  depth: 2\n  model_name: vit_hug",
     ":19: model.model_name: 'vit_hug' is not known; allowed: custom, vit_tiny"},
    {"  embed_dim: 48\n  depth: 2\n", "  embed_dim: 48\n  model_name: vit_tiny\n",
     ":17: model.embed_dim: vit_tiny has 192; write model_name: custom for other dimensions"},
    {"  depth: 2", "  depth: 2\n  use_rope: false",
     ":19: model.use_rope: 'false' is not available; allowed: true"},
    {"  depth: 2", "  depth: 2\n  use_silu: true",
     ":19: model.use_silu: 'true' is not available; allowed: false"},
    {"  depth: 2", "  depth: 2\n  use_pred_silu: true",
     ":19: model.use_pred_silu: 'true' is not available; allowed: false"},
    {"  depth: 2", "  depth: 2\n  use_mask_tokens: False",
     ":19: model.use_mask_tokens: 'False' is not available; allowed: true"},
    {"  epochs: 10", "  epochs: 10\n  steps: 500",
     ":22: optimization.epochs: epochs, ipe and steps do not fit together"},
    {"  epochs: 10\n", "", ":21: optimization.epochs: missing: give this"},
    {"  warmup: 2", "  warmup: 2\n  warmup_steps: 13",
     ":22: optimization.epochs: warmup and warmup_steps do not fit together"},
    {"  warmup: 2\n", "", ":21: optimization.warmup: missing: give this (epochs)"},
    {"  ipe: 7", "  ipe: 1000000000\n  is_anneal: false", NULL},
    {"  epochs: 10\n  ipe: 7", "  epochs: 100000000\n  ipe: 1000000000",
     ":22: optimization.epochs: the run has more than 2^39 steps"},
    {"  ema: [0.99, 1.0]", "  ema: [0.99, 1.01]", ":30: optimization.ema: '1.01' is out of"},
    {"  warmup: 2", "  warmup: 0\n  is_anneal: true",
     ":21: optimization.anneal_ckpt: missing: a cool-down"},
    {"  warmup: 2", "  warmup: 2\n  anneal_ckpt: x\n  is_anneal: true",
     ":24: optimization.warmup: a cool-down (is_anneal: true) has no warm-up"},
    {"  warmup: 2", "  warmup: 2\n  anneal_ckpt: x",
     ":25: optimization.anneal_ckpt: has no meaning without is_anneal: true"},
    {"mask:\n", "meta: {dtype: float16}\nmask:\n",
     ":12: meta.dtype: 'float16' is not available; allowed: float32, bfloat16"},
    {"mask:\n", "meta: {skip_batches: 4}\nmask:\n",
     ":12: meta.skip_batches: '4' is not available; allowed: 0, -1"},
    {"mask:\n", "data_aug: {auto_augment: true}\nmask:\n",
     ":12: data_aug.auto_augment: 'true' is not available; allowed: false"},
    {"mask:\n", "data_aug: {motion_shift: maybe}\nmask:\n",
     ":12: data_aug.motion_shift: 'maybe' is not true or false"},
    {"mask:\n", "loss: 3\nmask:\n", ":12: loss: is a section; allowed: keys below it"},
    {"app: vjepa", "app: ijepa", ":1: app: 'ijepa' is not available; allowed: vjepa"},
};

static void each_mistake_is_one_line_with_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof one_change / sizeof *one_change; i++) {
        char *text = config_text_replace(config_text_small, one_change[i].old, one_change[i].new);
        if (one_change[i].line == NULL) {
            struct config *config = NULL;
            assert_int_equal(config_text_open(&config, text, NULL, 0), LS_OK);
            config_close(&config);
        } else {
            const char *line = refusal(text, NULL, 0);
            if (strncmp(line, one_change[i].line, strlen(one_change[i].line)) != 0)
                fail_msg("'%s' instead of '%s'", line, one_change[i].line);
            if (strstr(line, "more mistake") != NULL)
                fail_msg("one mistake, but: %s", line);
        }
        free(text);
    }
}

static void all_mistakes_of_a_file_are_told(void **state)
{
    (void)state;
    static const char *const changes[][2] = {
        {"nodes: 1", "nodes: none"},
        {"[8, 16]", "[8, 15]"},
        {"batch_size: 2", "batch_siz: 2"},
        {"crop_size: 64", "crop_size: 60"},
        {"fps: 4", "fps: -4"},
        {"num_blocks: 8", "num_blocks: many"},
        {"  num_heads: 3", "  num_heads: 3\n  use_rope: no"},
        {"pred_embed_dim: 24", "pred_embed_dim: 0.5"},
        {"lr: 0.001", "lr: 1e-3e"},
        {"ema: [0.99, 1.0]", "ema: 0.99"},
    };
    char *text = strdup(config_text_small);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char *changed = config_text_replace(text, changes[i][0], changes[i][1]);
        free(text);
        text = changed;
    }
    capture_begin();
    struct config *config = NULL;
    ls_status st = config_text_open(&config, text, NULL, 0);
    char *log = capture_end();
    assert_int_equal(st, LS_USAGE);
    assert_int_equal(capture_count(status_message(), "\n"), 0);
    assert_int_equal(capture_count(status_message(), "(and 9 more mistakes)"), 1);
    assert_int_equal(capture_count(status_message(), ":2: nodes: 'none' is not an integer"), 1);
    assert_int_equal(capture_count(log, "level=error"), 9);
    assert_int_equal(capture_count(log, "\n"), 9);
    assert_int_equal(capture_count(log, config_text_path()), 9);
    free(log);
    free(text);
}

static void files_that_are_no_config_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ": empty"},
        {"# only a comment\n", ": empty"},
        {"just text\n", ":1: a config is a mapping"},
        {"- a\n- b\n", ":1: a config is a mapping"},
        {"a: [1\n", ":2: not valid YAML: "},
        {"a: 1\n b: 2\n", ":2: not valid YAML: mapping values are not allowed in this context"},
        {"a: \"x\n", ":2: not valid YAML: found unexpected end of stream"},
        {"\tx: 1\n", ":1: not valid YAML: found character that cannot start any token"},
        {"nodes: 1\n---\nnodes: 2\n", ":2: a second document"},
        {"nodes: 1\nnodes: 2\n", ":2: nodes: the key stands here twice, first in line 1"},
        {"{[a]: 1}\n", ":1: a key must be a word"},
        {"? {a: 1}\n: 2\n", ":1: a key must be a word"},
        {"nodes: *x\n", ":1: alias *x has no anchor before it"},
        {"data: &x {a: *x}\n", ":1: alias *x lies within its own anchor"},
        {"a: &x [&y [*x]]\n", ":1: alias *x lies within its own anchor"},
        {"folder: \"a\\0b\"\n", ":1: a 0 byte within a text"},
        {"a: [[[[[[[[[[[[1]]]]]]]]]]]]\n", ":1: nested deeper than 12"},
        {"folder: \xff\xfe\n", ":1: not valid YAML: invalid leading UTF-8 octet"},
        {"folder: \x01\n", ":1: not valid YAML: control characters are not allowed"},
        {"folder: !!binary aGVsbG8=\nnodes: !!int 1\n", ":2: nodes: '1' is not an integer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *line = refusal(cases[i][0], NULL, 0);
        if (strncmp(line, cases[i][1], strlen(cases[i][1])) != 0)
            fail_msg("'%s' instead of '%s'", line, cases[i][1]);
    }
}

static void unreadable_files_are_refused(void **state)
{
    (void)state;
    struct config *config = NULL;
    assert_int_equal(config_open(&config, "no/such.yaml", NULL, 0), LS_IO);
    assert_non_null(strstr(status_message(), "no/such.yaml: cannot open"));
    assert_int_equal(config_open(&config, "core", NULL, 0), LS_IO);
    char *large = calloc(2 << 20, 1);
    assert_non_null(large);
    memset(large, '#', (2 << 20) - 1);
    assert_int_equal(config_text_open(&config, large, NULL, 0), LS_USAGE);
    free(large);
}

/* A few kilobytes that would unfold to 10^9 values. */
static void aliases_cannot_explode(void **state)
{
    (void)state;
    const char *bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
                       "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
                       "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
                       "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
                       "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
    assert_non_null(strstr(refusal(bomb, NULL, 0), ":4: more than 4000 values"));
}

static void anchors_work(void **state)
{
    (void)state;
    char *text =
        config_text_replace(config_text_small, "- num_blocks: 8\n", "- &group\n  num_blocks: 8\n");
    char *twice = config_text_replace(text, "model:\n", "- *group\nmodel:\n");
    struct config *config = NULL;
    if (config_text_open(&config, twice, NULL, 0) != LS_OK)
        fail_msg("%s", status_message());
    assert_int_equal(config->mask_count, 2);
    assert_memory_equal(&config->masks[0], &config->masks[1], sizeof config->masks[0]);
    config_close(&config);
    free(text);
    free(twice);
}

static void overrides_are_applied_in_order(void **state)
{
    (void)state;
    const char *const overrides[] = {
        "data.batch_size=3",      "data.batch_size=5",
        "mask[0].num_blocks=4",   "data.datasets=[x, \"y, z\"]",
        "data.datasets[0]=first", "optimization.ema[1]=0.5",
        "lockstep.threads=3",     "folder=a=b",
        "model.pred_num_heads=",  "meta.read_checkpoint=run/checkpoints/step 5",
    };
    struct config *config = NULL;
    ls_status st = config_text_open(&config, config_text_small, overrides,
                                    sizeof overrides / sizeof *overrides);
    if (st != LS_OK)
        fail_msg("%s", status_message());
    assert_int_equal(config->data.batch_size, 5);
    assert_int_equal(config->masks[0].num_blocks, 4);
    assert_string_equal(config->data.datasets[0].path, "first");
    assert_string_equal(config->data.datasets[1].path, "y, z");
    assert_true(config->optimization.ema[0] == 0.99 && config->optimization.ema[1] == 0.5);
    assert_int_equal(config->run.threads, 3);
    assert_string_equal(config->folder, "a=b");
    assert_int_equal(config->model.pred_num_heads, 3);
    assert_string_equal(config->meta.read_checkpoint, "run/checkpoints/step 5");
    config_close(&config);
}

static void mistakes_in_overrides_name_the_option(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"data.batch_size=0", "--set: data.batch_size: '0' is out of range; allowed: an integer"},
        {"data.batch_siz=3", "--set: data.batch_siz: unknown key (did you mean data.batch_size?)"},
        {"mask[0].num_block=3", "--set: mask[0].num_block: unknown key (did you mean num_blocks?)"},
        {"data=3", "--set: data: is a section; allowed: keys below it"},
        {"data.batch_size", "--set data.batch_size: write it as key=value"},
        {"=3", "--set =3: write it as key=value"},
        {"data..x=3", "--set data..x: not a key"},
        {".x=3", "--set .x: not a key"},
        {"data.=3", "--set data.: not a key"},
        {"mask[=3", "--set mask[: not a key"},
        {"mask[]=3", "--set mask[]: not a key"},
        {"mask[-1]=3", "--set mask[-1]: not a key"},
        {"mask[0]x=3", "--set mask[0]x: not a key"},
        {"mask[99999999999]=3", "--set mask[99999999999]: not a key"},
        {"mask[1].num_blocks=3", "--set mask[1].num_blocks: the list has 1 entries"},
        {"mask.num_blocks=3",
         "--set mask.num_blocks: 'num_blocks' is sought in a value that is no"},
        {"nodes[0]=3", "--set nodes[0]: 'an entry' is sought in a value that is no list"},
        {"nodes.x=3", "--set nodes.x: 'x' is sought in a value that is no section"},
        {"data.fps=[1", "--set data.fps: not valid YAML: "},
        {"data.fps=*x", "--set data.fps: alias *x has no anchor"},
        {"data.datasets=&a [*a]", "--set data.datasets: alias *a lies within its own anchor"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *line = refusal(config_text_small, &cases[i][0], 1);
        if (strncmp(line, cases[i][1], strlen(cases[i][1])) != 0)
            fail_msg("'%s' instead of '%s'", line, cases[i][1]);
    }
}

static void schedules_that_cannot_be_meant_are_warned_of(void **state)
{
    (void)state;
    static const struct {
        const char *override, *warning;
    } cases[] = {
        {"nodes=1", NULL},
        {"optimization.warmup=11", "the warm-up of 77 steps is longer than the run of 70"},
        {"optimization.ipe_scale=1.25", "the schedules end at step 87, the run at 70"},
        {"optimization.ipe_scale=0.5", "the schedules end at step 35, the run at 70"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config *config = NULL;
        assert_int_equal(config_text_open(&config, config_text_small, &cases[i].override, 1),
                         LS_OK);
        capture_begin();
        config_warn(config);
        char *log = capture_end();
        assert_int_equal(capture_count(log, "level=warn"), cases[i].warning != NULL ? 1 : 0);
        if (cases[i].warning != NULL)
            assert_non_null(strstr(log, cases[i].warning));
        config_close(&config);
        free(log);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_is_one_line_with_its_place),
        cmocka_unit_test(all_mistakes_of_a_file_are_told),
        cmocka_unit_test(files_that_are_no_config_are_refused),
        cmocka_unit_test(unreadable_files_are_refused),
        cmocka_unit_test(aliases_cannot_explode),
        cmocka_unit_test(anchors_work),
        cmocka_unit_test(overrides_are_applied_in_order),
        cmocka_unit_test(mistakes_in_overrides_name_the_option),
        cmocka_unit_test(schedules_that_cannot_be_meant_are_warned_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
