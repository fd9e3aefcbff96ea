/* Checkpoints on a bad disk, in bad hands and in the middle of a crash: damage is found and named,
 * and the last good one stays loadable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint/checkpoint.h"
#include "core/fault.h"
#include "core/files.h"
#include "core/log.h"
#include "tests/support/checkpoints.h"

static void assert_good(ls_status st)
{
    if (st != LS_OK)
        fail_msg("%s", status_text());
}

static char *in_folder(const char *folder, const char *name)
{
    char *path = NULL;
    assert_good(core_format(&path, "%s/%s", folder, name));
    return path;
}

/* Step of the newest good checkpoint; -1 none, -2 all damaged. */
static int64_t newest_step(const char *folder)
{
    struct checkpoint *c = NULL;
    ls_status st = checkpoint_open_newest(&c, folder);
    if (st == LS_EOF)
        return -1;
    if (st != LS_OK)
        return -2;
    int64_t step = checkpoint_info(c)->step;
    checkpoint_close(&c);
    return step;
}

static void save_step(const char *folder, int64_t step, int of, int64_t run_epoch)
{
    struct support_state state;
    support_state_open_small(&state, step);
    assert_good(support_save(folder, &state, of, run_epoch));
    support_state_close(&state);
}

static void flip_bit(const char *path, off_t at, int bit)
{
    unsigned char byte = 0;
    int file = open(path, O_RDWR);
    assert_true(file >= 0);
    assert_int_equal(pread(file, &byte, 1, at), 1);
    byte ^= (unsigned char)(1 << bit);
    assert_int_equal(pwrite(file, &byte, 1, at), 1);
    assert_int_equal(close(file), 0);
}

static void keep_first_line(void *context, const char *line)
{
    char *first = context;
    if (first[0] == '\0')
        (void)snprintf(first, 512, "%s", line);
}

static void every_flipped_bit_is_found(void **unused)
{
    (void)unused;
    static const char *const names[] = {"shard-0000-of-0002.h5", "shard-0001-of-0002.h5",
                                        "manifest.json"};
    char *folder = support_folder_quick();
    save_step(folder, 7, 2, 1);
    char *checkpoint = in_folder(folder, "step-000000007");
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        char *path = in_folder(checkpoint, names[n]);
        uint64_t bytes = 0;
        assert_good(files_size(&bytes, path));
        /* The whole structure at the front, and a sample of the rest, the last byte included. */
        uint64_t step = n == 2 ? 1 : bytes / 61;
        for (uint64_t at = 0; at < bytes; at += at < 2048 && n < 2 ? 37 : step) {
            char line[512] = "";
            flip_bit(path, (off_t)at, (int)(at % 8));
            assert_int_equal(checkpoint_verify(checkpoint, keep_first_line, line), LS_CHECKPOINT);
            assert_non_null(strstr(line, names[n]));
            flip_bit(path, (off_t)at, (int)(at % 8));
        }
        char line[512] = "";
        flip_bit(path, (off_t)bytes - 1, 0);
        assert_int_equal(checkpoint_verify(checkpoint, keep_first_line, line), LS_CHECKPOINT);
        flip_bit(path, (off_t)bytes - 1, 0);
        free(path);
    }
    char line[512] = "";
    assert_good(checkpoint_verify(checkpoint, keep_first_line, line));
    assert_string_equal(line, "");
    free(checkpoint);
    support_folder_remove(folder);
}

static void damaged_elements_are_named_and_not_loaded(void **unused)
{
    (void)unused;
    char *folder = support_folder_quick();
    struct support_state state;
    struct checkpoint *c = NULL;
    support_state_open(&state, 7);
    assert_good(support_save(folder, &state, 2, 1));
    char *checkpoint = in_folder(folder, "step-000000007");
    char *path = in_folder(checkpoint, "shard-0001-of-0002.h5");
    assert_good(checkpoint_open(&c, checkpoint));
    const struct checkpoint_extent *extent = &checkpoint_shards(c)[1].extents[2];
    flip_bit(path, (off_t)extent->data_at + 4 * CHECKPOINT_BLOCK + 400, 3);
    char line[512] = "";
    char wanted[128];
    (void)snprintf(wanted, sizeof wanted, "elements %lld to %lld of moment2",
                   (long long)extent->offset + CHECKPOINT_BLOCK,
                   (long long)extent->offset + 2 * CHECKPOINT_BLOCK - 1);
    assert_int_equal(checkpoint_verify(checkpoint, keep_first_line, line), LS_CHECKPOINT);
    assert_non_null(strstr(line, wanted));
    /* The damaged block is refused, its neighbours are not. */
    struct checkpoint_array range = state.state.arrays[2];
    float *data = malloc(2 * CHECKPOINT_BLOCK * sizeof *data);
    range.data = data;
    range.offset = extent->offset + CHECKPOINT_BLOCK + 1;
    range.count = 5;
    assert_int_equal(checkpoint_read(c, &range), LS_CHECKPOINT);
    assert_non_null(strstr(status_message(), "shard-0001-of-0002.h5"));
    range.offset = extent->offset;
    range.count = CHECKPOINT_BLOCK;
    assert_good(checkpoint_read(c, &range));
    free(data);
    checkpoint_close(&c);
    free(path);
    free(checkpoint);
    support_state_close(&state);
    support_folder_remove(folder);
}

