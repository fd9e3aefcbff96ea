/* The run folder: one owner, counted starts, old runs set aside, end records, changed configs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/files.h"
#include "core/log.h"
#include "core/run.h"
#include "launcher/config_changes.h"
#include "launcher/run_folder.h"
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

static void write_text(const char *folder, const char *name, const char *text)
{
    char *path = in_folder(folder, name);
    assert_good(files_replace(path, text, strlen(text)));
    free(path);
}

/* Opens the folder in another process: 0 it got it, 1 it was refused with the owner's name. */
static int open_elsewhere(const char *path)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct run_folder *folder = NULL;
        ls_status st = run_folder_open(&folder, path);
        bool named = strstr(status_message(), "in use by process") != NULL;
        _exit(st == LS_OK ? 0 : st == LS_IO && named ? 1 : 2);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_second_launcher_is_refused_with_the_owners_name(void **unused)
{
    (void)unused;
    char *base = support_folder();
    char *path = in_folder(base, "runs/one");
    struct run_folder *folder = NULL;
    char *owner = NULL;
    assert_good(run_folder_open(&folder, path));
    assert_int_equal(open_elsewhere(path), 1);
    assert_good(run_folder_owner(&owner, path));
    char wanted[64];
    (void)snprintf(wanted, sizeof wanted, "process %ld on host ", (long)getpid());
    assert_non_null(strstr(owner, wanted));
    free(owner);
    run_folder_close(&folder);
    assert_null(folder);
    assert_good(run_folder_owner(&owner, path));
    assert_null(owner);
    assert_int_equal(open_elsewhere(path), 0);
    free(path);
    support_folder_remove(base);
}

/* A later start of the same SLURM job; another job gets the folder only with SLURM's word. */
static void a_later_start_of_the_same_job_takes_over(void **unused)
{
    (void)unused;
    char *base = support_folder();
    char *path = in_folder(base, "run");
    struct run_folder *first = NULL;
    struct run_folder *second = NULL;
    int64_t epoch = 0;
    const char *given = getenv("PATH");
    char *programs = strdup(given != NULL ? given : "/usr/bin:/bin");
    assert_non_null(programs);
    assert_int_equal(setenv("SLURM_JOB_ID", "7", 1), 0);
    assert_good(run_folder_open(&first, path));
    assert_good(run_folder_next_epoch(&epoch, first));
    assert_int_equal(open_elsewhere(path), 1); /* the same start */
    assert_int_equal(setenv("SLURM_JOB_ID", "8", 1), 0);
    assert_int_equal(setenv("PATH", base, 1), 0); /* no squeue to ask */
    assert_int_equal(open_elsewhere(path), 1);
    assert_int_equal(setenv("PATH", programs, 1), 0);
    free(programs);
    assert_int_equal(setenv("SLURM_JOB_ID", "7", 1), 0);
    assert_int_equal(setenv("SLURM_RESTART_COUNT", "1", 1), 0);
    assert_good(run_folder_open(&second, path));
    assert_good(run_folder_next_epoch(&epoch, second));
    assert_int_equal(epoch, 2);
    /* The first one starts nothing more, and leaves the second's owner.json alone. */
    assert_int_equal(run_folder_next_epoch(&epoch, first), LS_IO);
    assert_non_null(strstr(status_message(), "has lost the run to process "));
    run_folder_close(&first);
    char *owner = NULL;
    assert_good(run_folder_owner(&owner, path));
    assert_non_null(strstr(owner, ", SLURM job 7"));
    free(owner);
    run_folder_close(&second);
    assert_int_equal(unsetenv("SLURM_JOB_ID"), 0);
    assert_int_equal(unsetenv("SLURM_RESTART_COUNT"), 0);
    free(path);
    support_folder_remove(base);
}

