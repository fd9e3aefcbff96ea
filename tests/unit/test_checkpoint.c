/* Checkpoints on a healthy disk: what is saved is loaded, whatever the number of shards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint/checkpoint.h"
#include "core/division.h"
#include "core/files.h"
#include "core/log.h"
#include "tests/support/checkpoints.h"

static const int worlds[] = {1, 2, 3, 4, 7, 8};
enum { WORLDS = sizeof worlds / sizeof worlds[0] };

static void assert_good(ls_status st)
{
    if (st != LS_OK)
        fail_msg("%s", status_text());
}

/* Every array, read as `of` ranks would, equals the state. */
static void assert_loads(const struct checkpoint *c, const struct support_state *saved, int of)
{
    for (int a = 0; a < SUPPORT_ARRAYS; a++) {
        const struct checkpoint_array *truth = &saved->state.arrays[a];
        for (int r = 0; r < of; r++) {
            struct checkpoint_array range = *truth;
            checkpoint_range(&range.offset, &range.count, range.total, r, of);
            size_t bytes = (size_t)range.count * sizeof *range.data;
            range.data = malloc(bytes + 4);
            memset(range.data, 0xFF, bytes + 4);
            assert_good(checkpoint_read(c, &range));
            assert_memory_equal(range.data, truth->data + range.offset, bytes);
            uint32_t guard = 0;
            memcpy(&guard, (char *)range.data + bytes, sizeof guard);
            assert_int_equal(guard, 0xFFFFFFFF);
            free(range.data);
        }
    }
}

/* The slices of every rank of `of`, as a sharded optimizer reads them. */
static void assert_loads_slices(struct checkpoint *c, const struct support_state *state, int of)
{
    for (int a = 0; a < SUPPORT_ARRAYS; a++) {
        const struct checkpoint_array *truth = &state->state.arrays[a];
        const struct division division = division_make(truth->total, 1, of);
        float *data = malloc((size_t)division.slice * sizeof *data);
        for (int64_t b = 0; b < division_buckets(&division, truth->total); b++)
            for (int r = 0; r < of; r++) {
                struct checkpoint_array range = *truth;
                range.data = data;
                range.count = division_part(&range.offset, &division, b, r, truth->total);
                assert_good(checkpoint_read(c, &range));
                assert_memory_equal(data, truth->data + range.offset,
                                    (size_t)range.count * sizeof *data);
            }
        free(data);
    }
}

static void ignore_line(void *context, const char *line)
{
    (void)context;
    (void)line;
}

static void saved_state_comes_back_whole(void **unused)
{
    (void)unused;
    char *folder = support_folder();
    struct support_state state;
    struct checkpoint *c = NULL;
    support_state_open(&state, 1200);
    assert_good(support_save(folder, &state, 3, 5));
    assert_good(checkpoint_open_newest(&c, folder));
    const struct checkpoint_info *info = checkpoint_info(c);
    assert_int_equal(info->step, 1200);
    assert_int_equal(info->run_epoch, 5);
    assert_int_equal(info->shard_count, 3);
    assert_int_equal(info->parameter_count, 3);
    assert_string_equal(info->parameters[2].name, "predictor.mask_tokens.0");
    assert_int_equal(info->parameters[2].adam_step, 600);
    assert_int_equal(info->parameters[0].dimensions, 2);
    assert_int_equal(info->parameters[0].shape[1], CHECKPOINT_BLOCK);
    assert_string_equal(info->config_yaml, state.state.config_yaml);
    assert_string_equal(info->facts_json, state.state.facts_json);
    assert_int_equal(info->skipped_count, 2);
    assert_int_equal(info->skipped[1], 19);
    assert_int_equal(info->array_count, SUPPORT_ARRAYS);
    assert_string_equal(info->arrays[3].name, "ema");
    assert_int_equal(info->arrays[3].total, state.state.arrays[3].total);
    assert_non_null(strstr(info->path, "/step-000001200"));
    assert_loads(c, &state, 1);
    checkpoint_close(&c);
    assert_null(c);
    support_state_close(&state);
    support_folder_remove(folder);
}