enum damage { TRUNCATED, MISSING, FLIPPED, NO_MANIFEST, MANIFEST_CUT };

static void damage_checkpoint(const char *checkpoint, enum damage damage)
{
    char *shard = in_folder(checkpoint, "shard-0000-of-0002.h5");
    char *manifest = in_folder(checkpoint, "manifest.json");
    switch (damage) {
    case TRUNCATED:
        assert_int_equal(truncate(shard, 1000), 0);
        break;
    case MISSING:
        assert_int_equal(unlink(shard), 0);
        break;
    case FLIPPED:
        flip_bit(shard, 100000, 5);
        break;
    case NO_MANIFEST:
        assert_int_equal(unlink(manifest), 0);
        break;
    case MANIFEST_CUT:
        assert_int_equal(truncate(manifest, 700), 0);
        break;
    }
    free(shard);
    free(manifest);
}

static void damaged_newest_gives_way_to_the_one_before(void **unused)
{
    (void)unused;
    for (enum damage damage = TRUNCATED; damage <= MANIFEST_CUT; damage++) {
        char *folder = support_folder_quick();
        save_step(folder, 10, 3, 1);
        save_step(folder, 20, 2, 1);
        char *newest = in_folder(folder, "step-000000020");
        damage_checkpoint(newest, damage);
        assert_int_equal(newest_step(folder), 10);
        free(newest);
        support_folder_remove(folder);
    }
}

static void all_damaged_is_an_error_and_no_fresh_start(void **unused)
{
    (void)unused;
    char *folder = support_folder_quick();
    save_step(folder, 10, 2, 1);
    char *newest = in_folder(folder, "step-000000010");
    damage_checkpoint(newest, TRUNCATED);
    assert_int_equal(newest_step(folder), -2);
    free(newest);
    support_folder_remove(folder);
}

static ls_status retain_last(const char *folder, int last, int64_t milestone_steps, int64_t epoch)
{
    return checkpoint_retain(
        folder,
        &(struct checkpoint_retention){.keep_last = last, .milestone_steps = milestone_steps},
        epoch);
}

/* The loop of sqlite's tests: fail, or die, at point 1, 2, 3 ... until none is reached.  A state is
 * saved over an older one; whatever happens, one of the two loads whole afterwards. */
static int64_t points_of_a_save(bool again)
{
    char *folder = support_folder_quick();
    struct support_state state;
    save_step(folder, 10, 2, 1);
    if (again)
        save_step(folder, 20, 3, 1);
    support_state_open_small(&state, 20);
    fault_arm(FAULT_COUNT, NULL, 0, 0);
    assert_good(support_save(folder, &state, 2, 2));
    assert_good(retain_last(folder, 1, 0, 2));
    int64_t points = fault_count();
    fault_arm(FAULT_OFF, NULL, 0, 0);
    support_state_close(&state);
    support_folder_remove(folder);
    assert_true(points > 20);
    return points;
}

/* Afterwards a later save works as if nothing had happened, and leaves no litter. */
static void assert_recovers(const char *folder)
{
    char **names = NULL;
    size_t count = 0;
    save_step(folder, 30, 3, 3);
    assert_int_equal(newest_step(folder), 30);
    assert_good(retain_last(folder, 1, 0, 3));
    assert_good(files_list(&names, &count, folder));
    for (size_t i = 0; i < count; i++)
        if (strstr(names[i], ".partial") != NULL || strstr(names[i], ".replaced") != NULL ||
            strcmp(names[i], "step-000000010") == 0)
            fail_msg("left behind: %s", names[i]);
    files_list_free(&names, count);
}

