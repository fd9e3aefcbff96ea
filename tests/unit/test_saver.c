/* The background checkpoint writer of one rank. */
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
#include <unistd.h>

#include "core/clock.h"
#include "core/fault.h"
#include "core/files.h"
#include "core/log.h"
#include "worker/saver.h"

enum { WAIT_S = 100 };

static const struct model_shape shape = {.patch = 8,
                                         .tubelet = 2,
                                         .dim = 32,
                                         .depth = 1,
                                         .heads = 1,
                                         .hidden = 64,
                                         .pred_dim = 16,
                                         .pred_depth = 1,
                                         .pred_heads = 1,
                                         .pred_hidden = 32,
                                         .mask_tokens = 2,
                                         .init_std = 0.02};

struct fixture {
    char folder[128];
    struct parameters *parameters;
    struct saver *saver;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    (void)snprintf(f->folder, sizeof f->folder, "%s/lockstep-saver-XXXXXX",
                   getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(f->folder));
    assert_int_equal(parameters_open(&f->parameters, &shape), LS_OK);
    assert_int_equal(checkpoint_take_over(f->folder, 1, -1), LS_OK);
    assert_int_equal(saver_open(&f->saver,
                                &(struct saver_options){.folder = f->folder,
                                                        .config_yaml = "app: vjepa\n",
                                                        .facts_json = "{}",
                                                        .run_epoch = 1,
                                                        .origin_step = -1,
                                                        .size = 1,
                                                        .retention = {.keep_last = 5}},
                                f->parameters),
                     LS_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    saver_close(&f->saver, WAIT_S); /* whose thread passes points */
    fault_arm(FAULT_OFF, NULL, 0, 0);
    parameters_close(&f->parameters);
    assert_int_equal(files_remove(f->folder), LS_OK);
    free(f);
    return 0;
}

static void stage(struct saver *saver, int64_t step)
{
    struct checkpoint_state *state = saver_stage(saver);
    assert_non_null(state);
    for (int a = 0; a < state->array_count; a++)
        for (int64_t i = 0; i < state->arrays[a].count; i++)
            state->arrays[a].data[i] = (float)(step * 10 + a);
    state->step = step;
    state->skipped = NULL;
    state->skipped_count = 0;
    assert_int_equal(saver_write(saver), LS_OK);
}

static enum saver_progress wait_for(struct saver *saver)
{
    assert_int_equal(saver_wait(saver, WAIT_S), LS_OK);
    return saver_progress(saver);
}

static void finish_good(struct saver *saver)
{
    assert_int_equal(wait_for(saver), SAVER_WRITTEN);
    saver_commit(saver, saver_facts(saver));
    assert_int_equal(wait_for(saver), SAVER_COMMITTED);
    saver_finish(saver, false);
}

static void assert_holds(const char *folder, int64_t step)
{
    char path[320];
    struct checkpoint *checkpoint = NULL;
    (void)snprintf(path, sizeof path, "%s/step-%09d", folder, (int)step);
    assert_int_equal(checkpoint_open(&checkpoint, path), LS_OK);
    const struct checkpoint_info *info = checkpoint_info(checkpoint);
    assert_int_equal(info->step, step);
    for (int a = 0; a < info->array_count; a++) {
        struct checkpoint_array array = info->arrays[a];
        array.count = array.total;
        array.data = calloc((size_t)array.total, sizeof *array.data);
        assert_non_null(array.data);
        assert_int_equal(checkpoint_read(checkpoint, &array), LS_OK);
        for (int64_t i = 0; i < array.count; i++)
            assert_float_equal(array.data[i], (float)(step * 10 + a), 0);
        free(array.data);
    }
    checkpoint_close(&checkpoint);
}

static void a_staged_state_becomes_a_checkpoint(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(saver_progress(f->saver), SAVER_NOTHING);
    stage(f->saver, 7);
    assert_int_equal(saver_pending(f->saver), 1);
    assert_int_equal(saver_step(f->saver), 7);
    finish_good(f->saver);
    assert_int_equal(saver_pending(f->saver), 0);
    assert_holds(f->folder, 7);
}

static void two_saves_are_under_way_and_no_third(void **state)
{
    struct fixture *f = *state;
    stage(f->saver, 1);
    stage(f->saver, 2);
    assert_null(saver_stage(f->saver));
    assert_int_equal(saver_step(f->saver), 1);
    finish_good(f->saver);
    assert_non_null(saver_stage(f->saver));
    stage(f->saver, 3);
    finish_good(f->saver);
    finish_good(f->saver);
    for (int64_t step = 1; step <= 3; step++)
        assert_holds(f->folder, step);
}

static void a_folder_that_was_deleted_is_made_again(void **state)
{
    struct fixture *f = *state;
    char fence[320];
    stage(f->saver, 1);
    finish_good(f->saver);
    saver_settle(f->saver);
    assert_int_equal(files_remove(f->folder), LS_OK);
    stage(f->saver, 2);
    finish_good(f->saver);
    assert_holds(f->folder, 2);
    (void)snprintf(fence, sizeof fence, "%s/takeovers.json", f->folder);
    assert_true(files_exists(fence));
}

static void a_failure_is_told_and_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    fault_arm(FAULT_FAIL_FOR_GOOD, "write", 1, ENOSPC);
    stage(f->saver, 4);
    assert_int_equal(wait_for(f->saver), SAVER_FAILED);
    assert_int_equal(saver_failure(f->saver), LS_CHECKPOINT);
    assert_non_null(strstr(status_message(), "No space left on device"));
    fault_arm(FAULT_OFF, NULL, 0, 0);
    char partial[160];
    (void)snprintf(partial, sizeof partial, "%s/step-000000004.epoch-1.partial", f->folder);
    assert_true(files_exists(partial));
    saver_finish(f->saver, true);
    saver_settle(f->saver);
    assert_false(files_exists(partial));
    stage(f->saver, 5);
    finish_good(f->saver);
    assert_holds(f->folder, 5);
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(files_list(&names, &count, f->folder), LS_OK);
    for (size_t i = 0; i < count; i++)
        assert_null(strstr(names[i], "step-000000004"));
    files_list_free(&names, count);
}