/* Bytes that this process has read from files so far; -1 where the system does not tell. */
static long long read_so_far(void)
{
    long long bytes = -1;
    FILE *file = fopen("/proc/self/io", "r");
    if (file == NULL)
        return -1;
    if (fscanf(file, "rchar: %lld", &bytes) != 1)
        bytes = -1;
    (void)fclose(file);
    return bytes;
}

/* Beside its range at most the rest of the blocks at both ends, whose hashes it checks. */
static void a_rank_reads_only_what_it_needs(void **unused)
{
    (void)unused;
    const int of = 5;
    const long long block = CHECKPOINT_BLOCK * (long long)sizeof(float);
    char *folder = support_folder();
    struct support_state state;
    struct checkpoint *c = NULL;
    if (read_so_far() < 0)
        skip();
    support_state_open(&state, 40);
    assert_good(support_save(folder, &state, 3, 1));
    assert_good(checkpoint_open_newest(&c, folder));
    for (int r = 0; r < of; r++) {
        struct checkpoint_array range = state.state.arrays[0];
        checkpoint_range(&range.offset, &range.count, range.total, r, of);
        range.data = malloc((size_t)range.count * sizeof *range.data);
        const long long before = read_so_far();
        assert_good(checkpoint_read(c, &range));
        const long long bytes = read_so_far() - before;
        const long long wanted = range.count * (long long)sizeof *range.data;
        assert_in_range(bytes, wanted, wanted + 2 * block + 4096);
        assert_true(bytes < range.total * (long long)sizeof *range.data);
        free(range.data);
    }
    checkpoint_close(&c);
    support_state_close(&state);
    support_folder_remove(folder);
}

static void any_world_size_loads_any_other(void **unused)
{
    (void)unused;
    char *folder = support_folder();
    struct support_state state;
    struct hash128 digest = {0};
    support_state_open(&state, 40);
    for (int w = 0; w < WORLDS; w++) {
        struct checkpoint *c = NULL;
        assert_good(support_save(folder, &state, worlds[w], w + 1));
        assert_good(checkpoint_open_newest(&c, folder));
        assert_int_equal(checkpoint_info(c)->shard_count, worlds[w]);
        if (w == 0)
            digest = checkpoint_info(c)->digest;
        assert_true(hash_equal(digest, checkpoint_info(c)->digest));
        for (int r = 0; r < WORLDS; r++)
            assert_loads(c, &state, worlds[r]);
        checkpoint_close(&c);
    }
    support_state_close(&state);
    support_folder_remove(folder);
}

/* Of a sharded optimizer: slices of one and of two blocks; then ranges and slices of other numbers
 * of shards are read from it.  The digest is the one of ranges. */
static void any_world_size_loads_a_divided_state(void **unused)
{
    (void)unused;
    char *folder = support_folder_quick();
    struct support_state state;
    struct checkpoint *c = NULL;
    support_state_open(&state, 40);
    assert_good(support_save(folder, &state, 1, 1));
    assert_good(checkpoint_open_newest(&c, folder));
    const struct hash128 digest = checkpoint_info(c)->digest;
    assert_int_equal(checkpoint_info(c)->slice, 0);
    checkpoint_close(&c);
    for (int w = 0; w < WORLDS; w++)
        for (int blocks = 1; blocks <= 2; blocks++) {
            const int64_t slice = (int64_t)blocks * CHECKPOINT_BLOCK;
            assert_good(support_save_divided(folder, &state, worlds[w], w + 2, slice));
            assert_good(checkpoint_open_newest(&c, folder));
            assert_int_equal(checkpoint_info(c)->shard_count, worlds[w]);
            assert_int_equal(checkpoint_info(c)->slice, slice);
            assert_true(hash_equal(digest, checkpoint_info(c)->digest));
            assert_good(checkpoint_verify(checkpoint_info(c)->path, ignore_line, NULL));
            for (int r = 0; r < WORLDS; r++) {
                assert_loads(c, &state, worlds[r]);
                assert_loads_slices(c, &state, worlds[r]);
            }
            checkpoint_close(&c);
        }
    assert_good(support_save(folder, &state, 3, 20));
    assert_good(checkpoint_open_newest(&c, folder));
    for (int r = 0; r < WORLDS; r++)
        assert_loads_slices(c, &state, worlds[r]);
    checkpoint_close(&c);
    support_state_close(&state);
    support_folder_remove(folder);
}