static void fault_at_each_point(enum fault_action action, bool again)
{
    int64_t points = points_of_a_save(again);
    for (int64_t nth = 1; nth <= points; nth++) {
        char *folder = support_folder_quick();
        save_step(folder, 10, 2, 1);
        if (again) /* another state of the same step is there already and is replaced */
            save_step(folder, 20, 3, 1);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct support_state state;
            support_state_open_small(&state, 20);
            fault_arm(action, NULL, nth, ENOSPC);
            ls_status st = support_save(folder, &state, 2, 2);
            if (st == LS_OK)
                st = retain_last(folder, 1, 0, 2);
            _exit(st == LS_OK ? 0 : st == LS_CHECKPOINT ? 1 : 2);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (action == FAULT_KILL)
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        else
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
        int64_t step = newest_step(folder);
        if (again ? step != 20 : step != 10 && step != 20)
            fail_msg("point %lld of %lld: newest step %lld", (long long)nth, (long long)points,
                     (long long)step);
        assert_recovers(folder);
        support_folder_remove(folder);
    }
}

static void death_at_any_point_leaves_a_good_checkpoint(void **unused)
{
    (void)unused;
    fault_at_each_point(FAULT_KILL, false);
}

static void death_while_replacing_leaves_a_good_checkpoint(void **unused)
{
    (void)unused;
    fault_at_each_point(FAULT_KILL, true);
}

static void a_failure_at_any_point_leaves_a_good_checkpoint(void **unused)
{
    (void)unused;
    fault_at_each_point(FAULT_FAIL, false);
    fault_at_each_point(FAULT_FAIL_FOR_GOOD, true);
}

static void retention_keeps_newest_milestones_and_a_good_one(void **unused)
{
    (void)unused;
    char *folder = support_folder_quick();
    for (int64_t step = 10; step <= 60; step += 10)
        save_step(folder, step, 2, 1);
    char *marked = in_folder(folder, "step-000000030");
    assert_good(checkpoint_keep(marked));
    assert_good(checkpoint_keep(marked)); /* again is fine */
    free(marked);
    assert_good(retain_last(folder, 2, 20, 1));
    static const int64_t kept[] = {20, 30, 40, 50, 60};
    for (int64_t step = 10; step <= 60; step += 10) {
        char name[32];
        bool wanted = false;
        for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
            wanted = wanted || kept[i] == step;
        (void)snprintf(name, sizeof name, "step-%09lld", (long long)step);
        char *path = in_folder(folder, name);
        assert_int_equal(files_exists(path), wanted);
        free(path);
    }
    /* Both of the newest two are damaged: the next older one, which is good, must stay. */
    char *newest = in_folder(folder, "step-000000060");
    char *second = in_folder(folder, "step-000000050");
    damage_checkpoint(newest, FLIPPED);
    damage_checkpoint(second, MISSING);
    assert_good(retain_last(folder, 1, 0, 1));
    assert_int_equal(newest_step(folder), 40);
    free(newest);
    free(second);
    support_folder_remove(folder);
}

static bool exists(const char *folder, const char *name)
{
    char *path = NULL;
    assert_good(core_format(&path, "%s/%s", folder, name));
    bool there = files_exists(path);
    free(path);
    return there;
}

static void save_step_with(const char *folder, int64_t step, const char *metrics_json)
{
    struct support_state state;
    support_state_open_small(&state, step);
    state.state.metrics_json = metrics_json;
    assert_good(support_save(folder, &state, 2, 1));
    support_state_close(&state);
}

/* Which of the steps 10, 20 ... 90 are there, as digits. */
static void assert_steps(const char *folder, const char *wanted)
{
    char found[10] = "";
    int count = 0;
    for (int tens = 1; tens <= 9; tens++) {
        char name[32];
        (void)snprintf(name, sizeof name, "step-%09d", 10 * tens);
        if (exists(folder, name))
            found[count++] = (char)('0' + tens);
    }
    assert_string_equal(found, wanted);
}

