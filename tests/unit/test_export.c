/* Exported folders: sizes of the published files, and what happens when an export stops anywhere or
 * its checkpoint is not what it should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint/export.h"
#include "checkpoint/export_names.h"
#include "checkpoint/safetensors.h"
#include "core/fault.h"
#include "core/files.h"
#include "core/log.h"
#include "tests/support/checkpoints.h"
#include "tests/support/config_text.h"

enum { NOTE_BYTES = 8192, FILES = 4 };

static void assert_good(ls_status st)
{
    if (st != LS_OK)
        fail_msg("%s", status_text());
}

/* Model.safetensors of the published models: the byte count of ViT-g's is known from the file
 * itself and pins the number of tensors, every shape and all names. */
static void files_have_the_size_of_the_published_ones(void **unused)
{
    (void)unused;
    static const struct {
        int dim, depth, heads, hidden, tensors;
        size_t header;
        uint64_t bytes;
    } models[] = {{1024, 24, 16, 4096, 587, 62544, 1303947864},
                  {1280, 32, 16, 5120, 715, 76608, 2615800136},
                  {1408, 40, 22, 6144, 843, 90544, 4138311608}};
    for (size_t m = 0; m < sizeof models / sizeof models[0]; m++) {
        const struct model_shape shape = {.patch = 16,
                                          .tubelet = 2,
                                          .dim = models[m].dim,
                                          .depth = models[m].depth,
                                          .heads = models[m].heads,
                                          .hidden = models[m].hidden,
                                          .pred_dim = 384,
                                          .pred_depth = 12,
                                          .pred_heads = 12,
                                          .pred_hidden = 1536,
                                          .mask_tokens = 10};
        struct parameters *parameters = NULL;
        struct export_tensors tensors = {0};
        char *header = NULL;
        size_t bytes = 0;
        assert_good(parameters_open(&parameters, &shape));
        assert_good(export_tensors_transformers(&tensors, parameters));
        assert_int_equal(tensors.count, models[m].tensors);
        struct safetensors_entry *entries = calloc((size_t)tensors.count, sizeof *entries);
        for (int i = 0; i < tensors.count; i++) {
            const struct export_tensor *t = &tensors.list[i];
            entries[i] = (struct safetensors_entry){
                .name = t->name, .dimensions = t->dimensions, .count = t->count};
            memcpy(entries[i].shape, t->shape, sizeof t->shape);
        }
        assert_good(safetensors_header(&header, &bytes, entries, tensors.count));
        assert_int_equal(bytes, 8 + models[m].header);
        assert_int_equal(bytes + entries[tensors.count - 1].end, models[m].bytes);
        free(header);
        free(entries);
        export_tensors_free(&tensors);
        parameters_close(&parameters);
    }
}

/* A checkpoint of the small config's model, every element its own value. */
struct fixture {
    char *folder;
    struct checkpoint *checkpoint;
    struct config *config;
    struct parameters *parameters;
    struct checkpoint_state state;
};

static const char *const smaller[] = {"model.embed_dim=24",      "model.num_heads=2",
                                      "model.depth=1",           "model.pred_embed_dim=16",
                                      "model.pred_num_heads=2",  "model.pred_depth=1",
                                      "model.model_name=custom", "model.mlp_ratio=2.0"};
enum { SMALLER = sizeof smaller / sizeof smaller[0] };

static void save(struct fixture *f)
{
    struct support_state whole = {.state = f->state};
    char *path = NULL;
    ls_status st = core_format(&path, "%s/checkpoints", f->folder);
    struct checkpoint_shard_facts facts[2];
    for (int s = 0; st == LS_OK && s < 2; s++) {
        struct checkpoint_state part = whole.state;
        for (int a = 0; a < part.array_count; a++) {
            struct checkpoint_array *array = &part.arrays[a];
            checkpoint_range(&array->offset, &array->count, array->total, s, 2);
            array->data += array->offset;
        }
        st = checkpoint_shard_write(&facts[s], path, &part, s, 2, 1);
    }
    assert_good(st);
    assert_good(checkpoint_commit(path, &f->state, facts, 2, 1));
    assert_good(checkpoint_open_newest(&f->checkpoint, path));
    free(path);
}

static void open_state(struct fixture *f, const char *const *overrides, int override_count)
{
    static const char *const names[] = {"weights", "moment1", "moment2", "ema"};
    struct model_shape shape;
    char *text = NULL;
    memset(f, 0, sizeof *f);
    f->folder = support_folder_quick();
    assert_good(config_text_open(&f->config, config_text_small, overrides, override_count));
    assert_good(model_shape_of_config(&shape, f->config));
    assert_good(parameters_open(&f->parameters, &shape));
    assert_good(config_dump(&text, f->config));
    f->state = (struct checkpoint_state){
        .step = 5, .array_count = 4, .config_yaml = text, .facts_json = "{}"};
    f->state.parameter_count = f->parameters->count;
    f->state.parameters = calloc((size_t)f->parameters->count, sizeof *f->state.parameters);
    for (int i = 0; i < f->parameters->count; i++) {
        const struct parameter *p = &f->parameters->table[i];
        struct checkpoint_parameter *stored = &f->state.parameters[i];
        *stored =
            (struct checkpoint_parameter){p->name, p->offset, p->count, p->dimensions, {0}, 5};
        memcpy(stored->shape, p->shape, sizeof stored->shape);
        if (strcmp(p->name, "predictor.mask_tokens.1") == 0)
            stored->adam_step = 0;
    }
    for (int a = 0; a < 4; a++) {
        int64_t total = a == 3 ? f->parameters->encoder_count : f->parameters->flat_count;
        float *data = calloc((size_t)total, sizeof *data);
        for (int64_t i = 0; i < total; i++)
            data[i] = (float)i * 0x1p-10F + (float)a;
        f->state.arrays[a] = (struct checkpoint_array){names[a], data, 0, total, total};
    }
}