static void slices_off_the_grid_are_refused(void **unused)
{
    (void)unused;
    char *folder = support_folder();
    struct support_state state;
    support_state_open_small(&state, 3);
    assert_int_equal(support_save_divided(folder, &state, 2, 1, CHECKPOINT_BLOCK / 2), LS_USAGE);
    support_state_close(&state);
    support_folder_remove(folder);
}

static struct hash128 digest_of(const struct support_state *state, int of)
{
    char *folder = support_folder();
    struct checkpoint *c = NULL;
    assert_good(support_save(folder, state, of, 1));
    assert_good(checkpoint_open_newest(&c, folder));
    struct hash128 digest = checkpoint_info(c)->digest;
    checkpoint_close(&c);
    support_folder_remove(folder);
    return digest;
}

/* The digest is of the logical state: each part of it matters, and nothing else does. */
static void digest_tells_states_apart(void **unused)
{
    (void)unused;
    struct support_state state;
    support_state_open(&state, 40);
    struct hash128 base = digest_of(&state, 2);
    float *weight = &state.state.arrays[0].data[5 * CHECKPOINT_BLOCK + 3];
    uint32_t bits;
    memcpy(&bits, weight, sizeof bits);
    bits ^= 1;
    memcpy(weight, &bits, sizeof bits);
    assert_false(hash_equal(base, digest_of(&state, 2)));
    bits ^= 1;
    memcpy(weight, &bits, sizeof bits);
    state.parameters[1].adam_step++;
    assert_false(hash_equal(base, digest_of(&state, 2)));
    state.parameters[1].adam_step--;
    state.state.step++;
    assert_false(hash_equal(base, digest_of(&state, 2)));
    state.state.step--;
    float *swapped = state.state.arrays[1].data;
    state.state.arrays[1].data = state.state.arrays[2].data;
    state.state.arrays[2].data = swapped;
    assert_false(hash_equal(base, digest_of(&state, 2)));
    swapped = state.state.arrays[1].data;
    state.state.arrays[1].data = state.state.arrays[2].data;
    state.state.arrays[2].data = swapped;
    state.state.facts_json = "{}";
    state.state.config_yaml = "app: other\n";
    assert_true(hash_equal(base, digest_of(&state, 5)));
    support_state_close(&state);
}

static void ranges_off_the_grid_are_read(void **unused)
{
    (void)unused;
    static const int64_t ranges[][2] = {{0, 1},
                                        {16383, 2},
                                        {1, 3 * CHECKPOINT_BLOCK},
                                        {5 * CHECKPOINT_BLOCK + 9, 6 * CHECKPOINT_BLOCK},
                                        {11 * CHECKPOINT_BLOCK + 999, 1},
                                        {777, 0}};
    char *folder = support_folder();
    struct support_state state;
    struct checkpoint *c = NULL;
    support_state_open(&state, 1);
    assert_good(support_save(folder, &state, 4, 1));
    assert_good(checkpoint_open_newest(&c, folder));
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        struct checkpoint_array range = state.state.arrays[1];
        range.offset = ranges[i][0];
        range.count = ranges[i][1];
        range.data = calloc((size_t)range.count + 1, sizeof(float));
        assert_good(checkpoint_read(c, &range));
        assert_memory_equal(range.data, state.state.arrays[1].data + range.offset,
                            (size_t)range.count * sizeof(float));
        assert_true(range.data[range.count] == 0.0F);
        free(range.data);
    }
    struct checkpoint_array wrong = state.state.arrays[3];
    wrong.total++;
    assert_int_equal(checkpoint_read(c, &wrong), LS_CHECKPOINT);
    wrong = state.state.arrays[3];
    wrong.name = "moment3";
    assert_int_equal(checkpoint_read(c, &wrong), LS_CHECKPOINT);
    checkpoint_close(&c);
    support_state_close(&state);
    support_folder_remove(folder);
}