static void retention_keeps_the_best_by_a_metric(void **unused)
{
    (void)unused;
    static const char *const metrics[] = {"{\"loss\":0.9,\"rank\":3}",  "{\"loss\":0.4,\"rank\":9}",
                                          "{\"loss\":null,\"rank\":5}", NULL,
                                          "{\"loss\":0.4,\"rank\":4}",  "{\"loss\":0.6,\"rank\":8}",
                                          "{\"loss\":0.5,\"rank\":2}"};
    struct checkpoint_retention retention = {.keep_last = 1, .keep_best = 2, .metric = "loss"};
    char *folder = support_folder_quick();
    for (int i = 0; i < 7; i++)
        save_step_with(folder, 10 * (i + 1), metrics[i]);
    retention.keep_best = 3;
    retention.metric = "rank";
    retention.largest = true;
    retention.keep_last = 5;
    assert_good(checkpoint_retain(folder, &retention, 1));
    assert_steps(folder, "234567"); /* 2, 6, 3 are best; 3 to 7 newest */
    retention = (struct checkpoint_retention){.keep_last = 1, .keep_best = 2, .metric = "loss"};
    assert_good(checkpoint_retain(folder, &retention, 1));
    assert_steps(folder, "257");
    /* A better one takes the place of the older of two equals; what cannot be read is no best. */
    save_step_with(folder, 80, "{\"loss\":0.3}");
    save_step_with(folder, 90, "{\"loss\":0.8}");
    char *damaged = in_folder(folder, "step-000000070");
    damage_checkpoint(damaged, MISSING);
    free(damaged);
    assert_good(checkpoint_retain(folder, &retention, 1));
    assert_steps(folder, "589");
    /* The newest good one stays, however bad it is, when all that are newer are damaged. */
    char *newest = in_folder(folder, "step-000000090");
    damage_checkpoint(newest, FLIPPED);
    free(newest);
    retention.keep_best = 1;
    retention.metric = "no such metric";
    assert_good(checkpoint_retain(folder, &retention, 1));
    assert_int_equal(newest_step(folder), 80);
    support_folder_remove(folder);
}

static void old_workers_cannot_write_into_a_run_that_was_taken_over(void **unused)
{
    (void)unused;
    char *folder = support_folder_quick();
    struct support_state state;
    struct checkpoint_shard_facts facts;
    save_step(folder, 10, 1, 1);
    save_step(folder, 20, 1, 1);
    /* Start 2 goes on from step 10; start 1 lives on and has its shard of step 30 ready. */
    assert_good(checkpoint_take_over(folder, 2, 10));
    assert_int_equal(newest_step(folder), 10);
    support_state_open(&state, 30);
    state.state.parameters = state.parameters;
    assert_good(checkpoint_shard_write(&facts, folder, &state.state, 0, 1, 1));
    assert_int_equal(checkpoint_commit(folder, &state.state, &facts, 1, 1), LS_FAILED);
    assert_non_null(strstr(status_message(), "taken over"));
    assert_int_equal(retain_last(folder, 1, 0, 1), LS_FAILED);
    assert_int_equal(checkpoint_take_over(folder, 1, 20), LS_FAILED);
    assert_int_equal(newest_step(folder), 10);
    /* Start 2's own save of step 20 takes the place of the one that does not count. */
    save_step(folder, 20, 2, 2);
    assert_int_equal(newest_step(folder), 20);
    assert_good(checkpoint_take_over(folder, 3, 20));
    assert_int_equal(newest_step(folder), 20);
    support_state_close(&state);
    support_folder_remove(folder);
}

/* Old workers that slept between their look at the fence and the rename. */
static void a_newer_starts_checkpoint_is_not_replaced(void **unused)
{
    (void)unused;
    char *folder = support_folder_quick();
    struct support_state state;
    struct checkpoint_shard_facts facts;
    struct checkpoint *c = NULL;
    save_step(folder, 20, 1, 2);
    support_state_open(&state, 20);
    state.state.parameters = state.parameters;
    state.state.skipped = state.skipped;
    assert_good(checkpoint_shard_write(&facts, folder, &state.state, 0, 1, 1));
    assert_int_equal(checkpoint_commit(folder, &state.state, &facts, 1, 1), LS_FAILED);
    assert_non_null(strstr(status_message(), "start 2 of the run has taken over from start 1"));
    assert_good(checkpoint_open_newest(&c, folder));
    assert_int_equal(checkpoint_info(c)->run_epoch, 2);
    checkpoint_close(&c);
    support_state_close(&state);
    support_folder_remove(folder);
}