static void fixture_open(struct fixture *f)
{
    open_state(f, smaller, SMALLER);
    save(f);
}

static void fixture_close(struct fixture *f)
{
    for (int a = 0; a < 4; a++)
        free(f->state.arrays[a].data);
    free(f->state.parameters);
    free((void *)f->state.config_yaml);
    parameters_close(&f->parameters);
    config_close(&f->config);
    checkpoint_close(&f->checkpoint);
    support_folder_remove(f->folder);
}

static char *in_folder(const struct fixture *f, const char *name)
{
    char *path = NULL;
    assert_good(core_format(&path, "%s/%s", f->folder, name));
    return path;
}

static ls_status export_to(const struct fixture *f, const char *folder)
{
    struct export_result result;
    const struct export_options options = {.folder = folder, .note_bytes = NOTE_BYTES};
    return checkpoint_export(&result, f->checkpoint, &options);
}

/* Hash over the names and bytes of all files of an exported folder. */
static struct hash128 folder_hash(const char *folder)
{
    struct hash128 sum = {0};
    char **names = NULL;
    size_t count = 0;
    assert_good(files_list(&names, &count, folder));
    assert_int_equal(count, FILES);
    for (size_t i = 0; i < count; i++) {
        char *path = NULL;
        char *data = NULL;
        size_t bytes = 0;
        assert_good(core_format(&path, "%s/%s", folder, names[i]));
        assert_good(files_read(&data, &bytes, path, 1 << 30));
        struct hash128 name = hash_buffer(names[i], strlen(names[i]));
        sum = hash_add(sum, hash_buffer_at(data, bytes, name.low, name.high));
        free(data);
        free(path);
    }
    files_list_free(&names, count);
    return sum;
}

static struct hash128 reference_hash(const struct fixture *f)
{
    char *folder = in_folder(f, "reference");
    assert_good(export_to(f, folder));
    struct hash128 hash = folder_hash(folder);
    free(folder);
    return hash;
}

static void assert_whole_and_remove(const char *folder, struct hash128 wanted)
{
    char *partial = NULL;
    assert_true(hash_equal(folder_hash(folder), wanted));
    assert_good(core_format(&partial, "%s.partial", folder));
    assert_false(files_exists(partial));
    assert_good(files_remove(folder));
    free(partial);
}

/* Every write, fsync, rename, ... fails once: there is no folder, and the next try ends with the
 * same bytes. */
static void an_export_that_failed_anywhere_is_gone_on_with(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    struct hash128 wanted = reference_hash(&f);
    char *folder = in_folder(&f, "out/");
    char *plain = in_folder(&f, "out");
    static const char *const sites[] = {"write", "fsync", "rename", "create", "mkdir", "remove"};
    for (size_t s = 0; s < sizeof sites / sizeof sites[0]; s++) {
        int64_t n = 1;
        for (;; n++) {
            fault_arm(FAULT_FAIL, sites[s], n, ENOSPC);
            ls_status st = export_to(&f, folder);
            bool fired = fault_count() >= n;
            fault_arm(FAULT_OFF, NULL, 0, 0);
            if (st != LS_OK) {
                assert_int_equal(st, LS_IO);
                if (strstr(status_message(), "No space left") == NULL)
                    fail_msg("%s %d: %s", sites[s], (int)n, status_message());
                if (!files_exists(plain)) /* after the rename its fsync may still fail */
                    assert_good(export_to(&f, folder));
            }
            assert_whole_and_remove(plain, wanted);
            if (!fired)
                break;
        }
        assert_true(n > 1);
    }
    free(folder);
    free(plain);
    fixture_close(&f);
}

/* The process is killed at every such place: what it noted is kept, and nothing else is trusted. */
static void a_killed_export_goes_on_from_its_note(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    struct hash128 wanted = reference_hash(&f);
    char *folder = in_folder(&f, "out");
    char *partial = in_folder(&f, "out.partial/model.safetensors");
    uint64_t resumed_most = 0;
    bool killed = true;
    for (int64_t n = 1; killed; n += 3) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            fault_arm(FAULT_KILL, NULL, n, 0);
            _exit(export_to(&f, folder) == LS_OK ? 0 : 1);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        killed = WIFSIGNALED(status);
        if (!files_exists(folder)) {
            struct export_result result = {0};
            const struct export_options options = {.folder = folder, .note_bytes = NOTE_BYTES};
            FILE *file = fopen(partial, "ab"); /* what a crash may leave behind the note */
            if (file != NULL) {
                (void)fputs("garbage", file);
                (void)fclose(file);
            }
            assert_good(checkpoint_export(&result, f.checkpoint, &options));
            resumed_most = result.resumed > resumed_most ? result.resumed : resumed_most;
        }
        assert_whole_and_remove(folder, wanted);
    }
    assert_true(resumed_most > 4 * NOTE_BYTES);
    free(folder);
    free(partial);
    fixture_close(&f);
}