static void shards_tile_the_array(void **unused)
{
    (void)unused;
    static const int64_t totals[] = {0, 1, 16383, 16384, 16385, 181224, 5000000001};
    for (size_t t = 0; t < sizeof totals / sizeof totals[0]; t++)
        for (int of = 1; of <= 130; of++) {
            int64_t next = 0;
            for (int s = 0; s < of; s++) {
                int64_t offset = -1;
                int64_t count = -1;
                checkpoint_range(&offset, &count, totals[t], s, of);
                assert_int_equal(offset, next);
                assert_true(count >= 0 && (count == 0 || offset % CHECKPOINT_BLOCK == 0));
                next += count;
            }
            assert_int_equal(next, totals[t]);
        }
}

static void repeated_saves_are_the_same_bytes(void **unused)
{
    (void)unused;
    char *folder[2] = {support_folder(), support_folder()};
    struct support_state state;
    struct checkpoint *c[2] = {NULL, NULL};
    support_state_open(&state, 8);
    for (int i = 0; i < 2; i++) {
        assert_good(support_save(folder[i], &state, 2, 1));
        assert_good(checkpoint_open_newest(&c[i], folder[i]));
    }
    for (int s = 0; s < 2; s++)
        assert_true(
            hash_equal(checkpoint_shards(c[0])[s].checksum, checkpoint_shards(c[1])[s].checksum));
    for (int i = 0; i < 2; i++) {
        checkpoint_close(&c[i]);
        support_folder_remove(folder[i]);
    }
    support_state_close(&state);
}

static void latest_follows_the_newest_save(void **unused)
{
    (void)unused;
    char *folder = support_folder();
    char *latest = NULL;
    struct support_state state;
    struct checkpoint *c = NULL;
    support_state_open(&state, 10);
    assert_good(support_save(folder, &state, 1, 1));
    state.state.step = 20;
    assert_good(support_save(folder, &state, 2, 1));
    assert_good(core_format(&latest, "%s/latest", folder));
    assert_good(checkpoint_open(&c, latest));
    assert_int_equal(checkpoint_info(c)->step, 20);
    checkpoint_close(&c);
    state.state.step = 20; /* saved again: after a rollback, say */
    state.state.arrays[0].data[0] = -1.0F;
    assert_good(support_save(folder, &state, 3, 2));
    assert_good(checkpoint_open(&c, latest));
    assert_int_equal(checkpoint_info(c)->run_epoch, 2);
    assert_loads(c, &state, 2);
    checkpoint_close(&c);
    free(latest);
    support_state_close(&state);
    support_folder_remove(folder);
}

static void an_empty_folder_has_no_checkpoint(void **unused)
{
    (void)unused;
    char *folder = support_folder();
    char *none = NULL;
    struct checkpoint *c = NULL;
    assert_int_equal(checkpoint_open_newest(&c, folder), LS_EOF);
    assert_good(core_format(&none, "%s/checkpoints", folder));
    assert_int_equal(checkpoint_open_newest(&c, none), LS_EOF);
    free(none);
    support_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saved_state_comes_back_whole),
        cmocka_unit_test(a_rank_reads_only_what_it_needs),
        cmocka_unit_test(any_world_size_loads_any_other),
        cmocka_unit_test(any_world_size_loads_a_divided_state),
        cmocka_unit_test(slices_off_the_grid_are_refused),
        cmocka_unit_test(digest_tells_states_apart),
        cmocka_unit_test(ranges_off_the_grid_are_read),
        cmocka_unit_test(shards_tile_the_array),
        cmocka_unit_test(repeated_saves_are_the_same_bytes),
        cmocka_unit_test(latest_follows_the_newest_save),
        cmocka_unit_test(an_empty_folder_has_no_checkpoint),
    };
    log_open(-1, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
