/* Lists of videos: every way to write a line, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/files.h"
#include "data/list.h"

struct fixture {
    char folder[64];
    char list[96];
};

static int open_fixture(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    (void)snprintf(fixture->folder, sizeof fixture->folder, "%s/lockstep-list.XXXXXX", "/tmp");
    assert_non_null(mkdtemp(fixture->folder));
    (void)snprintf(fixture->list, sizeof fixture->list, "%s/list.csv", fixture->folder);
    *state = fixture;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(files_remove(fixture->folder), LS_OK);
    free(fixture);
    return 0;
}

static void touch(const struct fixture *fixture, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", fixture->folder, name);
    assert_int_equal(files_replace(path, "x", 1), LS_OK);
}

static void reads_lines_as_the_public_code_and_more(void **state)
{
    const struct fixture *fixture = *state;
    static const struct {
        const char *line, *path;
        int64_t label;
        double weight, rate;
    } cases[] = {
        {"/a/b.mp4 3", "/a/b.mp4", 3, 1, 0},
        {"/a/b.mp4 -1", "/a/b.mp4", -1, 1, 0},
        {"/a/b.mp4", "/a/b.mp4", -1, 1, 0},
        {"/a/my clip  two.mp4 17", "/a/my clip  two.mp4", 17, 1, 0},
        {"/a/b, c & 100% #1.mp4 0", "/a/b, c & 100% #1.mp4", 0, 1, 0},
        {"/a/b.mp4 4 0.25", "/a/b.mp4", 4, 0.25, 0},
        {"/a/b.mp4 4 0.25 15.0", "/a/b.mp4", 4, 0.25, 15},
        {"/a/b c 1.mp4 -1 1.0 29.97", "/a/b c 1.mp4", -1, 1, 29.97},
        {"/a/b.mp4 0.25 15.0", "/a/b.mp4 0.25 15.0", -1, 1, 0},
        {"/a/b.mp4 1.0 2 0.25", "/a/b.mp4 1.0", 2, 0.25, 0},
        {"/a/b.mp4 4 0.25 15", "/a/b.mp4 4 0.25", 15, 1, 0},
        {"\"/a/b c.mp4\" 7 2.0 12.5", "/a/b c.mp4", 7, 2, 12.5},
        {"/a/b.mp4 2.5", "/a/b.mp4 2.5", -1, 1, 0},
        {"\"/a/quo\"\"te d.mp4\" 9", "/a/quo\"te d.mp4", 9, 1, 0},
        {"\"/a/b 7\"", "/a/b 7", -1, 1, 0},
        {"\"/a/b.mp4\" 1 2.0", "/a/b.mp4", 1, 2, 0},
        {"/a/b c.jpg::12", "/a/b c.jpg", 12, 1, 0},
        {"/a/x::y::5", "/a/x::y", 5, 1, 0},
        {"/a/b.mp4 99999999999999999999", "/a/b.mp4 99999999999999999999", -1, 1, 0},
        {"/a/b.mp4 3\r", "/a/b.mp4", 3, 1, 0},
        {"/a/\xD0\xB6 \xE8\xA7\x86.mp4 3", "/a/\xD0\xB6 \xE8\xA7\x86.mp4", 3, 1, 0},
    };
    enum { COUNT = sizeof cases / sizeof *cases };
    char text[4096] = "\xEF\xBB\xBF";
    size_t used = strlen(text);
    for (int i = 0; i < COUNT; i++) {
        int added = snprintf(text + used, sizeof text - used, "%s%s", cases[i].line,
                             i % 3 == 0 ? "\n\n  \n" : "\n");
        used += (size_t)added;
        assert_true(used < sizeof text);
    }
    text[strlen(text) - 1] = '\0'; /* the last line may lack its end */
    assert_int_equal(files_replace(fixture->list, text, strlen(text)), LS_OK);
    struct list list = {0};
    assert_int_equal(list_add_file(&list, fixture->list), LS_OK);
    assert_int_equal(list.count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_string_equal(list.entries[i].path, cases[i].path);
        assert_int_equal(list.entries[i].label, cases[i].label);
        assert_true(list.entries[i].weight == cases[i].weight);
        assert_true(list.entries[i].rate == cases[i].rate);
    }
    list_close(&list);
}