/* What another checkpoint or another choice left in DIR.partial is not mixed in. */
static void another_plan_starts_over(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    struct hash128 wanted = reference_hash(&f);
    char *folder = in_folder(&f, "out");
    struct export_result result = {0};
    struct export_options options = {.folder = folder, .note_bytes = NOTE_BYTES, .online = true};
    fault_arm(FAULT_FAIL, "rename", 6, EIO);
    assert_int_equal(checkpoint_export(&result, f.checkpoint, &options), LS_IO);
    fault_arm(FAULT_OFF, NULL, 0, 0);
    options.online = false;
    assert_good(checkpoint_export(&result, f.checkpoint, &options));
    assert_int_equal(result.resumed, 0);
    assert_whole_and_remove(folder, wanted);
    free(folder);
    fixture_close(&f);
}

static void taken_folders_and_wide_clips_are_refused(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    char *folder = in_folder(&f, "taken");
    char *file = in_folder(&f, "taken/file");
    assert_good(files_make_folder(folder));
    assert_good(export_to(&f, folder)); /* an empty one may be there */
    assert_int_equal(export_to(&f, folder), LS_USAGE);
    assert_good(files_remove(folder));
    assert_good(files_replace(folder, "x", 1));
    assert_int_equal(export_to(&f, folder), LS_USAGE);
    free(folder);
    free(file);
    fixture_close(&f);

    const char *wide[SMALLER + 1];
    memcpy(wide, smaller, sizeof smaller);
    wide[SMALLER] = "data.crop_size=[64, 128]";
    open_state(&f, wide, SMALLER + 1);
    save(&f);
    folder = in_folder(&f, "wide");
    assert_int_equal(export_to(&f, folder), LS_USAGE);
    assert_non_null(strstr(status_message(), "64 x 128"));
    assert_false(files_exists(folder));
    free(folder);
    fixture_close(&f);
}

static void a_table_of_another_model_is_refused(void **unused)
{
    (void)unused;
    struct fixture f;
    open_state(&f, smaller, SMALLER);
    f.state.parameters[3].name = "encoder.blocks.0.norm3.bias";
    f.state.parameters[4].shape[0] = f.state.parameters[4].shape[1];
    f.state.parameters[4].shape[1] = f.parameters->table[4].shape[0];
    save(&f);
    char *folder = in_folder(&f, "out");
    assert_int_equal(export_to(&f, folder), LS_CHECKPOINT);
    assert_non_null(strstr(status_message(), "norm3"));
    assert_non_null(strstr(status_message(), "1 more"));
    free(folder);
    fixture_close(&f);
}

static void weights_that_are_not_finite_stay_here(void **unused)
{
    (void)unused;
    static const float values[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        struct fixture f;
        open_state(&f, smaller, SMALLER);
        f.state.arrays[3].data[f.parameters->table[5].offset] = values[i];
        save(&f);
        char *folder = in_folder(&f, "out");
        assert_int_equal(export_to(&f, folder), LS_DATA);
        assert_non_null(strstr(status_message(), "encoder.layer.0.attention.query.bias"));
        assert_false(files_exists(folder));
        free(folder);
        fixture_close(&f);
    }
}

/* A damaged shard is found while it is streamed. */
static void damage_of_the_checkpoint_is_found(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_open(&f);
    const struct checkpoint_extent *extent = &checkpoint_shards(f.checkpoint)[1].extents[3];
    char *shard = NULL;
    assert_good(
        core_format(&shard, "%s/shard-0001-of-0002.h5", checkpoint_info(f.checkpoint)->path));
    FILE *file = fopen(shard, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)extent->data_at + 100, SEEK_SET), 0);
    assert_int_equal(fputc(0x5A, file), 0x5A);
    assert_int_equal(fclose(file), 0);
    char *folder = in_folder(&f, "out");
    assert_int_equal(export_to(&f, folder), LS_CHECKPOINT);
    assert_false(files_exists(folder));
    free(folder);
    free(shard);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_have_the_size_of_the_published_ones),
        cmocka_unit_test(an_export_that_failed_anywhere_is_gone_on_with),
        cmocka_unit_test(a_killed_export_goes_on_from_its_note),
        cmocka_unit_test(another_plan_starts_over),
        cmocka_unit_test(taken_folders_and_wide_clips_are_refused),
        cmocka_unit_test(a_table_of_another_model_is_refused),
        cmocka_unit_test(weights_that_are_not_finite_stay_here),
        cmocka_unit_test(damage_of_the_checkpoint_is_found),
    };
    log_open(-1, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