static void a_failed_commit_is_told(void **state)
{
    struct fixture *f = *state;
    stage(f->saver, 6);
    assert_int_equal(wait_for(f->saver), SAVER_WRITTEN);
    fault_arm(FAULT_FAIL, "rename", 1, EIO);
    saver_commit(f->saver, saver_facts(f->saver));
    assert_int_equal(wait_for(f->saver), SAVER_FAILED);
    assert_int_equal(saver_failure(f->saver), LS_CHECKPOINT);
    saver_finish(f->saver, true);
}

/* A file system that hangs: a FIFO that nobody reads stands where the shard is to be created. */
static void workers_that_were_taken_over_from_are_told_apart(void **state)
{
    struct fixture *f = *state;
    stage(f->saver, 3);
    assert_int_equal(wait_for(f->saver), SAVER_WRITTEN);
    assert_int_equal(checkpoint_take_over(f->folder, 2, -1), LS_OK);
    saver_commit(f->saver, saver_facts(f->saver));
    assert_int_equal(wait_for(f->saver), SAVER_FAILED);
    assert_int_equal(saver_failure(f->saver), LS_FAILED);
    assert_non_null(strstr(status_message(), "start 2 of the run has taken over"));
    saver_finish(f->saver, true);
}

static void a_hung_disk_holds_nobody(void **state)
{
    struct fixture *f = *state;
    char path[320];
    int length = snprintf(path, sizeof path, "%s/step-000000009.epoch-1.partial", f->folder);
    assert_int_equal(mkdir(path, 0777), 0);
    (void)snprintf(path + length, sizeof path - (size_t)length, "/shard-0000-of-0001.h5.tmp");
    assert_int_equal(mkfifo(path, 0666), 0);
    double start_s = clock_now_s();
    stage(f->saver, 9);
    stage(f->saver, 10);
    assert_int_equal(saver_wait(f->saver, 0.1), LS_CHECKPOINT);
    assert_non_null(strstr(status_message(), "was not written within 0.1 s"));
    assert_int_equal(saver_progress(f->saver), SAVER_BUSY);
    assert_true(saver_age_s(f->saver) >= 0.1);
    assert_true(clock_now_s() - start_s < WAIT_S);
    /* Released, it fails and says so: a FIFO cannot be made durable. */
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    assert_int_equal(close(reader), 0);
    assert_int_equal(wait_for(f->saver), SAVER_FAILED);
    saver_finish(f->saver, true);
    finish_good(f->saver);
    assert_holds(f->folder, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_staged_state_becomes_a_checkpoint, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_saves_are_under_way_and_no_third, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_folder_that_was_deleted_is_made_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failure_is_told_and_leaves_nothing_behind, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_failed_commit_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(workers_that_were_taken_over_from_are_told_apart, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_hung_disk_holds_nobody, set_up, tear_down),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    log_open(0, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
