/* Durable files: the old or the new content whatever fails or dies, whole reads, no link followed.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/fault.h"
#include "core/files.h"

static char folder[256];

static const char *in_folder(const char *name)
{
    static char path[2][512];
    static int which;
    which = 1 - which;
    (void)snprintf(path[which], sizeof path[which], "%s/%s", folder, name);
    return path[which];
}

static int make_folder(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    (void)snprintf(folder, sizeof folder, "%s/files-XXXXXX", base != NULL ? base : "/tmp");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    fault_arm(FAULT_OFF, NULL, 0, 0);
    return files_remove(folder) != LS_OK;
}

static void assert_content(const char *path, const char *content)
{
    char *text = NULL;
    size_t bytes = 0;
    assert_int_equal(files_read(&text, &bytes, path, 1 << 20), LS_OK);
    assert_int_equal(bytes, strlen(content));
    assert_string_equal(text, content);
    free(text);
}

static int entries(void)
{
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(files_list(&names, &count, folder), LS_OK);
    files_list_free(&names, count);
    return (int)count;
}

static void replace_writes_and_overwrites(void **state)
{
    (void)state;
    const char *path = in_folder("a file, with \"quotes\" \xe2\x84\x96");
    assert_int_equal(files_replace(path, "one", 3), LS_OK);
    assert_content(path, "one");
    assert_int_equal(files_replace(path, "", 0), LS_OK);
    assert_content(path, "");
    assert_int_equal(files_replace(path, "three", 5), LS_OK);
    assert_content(path, "three");
    assert_int_equal(entries(), 1);
    uint64_t size = 0;
    assert_int_equal(files_size(&size, path), LS_OK);
    assert_int_equal(size, 5);
}

/* Every point that can fail, failing once and failing for good: the old content, or the new. */
static void a_failed_replace_leaves_the_old_file(void **state)
{
    (void)state;
    const char *path = in_folder("file");
    fault_arm(FAULT_OFF, NULL, 0, 0);
    assert_int_equal(files_replace(path, "old", 3), LS_OK);
    fault_arm(FAULT_COUNT, NULL, 0, 0);
    assert_int_equal(files_replace(path, "old", 3), LS_OK);
    int64_t points = fault_count();
    assert_true(points >= 4); /* create, write, fsync, rename, fsync of the folder */
    for (int64_t nth = 1; nth <= points; nth++) {
        for (int good = 0; good < 2; good++) {
            fault_arm(good ? FAULT_FAIL_FOR_GOOD : FAULT_FAIL, NULL, nth, ENOSPC);
            assert_int_equal(files_replace(path, "new", 3), LS_IO);
            fault_arm(FAULT_OFF, NULL, 0, 0);
            assert_non_null(strstr(status_message(), strerror(ENOSPC)));
            assert_non_null(strstr(status_message(), folder));
            /* Only the last fsync comes after the rename. */
            assert_content(path, nth < points ? "old" : "new");
            assert_int_equal(entries(), 1);
            assert_int_equal(files_replace(path, "old", 3), LS_OK);
        }
    }
}