static void what_was_overtaken_goes_and_does_not_count_as_kept(void **unused)
{
    (void)unused;
    char *folder = support_folder_quick();
    struct support_state state;
    struct checkpoint_shard_facts facts;
    for (int step = 10; step <= 50; step += 10)
        save_step(folder, step, 1, 1);
    /* Start 2 goes on from step 20.  It has saved step 30, and another rank is writing its shard of
     * step 40 when rank 0 clears away. */
    assert_good(checkpoint_take_over(folder, 2, 20));
    save_step(folder, 30, 2, 2);
    support_state_open(&state, 40);
    state.state.parameters = state.parameters;
    state.state.skipped = state.skipped;
    assert_good(checkpoint_shard_write(&facts, folder, &state.state, 0, 1, 2));
    assert_good(retain_last(folder, 2, 0, 2));
    assert_false(exists(folder, "step-000000050"));
    assert_false(exists(folder, "step-000000040"));
    assert_true(exists(folder, "step-000000030"));
    assert_true(exists(folder, "step-000000020"));
    assert_false(exists(folder, "step-000000010"));
    assert_good(checkpoint_commit(folder, &state.state, &facts, 1, 2));
    assert_int_equal(newest_step(folder), 40);
    support_state_close(&state);
    support_folder_remove(folder);
}

static void wrong_ranges_are_refused(void **unused)
{
    (void)unused;
    char *folder = support_folder_quick();
    struct support_state state;
    struct checkpoint_shard_facts facts;
    support_state_open(&state, 30);
    struct checkpoint_state part = state.state;
    part.parameters = state.parameters;
    part.arrays[1].offset = 100; /* off the grid */
    part.arrays[1].count -= 100;
    assert_int_equal(checkpoint_shard_write(&facts, folder, &part, 0, 1, 1), LS_USAGE);
    part = state.state;
    part.parameters = state.parameters;
    part.arrays[0].count = CHECKPOINT_BLOCK; /* the rest is in no shard */
    assert_good(checkpoint_shard_write(&facts, folder, &part, 0, 1, 1));
    assert_int_equal(checkpoint_commit(folder, &part, &facts, 1, 1), LS_CHECKPOINT);
    assert_int_equal(newest_step(folder), -1);
    support_state_close(&state);
    support_folder_remove(folder);
}

static void damaged_elements_of_slices_are_named(void **unused)
{
    (void)unused;
    char *folder = support_folder_quick();
    struct support_state state;
    struct checkpoint *c = NULL;
    char line[512] = "";
    char wanted[128];
    support_state_open(&state, 7);
    assert_good(support_save_divided(folder, &state, 2, 1, CHECKPOINT_BLOCK));
    char *checkpoint = in_folder(folder, "step-000000007");
    char *path = in_folder(checkpoint, "shard-0001-of-0002.h5");
    assert_good(checkpoint_open(&c, checkpoint));
    /* The third slice of the second shard: the sixth block. */
    flip_bit(path, (off_t)checkpoint_shards(c)[1].extents[2].data_at + 8 * CHECKPOINT_BLOCK + 9, 3);
    (void)snprintf(wanted, sizeof wanted, "elements %d to %d of moment2", 5 * CHECKPOINT_BLOCK,
                   6 * CHECKPOINT_BLOCK - 1);
    assert_int_equal(checkpoint_verify(checkpoint, keep_first_line, line), LS_CHECKPOINT);
    assert_non_null(strstr(line, wanted));
    checkpoint_close(&c);
    free(path);
    free(checkpoint);
    support_state_close(&state);
    support_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(damaged_elements_are_named_and_not_loaded),
        cmocka_unit_test(damaged_elements_of_slices_are_named),
        cmocka_unit_test(damaged_newest_gives_way_to_the_one_before),
        cmocka_unit_test(all_damaged_is_an_error_and_no_fresh_start),
        cmocka_unit_test(death_at_any_point_leaves_a_good_checkpoint),
        cmocka_unit_test(death_while_replacing_leaves_a_good_checkpoint),
        cmocka_unit_test(a_failure_at_any_point_leaves_a_good_checkpoint),
        cmocka_unit_test(retention_keeps_newest_milestones_and_a_good_one),
        cmocka_unit_test(retention_keeps_the_best_by_a_metric),
        cmocka_unit_test(old_workers_cannot_write_into_a_run_that_was_taken_over),
        cmocka_unit_test(a_newer_starts_checkpoint_is_not_replaced),
        cmocka_unit_test(what_was_overtaken_goes_and_does_not_count_as_kept),
        cmocka_unit_test(wrong_ranges_are_refused),
    };
    log_open(-1, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