/* Two jobs find the folder of a third that has ended: while one asks SLURM, the other takes it. */
static void the_lock_of_one_who_was_faster_is_left_alone(void **unused)
{
    (void)unused;
    static const char squeue[] =
        "#!/bin/sh\n"
        "case \"$*\" in *' 9') echo RUNNING; exit ;; esac\n"
        "rm \"$RUN/lock\"\n"
        "flock -F \"$RUN/lock\" sh -c 'touch \"$RUN/taken\"; exec sleep 300' >/dev/null 2>&1 &\n"
        "until [ -e \"$RUN/taken\" ]; do sleep 0.02; done\n"
        "echo $! >\"$RUN/holder\"\n"
        "echo '{\"host\":\"b\",\"pid\":3,\"since\":\"now\",\"job\":\"9\"}' >\"$RUN/owner.json\"\n";
    char *base = support_folder();
    char *run = in_folder(base, "run");
    char *program = in_folder(base, "squeue");
    char *paths = NULL;
    struct run_folder *first = NULL;
    struct run_folder *second = NULL;
    const char *given = getenv("PATH");
    char *programs = strdup(given != NULL ? given : "/usr/bin:/bin");
    assert_non_null(programs);
    write_text(base, "squeue", squeue);
    assert_int_equal(chmod(program, 0755), 0);
    assert_good(core_format(&paths, "%s:%s", base, programs));
    assert_int_equal(setenv("PATH", paths, 1) + setenv("RUN", run, 1), 0);
    assert_int_equal(setenv("SLURM_JOB_ID", "7", 1), 0);
    assert_good(run_folder_open(&first, run));
    assert_int_equal(setenv("SLURM_JOB_ID", "8", 1), 0);
    assert_int_equal(run_folder_open(&second, run), LS_IO);
    assert_non_null(
        strstr(status_message(), "in use by process 3 on host b since now, SLURM job 9"));
    char *holder = in_folder(run, "holder");
    char *text = NULL;
    assert_good(files_read(&text, NULL, holder, 64));
    assert_int_equal(kill((pid_t)strtol(text, NULL, 10), SIGKILL), 0);
    run_folder_close(&first);
    assert_int_equal(setenv("PATH", programs, 1) + unsetenv("RUN") + unsetenv("SLURM_JOB_ID"), 0);
    free(text);
    free(holder);
    free(programs);
    free(paths);
    free(program);
    free(run);
    support_folder_remove(base);
}

static void asking_who_has_it_refuses_nobody(void **unused)
{
    (void)unused;
    char *base = support_folder_quick();
    pid_t asking = fork();
    assert_true(asking >= 0);
    if (asking == 0)
        (void)alarm(10); /* should the test fail first */
    for (char *owner = NULL; asking == 0; free(owner))
        if (run_folder_owner(&owner, base) != LS_OK)
            _exit(1);
    for (int i = 0; i < 2000; i++) {
        struct run_folder *folder = NULL;
        assert_good(run_folder_open(&folder, base));
        run_folder_close(&folder);
    }
    assert_int_equal(kill(asking, SIGKILL), 0);
    int status = 0;
    assert_int_equal(waitpid(asking, &status, 0), asking);
    assert_true(WIFSIGNALED(status));
    support_folder_remove(base);
}

static void what_a_killed_launcher_left_is_taken_over(void **unused)
{
    (void)unused;
    char *base = support_folder();
    struct run_folder *folder = NULL;
    assert_int_equal(open_elsewhere(base), 0); /* _exit: its owner.json stays */
    char *owner = in_folder(base, "owner.json");
    assert_true(files_exists(owner));
    assert_good(run_folder_open(&folder, base));
    run_folder_close(&folder);
    assert_false(files_exists(owner));
    free(owner);
    support_folder_remove(base);
}

static void starts_are_counted_and_a_damaged_count_is_told(void **unused)
{
    (void)unused;
    static const char *const damaged[] = {"", "x\n", "3", "-1\n", "3 \n", "99999999999999999999\n"};
    char *base = support_folder();
    struct run_folder *folder = NULL;
    int64_t epoch = 0;
    assert_good(run_folder_open(&folder, base));
    assert_good(run_folder_next_epoch(&epoch, folder));
    assert_int_equal(epoch, 1);
    assert_good(run_folder_next_epoch(&epoch, folder));
    assert_int_equal(epoch, 2);
    assert_good(run_folder_starts(&epoch, base));
    assert_int_equal(epoch, 2);
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        write_text(base, "run-epoch", damaged[i]);
        assert_int_equal(run_folder_next_epoch(&epoch, folder), LS_DATA);
        assert_non_null(strstr(status_message(), "run-epoch"));
    }
    run_folder_close(&folder);
    support_folder_remove(base);
}

