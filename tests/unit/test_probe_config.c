/* The configs of a frozen probe: the public schema, our keys, mistakes, the resolved text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/config_probe.h"
#include "core/files.h"

static const char least[] = "eval_name: video_classification_frozen\n"
                            "folder: /f\n"
                            "experiment:\n"
                            "  data: {dataset_train: /a, dataset_val: /b}\n"
                            "  optimization:\n"
                            "    batch_size: 4\n"
                            "    num_epochs: 2\n"
                            "    multihead_kwargs:\n"
                            "    - {lr: 0.1, weight_decay: 0.2, final_weight_decay: 0.3}\n"
                            "model_kwargs: {checkpoint: /runs/a/checkpoints/step-000000007}\n";

static ls_status open_text(struct config_probe **out, const char *text, const char *set)
{
    char path[] = "/tmp/lockstep-probe-config.XXXXXX";
    const int file = mkstemp(path);
    assert_true(file >= 0);
    (void)close(file);
    assert_int_equal(files_replace(path, text, strlen(text)), LS_OK);
    const ls_status st = config_probe_open(out, path, &set, set != NULL ? 1 : 0);
    (void)unlink(path);
    return st;
}

static void opens_the_public_config(void **state)
{
    (void)state;
    char path[512];
    const char *shared = getenv("SHARED");
    struct config_probe *probe = NULL;
    (void)snprintf(path, sizeof path, "%s/public_configs/eval-vitl16-ssv2.yaml",
                   shared != NULL ? shared : "../shared");
    if (!files_exists(path)) {
        skip();
        return;
    }
    assert_int_equal(config_probe_open(&probe, path, NULL, 0), LS_OK);
    assert_int_equal(probe->head_count, 20);
    assert_int_equal(probe->base.micro_batches, 64);
    assert_int_equal(probe->base.data.batch_size, 4);
    assert_int_equal(probe->base.data.frame_step, 4);
    assert_int_equal(probe->classes, 174);
    assert_int_equal(probe->segments, 2);
    assert_int_equal(probe->views, 3);
    assert_int_equal(probe->pool_blocks, 4);
    assert_int_equal(probe->pool_heads, 16);
    assert_int_equal(probe->resolution, 256);
    assert_int_equal(probe->epochs, 20);
    assert_int_equal(probe->network, CONFIG_TARGET_ENCODER);
    assert_int_equal(probe->base.meta.dtype, CONFIG_BFLOAT16);
    assert_string_equal(probe->model_name, "vit_large");
    assert_true(probe->augment);
    assert_true(probe->heads[19].lr == 0.0001 && probe->heads[19].weight_decay == 0.8);
    config_probe_close(&probe);
}

static void defaults_are_the_public_ones(void **state)
{
    (void)state;
    struct config_probe *probe = NULL;
    assert_int_equal(open_text(&probe, least, NULL), LS_OK);
    assert_int_equal(probe->frames_per_clip, 16);
    assert_int_equal(probe->segments, 1);
    assert_int_equal(probe->classes, 0);
    assert_int_equal(probe->init, CONFIG_INIT_BOTH);
    assert_true(probe->heads[0].lr == 0.1 && probe->heads[0].final_weight_decay == 0.3);
    assert_string_equal(config_probe_tag(probe), "probe");
    config_probe_close(&probe);
}

static void the_resolved_text_reads_back(void **state)
{
    (void)state;
    struct config_probe *probe = NULL;
    struct config_probe *again = NULL;
    char *text = NULL;
    char *second = NULL;
    assert_int_equal(open_text(&probe, least, "folder=/x \"y\""), LS_OK);
    assert_int_equal(config_probe_dump(&text, probe), LS_OK);
    assert_int_equal(open_text(&again, text, NULL), LS_OK);
    assert_int_equal(config_probe_dump(&second, again), LS_OK);
    assert_string_equal(text, second);
    assert_string_equal(again->base.folder, "/x \"y\"");
    assert_true(again->heads[0].lr == 0.1);
    free(text);
    free(second);
    config_probe_close(&probe);
    config_probe_close(&again);
}

static void results_lie_in_the_run(void **state)
{
    (void)state;
    struct config_probe *probe = NULL;
    char *folder = NULL;
    assert_int_equal(open_text(&probe, least, NULL), LS_OK);
    assert_int_equal(config_probe_results(&folder, probe), LS_OK);
    assert_string_equal(folder, "/runs/a/probe");
    free(folder);
    config_probe_close(&probe);
    assert_int_equal(open_text(&probe, least, "model_kwargs.checkpoint=/somewhere/else"), LS_OK);
    assert_int_equal(config_probe_results(&folder, probe), LS_OK);
    assert_string_equal(folder, "/f/probe");
    free(folder);
    config_probe_close(&probe);
}

/* A setting that has to be refused, and what its line says. */
static void mistakes_are_told_in_one_line(void **state)
{
    (void)state;
    static const struct {
        const char *set, *says;
    } cases[] = {
        {"eval_name=image_classification_frozen", "eval_name: 'image_classification_frozen'"},
        {"experiment.data.num_segment=2", "did you mean experiment.data.num_segments?"},
        {"experiment.data.clip_duration=2.0", "clip_duration: '2.0' is not available"},
        {"experiment.optimization.use_pos_embed=true", "use_pos_embed: 'true' is not available"},
        {"experiment.data.frames_per_clip=0", "frames_per_clip: '0' is out of range"},
        {"experiment.optimization.multihead_kwargs=[]", "is not a list of 1 to 256"},
        {"experiment.optimization.multihead_kwargs[0].lrs=1", "multihead_kwargs[0]: has a key"},
        {"model_kwargs.pretrain_kwargs.encoder.use_rope=false", "use_rope: 'false'"},
        {"lockstep.device=tpu", "lockstep.device: 'tpu'"},
        {"tag=a/b", "tag: 'a/b' cannot be part"},
        {"model_kwargs=3", "model_kwargs: is a section"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config_probe *probe = NULL;
        assert_int_equal(open_text(&probe, least, cases[i].set), LS_USAGE);
        assert_null(probe);
        if (strstr(status_message(), cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].set, status_message());
    }
    struct config_probe *probe = NULL;
    assert_int_equal(open_text(&probe, "app: vjepa\n", NULL), LS_USAGE);
    assert_non_null(strstr(status_message(), "eval_name"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_the_public_config),
        cmocka_unit_test(defaults_are_the_public_ones),
        cmocka_unit_test(the_resolved_text_reads_back),
        cmocka_unit_test(results_lie_in_the_run),
        cmocka_unit_test(mistakes_are_told_in_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