static void what_exists_decides_where_a_path_ends(void **state)
{
    const struct fixture *fixture = *state;
    touch(fixture, "Toy Story 2");
    touch(fixture, "Part");
    touch(fixture, "Part 4");
    static const char text[] = "Toy Story 2\nToy Story 2 6\nPart 4\nnot there 8\n";
    assert_int_equal(files_replace(fixture->list, text, strlen(text)), LS_OK);
    struct list list = {0};
    assert_int_equal(list_add_file(&list, fixture->list), LS_OK);
    assert_int_equal(list.count, 4);
    char path[256];
    (void)snprintf(path, sizeof path, "%s/Toy Story 2", fixture->folder);
    assert_string_equal(list.entries[0].path, path);
    assert_int_equal(list.entries[0].label, -1);
    assert_string_equal(list.entries[1].path, path);
    assert_int_equal(list.entries[1].label, 6);
    (void)snprintf(path, sizeof path, "%s/Part", fixture->folder);
    assert_string_equal(list.entries[2].path, path); /* both exist: the label wins */
    assert_int_equal(list.entries[2].label, 4);
    assert_string_equal(list.entries[3].path, "not there");
    assert_int_equal(list.entries[3].label, 8);
    list_close(&list);
}

static void refuses_lines_that_mean_nothing_and_names_them(void **state)
{
    const struct fixture *fixture = *state;
    static const struct {
        const char *line, *message;
        size_t bytes;
    } cases[] = {
        {"\"/a/b.mp4 3", "a quote is not closed", 11},
        {"\"/a/b.mp4\" three", "after a quoted path comes a label", 16},
        {"/a/b.mp4 3 0.0", "a weight is a positive number", 14},
        {"/a/b.mp4 3 -1.5", "a weight is a positive number", 15},
        {"/a/b.mp4 3 1.0e999", "a weight is a positive number", 18},
        {"/a/b.mp4 3 1.0 0.0", "a rate is a positive number", 18},
        {"/a/b.mp4 3 1.0 -9.5", "a rate is a positive number", 19},
        {"\"/a/b.mp4\" 3 1.0 1.e999", "a rate is a positive number", 23},
        {" 3", "no path", 2},
        {"/a/b\0c 3", "a 0 byte", 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64] = "/first.mp4 1\n";
        size_t head = strlen(text);
        memcpy(text + head, cases[i].line, cases[i].bytes);
        struct list list = {0};
        assert_int_equal(files_replace(fixture->list, text, head + cases[i].bytes), LS_OK);
        assert_int_equal(list_add_file(&list, fixture->list), LS_DATA);
        assert_non_null(strstr(status_message(), cases[i].message));
        assert_non_null(strstr(status_message(), "list.csv:2:"));
        list_close(&list);
    }
}

static void a_folder_gives_all_its_files_in_order(void **state)
{
    const struct fixture *fixture = *state;
    char path[256];
    static const char *const names[] = {"-dash", "a", "b/deep/x", "b/y", "z"};
    (void)snprintf(path, sizeof path, "%s/b/deep", fixture->folder);
    assert_int_equal(files_make_folder(path), LS_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        touch(fixture, names[i]);
    touch(fixture, ".hidden");
    (void)snprintf(path, sizeof path, "%s/loop", fixture->folder);
    assert_int_equal(symlink(".", path), 0);
    struct list list = {0};
    assert_int_equal(list_add_input(&list, fixture->folder), LS_OK);
    assert_int_equal(list.count, sizeof names / sizeof *names);
    for (size_t i = 0; i < list.count; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", fixture->folder, names[i]);
        assert_string_equal(list.entries[i].path, path);
    }
    list_close(&list);
    (void)snprintf(path, sizeof path, "%s/nothing", fixture->folder);
    assert_int_equal(list_add_input(&list, path), LS_IO);
    list_close(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_lines_as_the_public_code_and_more, open_fixture,
                                        close_fixture),
        cmocka_unit_test_setup_teardown(what_exists_decides_where_a_path_ends, open_fixture,
                                        close_fixture),
        cmocka_unit_test_setup_teardown(refuses_lines_that_mean_nothing_and_names_them,
                                        open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(a_folder_gives_all_its_files_in_order, open_fixture,
                                        close_fixture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