static void a_killed_replace_leaves_a_whole_file(void **state)
{
    (void)state;
    const char *path = in_folder("file");
    for (int64_t nth = 1; nth <= 6; nth++) {
        assert_int_equal(files_replace(path, "old", 3), LS_OK);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            fault_arm(FAULT_KILL, NULL, nth, 0);
            _exit(files_replace(path, "new", 3) == LS_OK ? 0 : 1);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        assert_true(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
        char *text = NULL;
        assert_int_equal(files_read(&text, NULL, path, 100), LS_OK);
        assert_true(strcmp(text, "new") == 0 || (killed && strcmp(text, "old") == 0));
        free(text);
    }
}

static void read_refuses_what_is_no_whole_file(void **state)
{
    (void)state;
    char *text = NULL;
    assert_int_equal(files_read(&text, NULL, in_folder("absent"), 10), LS_IO);
    assert_non_null(strstr(status_message(), "absent: cannot open: No such file"));
    assert_int_equal(files_read(&text, NULL, folder, 10), LS_IO);
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    assert_int_equal(files_read(&text, NULL, in_folder("pipe"), 10), LS_IO);
    assert_int_equal(files_read(&text, NULL, "/dev/null", 10), LS_IO);
    assert_int_equal(files_replace(in_folder("file"), "0123456789", 10), LS_OK);
    assert_int_equal(files_read(&text, NULL, in_folder("file"), 9), LS_DATA);
    assert_non_null(strstr(status_message(), "10 bytes, more than the 9 allowed"));
    assert_null(text);
    uint64_t size = 0;
    assert_int_equal(files_size(&size, in_folder("absent")), LS_IO);
}

static void read_at_tells_a_file_that_ends_early(void **state)
{
    (void)state;
    char bytes[8] = "";
    assert_int_equal(files_replace(in_folder("file"), "0123456789", 10), LS_OK);
    int file = open(in_folder("file"), O_RDONLY | O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(files_read_at(file, bytes, 4, 6, "file"), LS_OK);
    assert_memory_equal(bytes, "6789", 4);
    assert_int_equal(files_read_at(file, bytes, 0, 100, "file"), LS_OK);
    assert_int_equal(files_read_at(file, bytes, 4, 7, "file"), LS_DATA);
    assert_string_equal(status_message(), "file: truncated, 1 bytes missing at offset 10");
    assert_int_equal(files_write_all(file, "x", 1, "file"), LS_IO); /* opened for reading */
    assert_int_equal(close(file), 0);
}

static void folders_are_made_with_their_parents(void **state)
{
    (void)state;
    assert_int_equal(files_make_folder(in_folder("a/b//c/")), LS_OK);
    assert_true(files_is_folder(in_folder("a/b/c")));
    assert_int_equal(files_make_folder(in_folder("a/b")), LS_OK);
    assert_int_equal(files_make_folder(folder), LS_OK);
    assert_int_equal(files_make_folder("/"), LS_OK);
    assert_int_equal(files_replace(in_folder("file"), "x", 1), LS_OK);
    assert_int_equal(files_make_folder(in_folder("file/below")), LS_IO);
    assert_int_equal(files_make_folder(in_folder("file")), LS_IO);
    assert_true(files_exists(in_folder("file")));
    assert_false(files_is_folder(in_folder("file")));
    assert_false(files_exists(in_folder("none")));
    assert_int_equal(files_make_folder(""), LS_OK);
}

static void a_new_folder_is_durable_and_the_cause_of_a_failure_is_told(void **state)
{
    (void)state;
    fault_arm(FAULT_COUNT, "fsync", 1, 0);
    assert_int_equal(files_make_folder(in_folder("run/checkpoints/step")), LS_OK);
    assert_int_equal(fault_count(), 3); /* the folder itself, run, run/checkpoints */
    assert_int_equal(files_make_folder(in_folder("run/checkpoints/step")), LS_OK);
    assert_int_equal(fault_count(), 3);
    fault_arm(FAULT_FAIL_FOR_GOOD, "mkdir", 1, ENOSPC);
    assert_int_equal(files_make_folder(in_folder("other")), LS_IO);
    fault_arm(FAULT_OFF, NULL, 0, 0);
    assert_non_null(strstr(status_message(), "other: cannot make folder: No space left on device"));
}

/* How the third passing of `site` ends for a rank and epoch, after arming from `text`. */
static int third_of(const char *text, int rank, int64_t epoch, const char *site)
{
    fault_arm(FAULT_OFF, NULL, 0, 0);
    fault_arm_text(text, rank, epoch);
    int error = 0;
    for (int i = 0; i < 3; i++)
        error = fault_point(site);
    fault_arm(FAULT_OFF, NULL, 0, 0);
    return error;
}

static void a_list_arms_what_is_for_this_rank_and_start(void **state)
{
    (void)state;
    static const char list[] = "fail:write:3:1:4,nonsense,fail:flip:3:-1:-2,fail::3:2:9";
    assert_int_equal(third_of(list, 1, 4, "write"), ENOSPC);
    assert_int_equal(third_of(list, 1, 4, "flip"), 0);
    assert_int_equal(third_of(list, 0, 4, "write"), 0);
    assert_int_equal(third_of(list, 0, 1, "flip"), ENOSPC);
    assert_int_equal(third_of(list, 5, 2, "flip"), ENOSPC);
    assert_int_equal(third_of(list, 5, 3, "flip"), 0);
    assert_int_equal(third_of(list, 2, 9, "anything"), ENOSPC);
    assert_int_equal(third_of(NULL, 1, 4, "write"), 0);
    assert_int_equal(third_of("", 1, 4, "write"), 0);
}

static void a_folder_is_removed_but_not_what_links_lead_to(void **state)
{
    (void)state;
    assert_int_equal(files_make_folder(in_folder("kept")), LS_OK);
    assert_int_equal(files_replace(in_folder("kept/file"), "x", 1), LS_OK);
    assert_int_equal(files_make_folder(in_folder("gone/deep/deeper")), LS_OK);
    assert_int_equal(files_replace(in_folder("gone/deep/file"), "x", 1), LS_OK);
    assert_int_equal(symlink("../kept", in_folder("gone/link")), 0);
    assert_int_equal(symlink("nowhere", in_folder("gone/dangling")), 0);
    assert_int_equal(files_remove(in_folder("gone")), LS_OK);
    assert_false(files_exists(in_folder("gone")));
    assert_content(in_folder("kept/file"), "x");
    assert_int_equal(files_remove(in_folder("gone")), LS_OK); /* nothing there is fine */
}

static void names_are_listed_in_order_of_bytes(void **state)
{
    (void)state;
    static const char *const names[] = {".hidden", "B", "a", "a b", "b", "\xd0\xbf"};
    enum { COUNT = sizeof names / sizeof *names };
    for (int i = COUNT - 1; i >= 0; i--)
        assert_int_equal(files_replace(in_folder(names[i]), "", 0), LS_OK);
    char **found = NULL;
    size_t count = 0;
    assert_int_equal(files_list(&found, &count, folder), LS_OK);
    assert_int_equal(count, COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_string_equal(found[i], names[i]);
    files_list_free(&found, count);
    assert_null(found);
    assert_int_equal(files_list(&found, &count, in_folder("none")), LS_IO);
}

static void rename_and_sync_tell_their_failures(void **state)
{
    (void)state;
    assert_int_equal(files_rename(in_folder("none"), in_folder("other")), LS_IO);
    assert_int_equal(files_sync(in_folder("none")), LS_IO);
    assert_int_equal(files_replace(in_folder("one"), "1", 1), LS_OK);
    assert_int_equal(files_rename(in_folder("one"), in_folder("two")), LS_OK);
    assert_int_equal(files_sync(in_folder("two")), LS_OK);
    assert_int_equal(files_sync(folder), LS_OK);
    assert_content(in_folder("two"), "1");
}

static void the_limit_of_open_files_is_raised_as_far_as_it_goes(void **state)
{
    (void)state;
    struct rlimit before;
    struct rlimit after;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(before.rlim_max >= 128);
    assert_int_equal(
        setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = 64, .rlim_max = before.rlim_max}), 0);
    files_raise_limit();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &after), 0);
    assert_true(after.rlim_cur == before.rlim_max || after.rlim_cur == 65536);
    assert_true(after.rlim_max == before.rlim_max);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void memory_is_zeroed_and_its_size_checked(void **state)
{
    (void)state;
    double *array = NULL;
    assert_int_equal(core_alloc(&array, 1000), LS_OK);
    for (int i = 0; i < 1000; i++)
        assert_true(array[i] == 0);
    free(array);
    assert_int_equal(core_alloc(&array, 0), LS_OK);
    assert_non_null(array);
    free(array);
    array = NULL;
    assert_int_equal(core_alloc_bytes((void **)&array, SIZE_MAX / 2, 8), LS_NOMEM);
    assert_null(array);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(replace_writes_and_overwrites),
        IN_FOLDER(a_failed_replace_leaves_the_old_file),
        IN_FOLDER(a_killed_replace_leaves_a_whole_file),
        IN_FOLDER(read_refuses_what_is_no_whole_file),
        IN_FOLDER(read_at_tells_a_file_that_ends_early),
        IN_FOLDER(folders_are_made_with_their_parents),
        IN_FOLDER(a_new_folder_is_durable_and_the_cause_of_a_failure_is_told),
        IN_FOLDER(a_folder_is_removed_but_not_what_links_lead_to),
        IN_FOLDER(names_are_listed_in_order_of_bytes),
        IN_FOLDER(rename_and_sync_tell_their_failures),
        cmocka_unit_test(a_list_arms_what_is_for_this_rank_and_start),
        cmocka_unit_test(the_limit_of_open_files_is_raised_as_far_as_it_goes),
        cmocka_unit_test(memory_is_zeroed_and_its_size_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
