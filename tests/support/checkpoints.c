/* Synthetic states: every element differs, so that a misplaced range cannot go unseen. */
#include "tests/support/checkpoints.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/division.h"
#include "core/files.h"

static const char *const array_names[SUPPORT_ARRAYS] = {"weights", "moment1", "moment2", "ema"};

static void open_state(struct support_state *out, int64_t step, int64_t flat_blocks,
                       int64_t encoder_blocks)
{
    const int64_t flat = flat_blocks * CHECKPOINT_BLOCK + 1000;
    const int64_t encoder = encoder_blocks * CHECKPOINT_BLOCK + 17;
    memset(out, 0, sizeof *out);
    out->parameters[0] =
        (struct checkpoint_parameter){"encoder.patch_embed.proj.weight",  0,   encoder - 17, 2,
                                      {encoder_blocks, CHECKPOINT_BLOCK}, step};
    out->parameters[1] =
        (struct checkpoint_parameter){"encoder.norm.bias", encoder - 17, 17, 1, {17}, step};
    out->parameters[2] = (struct checkpoint_parameter){
        "predictor.mask_tokens.0", encoder, flat - encoder, 1, {flat - encoder}, step / 2};
    out->skipped[0] = 7;
    out->skipped[1] = 19;
    out->state = (struct checkpoint_state){.step = step,
                                           .parameter_count = 3,
                                           .array_count = SUPPORT_ARRAYS,
                                           .config_yaml = "app: vjepa\nfolder: \"a \\\"b\\\"\"\n",
                                           .facts_json = "{\"threads\":2,\"isa\":\"avx512\"}",
                                           .skipped_count = 2};
    for (int a = 0; a < SUPPORT_ARRAYS; a++) {
        int64_t total = a == 3 ? encoder : flat;
        float *data = malloc((size_t)total * sizeof *data);
        assert(data != NULL);
        for (int64_t i = 0; i < total; i++)
            data[i] = (float)(i % 999983) + 0.25F * (float)a + 0.001F * (float)(step % 1000);
        out->state.arrays[a] = (struct checkpoint_array){array_names[a], data, 0, total, total};
    }
}

void support_state_open(struct support_state *out, int64_t step)
{
    open_state(out, step, 11, 5);
}

void support_state_open_small(struct support_state *out, int64_t step)
{
    open_state(out, step, 3, 1);
}

void support_state_close(struct support_state *state)
{
    for (int a = 0; a < state->state.array_count; a++)
        free(state->state.arrays[a].data);
}

/* The slices of shard `shard` one after another; owned by the caller. */
static ls_status copy_slices(float **out, struct checkpoint_array *array, int64_t slice, int shard,
                             int of)
{
    const struct division division = {.count = array->total, .slice = slice, .ranks = of};
    ls_status st = core_alloc(out, array->total + 1);
    for (int64_t b = 0; st == LS_OK && b < division_buckets(&division, array->total); b++) {
        int64_t offset = 0;
        int64_t count = division_part(&offset, &division, b, shard, array->total);
        memcpy(*out + b * slice, array->data + offset, (size_t)count * sizeof **out);
    }
    array->data = *out;
    checkpoint_slices(&array->offset, &array->count, array->total, slice, shard, of);
    return st;
}

static ls_status write_shard(struct checkpoint_shard_facts *out, const char *folder,
                             const struct checkpoint_state *whole, int shard, int of,
                             int64_t run_epoch)
{
    ls_status st = LS_OK;
    float *copies[CHECKPOINT_ARRAYS_MAX] = {NULL};
    struct checkpoint_state part = *whole;
    for (int a = 0; a < part.array_count; a++) {
        struct checkpoint_array *array = &part.arrays[a];
        if (part.slice > 0) {
            LS_TRY(copy_slices(&copies[a], array, part.slice, shard, of));
        } else {
            checkpoint_range(&array->offset, &array->count, array->total, shard, of);
            array->data += array->offset;
        }
    }
    LS_TRY(checkpoint_shard_write(out, folder, &part, shard, of, run_epoch));
done:
    for (int a = 0; a < CHECKPOINT_ARRAYS_MAX; a++)
        free(copies[a]);
    return st;
}

ls_status support_save_divided(const char *folder, const struct support_state *state, int of,
                               int64_t run_epoch, int64_t slice)
{
    ls_status st = LS_OK;
    struct checkpoint_shard_facts *facts = NULL;
    struct checkpoint_state whole = state->state;
    whole.parameters = (struct checkpoint_parameter *)state->parameters;
    whole.skipped = state->skipped;
    whole.slice = slice;
    LS_TRY(core_alloc(&facts, of));
    for (int s = 0; s < of; s++)
        LS_TRY(write_shard(&facts[s], folder, &whole, s, of, run_epoch));
    LS_TRY(checkpoint_commit(folder, &whole, facts, of, run_epoch));
done:
    free(facts);
    return st;
}

ls_status support_save(const char *folder, const struct support_state *state, int of,
                       int64_t run_epoch)
{
    return support_save_divided(folder, state, of, run_epoch, 0);
}

static char *make_folder(const char *parent)
{
    char *path = NULL;
    ls_status st = core_format(&path, "%s/lockstep-test-XXXXXX", parent);
    assert(st == LS_OK);
    (void)st;
    char *made = mkdtemp(path);
    assert(made != NULL);
    return made;
}

char *support_folder(void)
{
    const char *parent = getenv("TMPDIR");
    return make_folder(parent != NULL ? parent : "/tmp");
}

char *support_folder_quick(void)
{
    return access("/dev/shm", W_OK) == 0 ? make_folder("/dev/shm") : support_folder();
}

void support_folder_remove(char *folder)
{
    ls_status st = files_remove(folder);
    (void)st; /* a leftover under /tmp fails no test */
    free(folder);
}