static void a_run_that_was_copied_without_its_count_gets_a_newer_epoch(void **unused)
{
    (void)unused;
    char *base = support_folder();
    char *checkpoints = in_folder(base, "checkpoints");
    struct run_folder *folder = NULL;
    int64_t epoch = 0;
    assert_good(checkpoint_take_over(checkpoints, 7, 120));
    assert_good(run_folder_open(&folder, base));
    assert_good(run_folder_next_epoch(&epoch, folder));
    assert_int_equal(epoch, 8);
    assert_good(checkpoint_take_over(checkpoints, epoch, 120));
    assert_good(run_folder_next_epoch(&epoch, folder));
    assert_int_equal(epoch, 9);
    struct support_state saved; /* by a start that nobody took over from */
    support_state_open_small(&saved, 130);
    assert_good(support_save(checkpoints, &saved, 1, 20));
    support_state_close(&saved);
    assert_good(run_folder_next_epoch(&epoch, folder));
    assert_int_equal(epoch, 21);
    write_text(checkpoints, "takeovers.json", "{");
    assert_int_equal(run_folder_next_epoch(&epoch, folder), LS_CHECKPOINT);
    assert_non_null(strstr(status_message(), "takeovers.json"));
    run_folder_close(&folder);
    free(checkpoints);
    support_folder_remove(base);
}

static void an_old_run_is_moved_aside_whole(void **unused)
{
    (void)unused;
    char *base = support_folder();
    char *path = in_folder(base, "run");
    struct run_folder *folder = NULL;
    char *old = NULL;
    int64_t epoch = 0;
    assert_good(run_folder_open(&folder, path));
    assert_false(run_folder_has_run(folder));
    assert_good(run_folder_next_epoch(&epoch, folder));
    write_text(path, "config.yaml", "app: vjepa\n");
    write_text(path, "metrics.jsonl", "{}\n");
    char *datasets = in_folder(path, "datasets");
    assert_int_equal(mkdir(datasets, 0777), 0);
    assert_true(run_folder_has_run(folder));
    assert_good(run_folder_set_aside(&old, folder));
    assert_false(run_folder_has_run(folder));
    assert_true(files_exists(datasets));
    char *moved = in_folder(old, "metrics.jsonl");
    assert_true(files_exists(moved));
    /* Workers of the old run that still live have an older epoch than any of the new one. */
    assert_good(run_folder_next_epoch(&epoch, folder));
    assert_int_equal(epoch, 2);
    assert_int_equal(open_elsewhere(path), 1);
    run_folder_close(&folder);
    free(moved);
    free(datasets);
    free(old);
    free(path);
    support_folder_remove(base);
}

static void the_cause_of_an_end_is_not_its_consequence(void **unused)
{
    (void)unused;
    char *base = support_folder();
    struct run_end *ends = NULL;
    int count = 0;
    struct run_end end = {.rank = 0, .step = 7, .status = LS_COMM, .message = "rank 1 is gone"};
    assert_good(run_end_write(base, 3, &end));
    end = (struct run_end){.rank = 2,
                           .step = 7,
                           .status = LS_DATA,
                           .message = "a \"b\".mp4: no video stream",
                           .node = "node3"};
    assert_good(run_end_write(base, 3, &end));
    end = (struct run_end){.rank = 0, .step = 9, .status = LS_OK};
    assert_good(run_end_write(base, 4, &end));
    write_text(base, "ends/000003-0001.json", "{\"rank\": 1, ");
    assert_good(run_ends_read(&ends, &count, base, 3));
    assert_int_equal(count, 2);
    const struct run_end *cause = run_ends_cause(ends, count);
    assert_int_equal(cause->rank, 2);
    assert_int_equal(cause->status, LS_DATA);
    assert_string_equal(cause->message, "a \"b\".mp4: no video stream");
    assert_string_equal(cause->node, "node3");
    assert_null(ends[0].node);
    run_ends_free(&ends, count);
    assert_good(run_ends_read(&ends, &count, base, 4));
    assert_int_equal(count, 1);
    assert_int_equal(run_ends_cause(ends, count)->status, LS_OK);
    assert_int_equal(ends[0].step, 9);
    run_ends_free(&ends, count);
    assert_good(run_ends_read(&ends, &count, base, 5));
    assert_int_equal(count, 0);
    assert_null(run_ends_cause(ends, count));
    run_ends_free(&ends, count);
    support_folder_remove(base);
}

static const char before[] = "app: vjepa\n"
                             "nodes: 1\n"
                             "data:\n"
                             "  datasets:\n"
                             "  - \"a: b\"\n"
                             "  - c\n"
                             "  dataset_fpcs:\n"
                             "  - 8\n"
                             "  - 8\n"
                             "  crop_size: 64\n"
                             "  patch_size: 8\n"
                             "mask:\n"
                             "- num_blocks: 8\n"
                             "  aspect_ratio: [0.75, 1.5]\n"
                             "- num_blocks: 2\n"
                             "  aspect_ratio: [0.75, 1.5]\n"
                             "model:\n"
                             "  depth: 4\n"
                             "optimization:\n"
                             "  lr: 0.001\n";

