/* Helpers of the config tests. */
#include "tests/support/config_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/config_table.h"
#include "core/files.h"

const char config_text_small[] = "app: vjepa\n"
                                 "nodes: 1\n"
                                 "tasks_per_node: 4\n"
                                 "folder: run\n"
                                 "data:\n"
                                 "  datasets: [a, b]\n"
                                 "  dataset_fpcs: [8, 16]\n"
                                 "  batch_size: 2\n"
                                 "  crop_size: 64\n"
                                 "  patch_size: 8\n"
                                 "  fps: 4\n"
                                 "mask:\n"
                                 "- num_blocks: 8\n"
                                 "  spatial_scale: [0.15, 0.15]\n"
                                 "  aspect_ratio: [0.75, 1.5]\n"
                                 "model:\n"
                                 "  embed_dim: 48\n"
                                 "  depth: 2\n"
                                 "  num_heads: 3\n"
                                 "  pred_embed_dim: 24\n"
                                 "optimization:\n"
                                 "  epochs: 10\n"
                                 "  ipe: 7\n"
                                 "  warmup: 2\n"
                                 "  start_lr: 0.0001\n"
                                 "  lr: 0.001\n"
                                 "  final_lr: 1.0e-6\n"
                                 "  weight_decay: 0.04\n"
                                 "  final_weight_decay: 0.4\n"
                                 "  ema: [0.99, 1.0]\n";

/* In memory: tests open thousands. */
static int config_file(void)
{
    static int file = -1;
    if (file < 0)
        file = memfd_create("config", MFD_CLOEXEC);
    assert_true(file >= 0);
    return file;
}

const char *config_text_path(void)
{
    static char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", config_file());
    return path;
}

ls_status config_text_open(struct config **out, const char *text, const char *const *overrides,
                           int override_count)
{
    size_t bytes = strlen(text);
    assert_int_equal(ftruncate(config_file(), 0), 0);
    assert_int_equal(pwrite(config_file(), text, bytes, 0), bytes);
    return config_open(out, config_text_path(), overrides, override_count);
}

char *config_text_replace(const char *text, const char *old, const char *new)
{
    const char *at = strstr(text, old);
    assert_non_null(at);
    char *out = NULL;
    assert_int_equal(core_format(&out, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old)),
                     LS_OK);
    return out;
}

static void assert_texts_equal(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        assert_ptr_equal(a, b);
    else
        assert_string_equal(a, b);
}

void config_text_assert_equal(const struct config *a, const struct config *b)
{
    struct config x = *a;
    struct config y = *b;
    for (int i = 0; i < config_key_count; i++) {
        if (config_keys[i].type != CONFIG_TYPE_TEXT)
            continue;
        char **text_x = (char **)((char *)&x + config_keys[i].offset);
        char **text_y = (char **)((char *)&y + config_keys[i].offset);
        assert_texts_equal(*text_x, *text_y);
        *text_x = NULL;
        *text_y = NULL;
    }
    assert_int_equal(x.data.dataset_count, y.data.dataset_count);
    for (int i = 0; i < x.data.dataset_count; i++) {
        const struct config_dataset *p = &x.data.datasets[i];
        const struct config_dataset *q = &y.data.datasets[i];
        assert_string_equal(p->path, q->path);
        assert_int_equal(p->frames_per_clip, q->frames_per_clip);
        assert_memory_equal(&p->weight, &q->weight, sizeof p->weight);
    }
    x.data.datasets = y.data.datasets = NULL;
    x.source = y.source = NULL;
    x.stage_count = y.stage_count = 1;     /* of the file, not of the config */
    assert_memory_equal(&x, &y, sizeof x); /* configs are calloc'd: padding is 0 */
}

void config_text_assert_round_trip(const struct config *config)
{
    char *text = NULL;
    struct config *again = NULL;
    assert_int_equal(config_dump(&text, config), LS_OK);
    ls_status st = config_text_open(&again, text, NULL, 0);
    if (st != LS_OK)
        fail_msg("the dump does not read back: %s\n%s", status_message(), text);
    config_text_assert_equal(config, again);
    config_close(&again);
    free(text);
}