/* `before` with the first `from` replaced by `to`. */
static ls_status compare(char **out, const char *from, const char *to)
{
    char *after = NULL;
    const char *at = strstr(before, from);
    assert_non_null(at);
    assert_good(core_format(&after, "%.*s%s%s", (int)(at - before), before, to, at + strlen(from)));
    ls_status st = config_changes(out, before, after, "RUN");
    free(after);
    return st;
}

static void changes_of_a_config_are_named(void **unused)
{
    (void)unused;
    static const struct {
        const char *from, *to, *changes;
    } cases[] = {
        {"app", "app", ""},
        {"lr: 0.001", "lr: 0.002", "optimization.lr 0.001 -> 0.002"},
        {"nodes: 1", "nodes: 2", "nodes 1 -> 2"},
        {"- c\n", "- d\n", "data.datasets[1] c -> d"},
        {"\"a: b\"", "\"a\"", "data.datasets[0] \"a: b\" -> \"a\""},
        {"  - 8\n  - 8\n", "  - 8\n  - 16\n", "data.dataset_fpcs[1] 8 -> 16"},
        {"- num_blocks: 2", "- num_blocks: 3", "mask[1].num_blocks 2 -> 3"},
        {"  lr: 0.001\n", "  lr: 0.001\n  grad_clip: 1.0\n", "optimization.grad_clip none -> 1.0"},
        {"  crop_size: 64\n", "", "data.crop_size 64 -> none"},
        {"nodes: 1\ndata", "nodes: 2\ntasks_per_node: 3\ndata",
         "nodes 1 -> 2, tasks_per_node none -> 3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *changes = NULL;
        assert_good(compare(&changes, cases[i].from, cases[i].to));
        assert_string_equal(changes, cases[i].changes);
        free(changes);
    }
}

static void a_changed_length_is_told_in_the_words_it_was_given_in(void **unused)
{
    (void)unused;
    static const struct {
        const char *before, *after, *changes;
    } cases[] = {
        {"  epochs: 1\n  ipe: 30\n  warmup: 0.3333333333333333\n",
         "  epochs: 1\n  ipe: 32\n  warmup: 0.3125\n", "optimization.steps 30 -> 32"},
        {"  epochs: 1\n  ipe: 30\n  warmup: 0.0\n", "  epochs: 1\n  ipe: 30\n  warmup: 0.1\n",
         "optimization.warmup_steps 0 -> 3"},
        {"  epochs: 2\n  ipe: 30\n  warmup: 1.0\n", "  epochs: 2\n  ipe: 32\n  warmup: 0.5\n",
         "optimization.ipe 30 -> 32, optimization.warmup 1.0 -> 0.5"},
        {"  epochs: 1\n  ipe: 30\n", "  epochs: 3\n  ipe: 30\n", "optimization.epochs 1 -> 3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *old = NULL;
        char *new = NULL;
        char *changes = NULL;
        assert_good(core_format(&old, "optimization:\n%s", cases[i].before));
        assert_good(core_format(&new, "optimization:\n%s", cases[i].after));
        assert_good(config_changes(&changes, old, new, "RUN"));
        assert_string_equal(changes, cases[i].changes);
        free(old);
        free(new);
        free(changes);
    }
}

static void changes_that_weights_cannot_follow_are_refused(void **unused)
{
    (void)unused;
    char *changes = NULL;
    assert_int_equal(compare(&changes, "depth: 4", "depth: 6"), LS_USAGE);
    assert_non_null(strstr(status_message(), "RUN: the run has model.depth 4"));
    assert_int_equal(compare(&changes, "patch_size: 8", "patch_size: 16"), LS_USAGE);
    assert_null(changes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_launcher_is_refused_with_the_owners_name),
        cmocka_unit_test(a_later_start_of_the_same_job_takes_over),
        cmocka_unit_test(the_lock_of_one_who_was_faster_is_left_alone),
        cmocka_unit_test(asking_who_has_it_refuses_nobody),
        cmocka_unit_test(what_a_killed_launcher_left_is_taken_over),
        cmocka_unit_test(starts_are_counted_and_a_damaged_count_is_told),
        cmocka_unit_test(a_run_that_was_copied_without_its_count_gets_a_newer_epoch),
        cmocka_unit_test(an_old_run_is_moved_aside_whole),
        cmocka_unit_test(the_cause_of_an_end_is_not_its_consequence),
        cmocka_unit_test(changes_of_a_config_are_named),
        cmocka_unit_test(a_changed_length_is_told_in_the_words_it_was_given_in),
        cmocka_unit_test(changes_that_weights_cannot_follow_are_refused),
    };
    log_open(-1, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
