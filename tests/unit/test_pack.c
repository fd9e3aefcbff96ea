/* Packing as a whole: the result depends on the list alone; nothing is lost or done twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/files.h"
#include "data/index.h"
#include "data/shard.h"
#include "tests/support/make_video.h"
#include "tests/support/packed.h"

enum { SMALL_SHARD = 60000 };

static int open_fixture(void **state)
{
    struct packed *packed = calloc(1, sizeof *packed);
    assert_non_null(packed);
    *state = packed;
    assert_int_equal(packed_open(packed), LS_OK);
    assert_int_equal(packed_make_all(packed), LS_OK);
    assert_int_equal(packed_write(packed, "broken, \"quoted\".mp4", "no video", 8), LS_OK);
    assert_int_equal(packed_write(packed, "empty.mp4", "", 0), LS_OK);
    return 0;
}

static int close_fixture(void **state)
{
    struct packed *packed = *state;
    assert_int_equal(packed_close(packed), LS_OK);
    free(packed);
    return 0;
}

static char *read_text(const char *folder, const char *name, size_t *bytes)
{
    char path[256];
    char *text = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    if (files_read(&text, bytes, path, (size_t)1 << 30) != LS_OK)
        fail_msg("%s", status_message());
    return text;
}

/* All files of two folders are the same. */
static void assert_same_folders(const char *a, const char *b)
{
    char **names = NULL;
    char **others = NULL;
    size_t count = 0;
    size_t other_count = 0;
    assert_int_equal(files_list(&names, &count, a), LS_OK);
    assert_int_equal(files_list(&others, &other_count, b), LS_OK);
    assert_int_equal(count, other_count);
    for (size_t i = 0; i < count; i++) {
        size_t bytes;
        size_t other_bytes;
        assert_string_equal(names[i], others[i]);
        char *text = read_text(a, names[i], &bytes);
        char *other = read_text(b, names[i], &other_bytes);
        if (bytes != other_bytes || memcmp(text, other, bytes) != 0)
            fail_msg("%s differs", names[i]);
        free(text);
        free(other);
    }
    files_list_free(&names, count);
    files_list_free(&others, other_count);
}

static struct pack_summary pack_to(const struct packed *packed, const char *dataset, int jobs)
{
    struct packed other = *packed;
    struct pack_summary summary;
    (void)snprintf(other.dataset, sizeof other.dataset, "%.60s/%.30s", packed->folder, dataset);
    if (packed_pack(&summary, &other, jobs, SMALL_SHARD) != LS_OK)
        fail_msg("%s", status_message());
    return summary;
}

static void path_of(char *out, size_t bytes, const struct packed *packed, const char *name)
{
    (void)snprintf(out, bytes, "%s/%s", packed->folder, name);
}

static void the_same_files_give_the_same_bytes_at_any_number_of_jobs(void **state)
{
    const struct packed *packed = *state;
    char one[128];
    char three[128];
    struct pack_summary summary = pack_to(packed, "one", 1);
    assert_true(summary.shards > 2);
    assert_int_equal(summary.skipped, 2);
    assert_int_equal(summary.new_videos, summary.videos);
    struct pack_summary again = pack_to(packed, "three", 3);
    assert_int_equal(again.videos, summary.videos);
    path_of(one, sizeof one, packed, "one");
    path_of(three, sizeof three, packed, "three");
    assert_same_folders(one, three);
}

static void packing_again_does_nothing_twice(void **state)
{
    const struct packed *packed = *state;
    char once[128];
    char twice[128];
    struct pack_summary first = pack_to(packed, "once", 2);
    (void)pack_to(packed, "twice", 2);
    struct pack_summary second = pack_to(packed, "twice", 2);
    assert_int_equal(second.videos, first.videos);
    assert_int_equal(second.skipped, first.skipped);
    assert_int_equal(second.new_videos, 0);
    assert_int_equal(second.new_skipped, 0);
    path_of(once, sizeof once, packed, "once");
    path_of(twice, sizeof twice, packed, "twice");
    assert_same_folders(once, twice);
}

static void a_killed_pack_goes_on_where_it_stopped(void **state)
{
    const struct packed *packed = *state;
    char whole[128];
    char killed[128];
    (void)pack_to(packed, "whole", 2);
    path_of(killed, sizeof killed, packed, "killed");
    for (int i = 0; i < 12; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            (void)pack_to(packed, "killed", 2);
            _exit(0);
        }
        clock_sleep_s(0.004 * (i + 1));
        (void)kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
    }
    (void)pack_to(packed, "killed", 2);
    path_of(whole, sizeof whole, packed, "whole");
    assert_same_folders(whole, killed);
}

static void packs_at_the_same_time_share_the_work(void **state)
{
    const struct packed *packed = *state;
    char together[128];
    char alone[128];
    pid_t children[3];
    (void)pack_to(packed, "alone", 2);
    for (int i = 0; i < 3; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            (void)pack_to(packed, "together", 1);
            _exit(0);
        }
    }
    for (int i = 0; i < 3; i++) {
        int how = -1;
        assert_int_equal(waitpid(children[i], &how, 0), children[i]);
        assert_int_equal(how, 0);
    }
    path_of(together, sizeof together, packed, "together");
    path_of(alone, sizeof alone, packed, "alone");
    assert_same_folders(alone, together);
}

/* A lost shard's files are packed again under its number; the index alone can be made again. */
/* As a job array does, in any order; none of them touches another one's shards. */
static void parts_make_what_one_pack_makes(void **state)
{
    const struct packed *packed = *state;
    static const int order[] = {2, 3, 1};
    char parted[160];
    struct pack_summary summary = {0};
    const char *inputs[] = {packed->videos};
    (void)snprintf(parted, sizeof parted, "%s/parted", packed->folder);
    for (int i = 0; i < 3; i++) {
        const struct pack_options options = {.inputs = inputs,
                                             .input_count = 1,
                                             .output = parted,
                                             .jobs = 1,
                                             .part = order[i],
                                             .parts = 3,
                                             .shard_bytes = SMALL_SHARD};
        assert_int_equal(pack_run(&summary, &options), LS_OK);
        assert_true(summary.shards > 0);
        assert_int_equal(summary.left > 0, i < 2);
    }
    assert_true(summary.shards >= 3);
    assert_int_equal(files_remove(packed->dataset), LS_OK);
    assert_int_equal(packed_pack(&summary, packed, 1, SMALL_SHARD), LS_OK);
    assert_same_folders(packed->dataset, parted);
    assert_int_equal(files_remove(parted), LS_OK);
}

/* A name that was hit would have its file packed a second time. */
static void a_damaged_shard_is_not_gone_on_with(void **state)
{
    const struct packed *packed = *state;
    struct pack_summary summary = {0};
    struct shard shard = {0};
    char path[160];
    char index[160];
    size_t bytes = 0;
    (void)snprintf(path, sizeof path, "%s/shard-00000.h5", packed->dataset);
    (void)snprintf(index, sizeof index, "%s/%s", packed->dataset, INDEX_NAME);
    assert_int_equal(packed_pack(&summary, packed, 1, SMALL_SHARD), LS_OK);
    assert_int_equal(shard_open(&shard, path, 1), LS_OK);
    char *whole = read_text(packed->dataset, "shard-00000.h5", &bytes);
    const uint64_t name = shard.record.blob_at + shard.videos[0].name_at + 3;
    const uint64_t packet = shard.record.bytes_at + 3;
    shard_close(&shard);
    whole[name] ^= 1;
    assert_int_equal(files_replace(path, whole, bytes), LS_OK);
    assert_int_equal(packed_pack(&summary, packed, 1, SMALL_SHARD), LS_DATA);
    assert_memory_equal(status_message(), path, strlen(path));
    whole[name] ^= 1;
    /* Without an index all of the shard counts. */
    whole[packet] ^= 1;
    assert_int_equal(files_replace(path, whole, bytes), LS_OK);
    assert_int_equal(files_remove(index), LS_OK);
    assert_int_equal(packed_pack(&summary, packed, 1, SMALL_SHARD), LS_DATA);
    assert_memory_equal(status_message(), path, strlen(path));
    whole[packet] ^= 1;
    assert_int_equal(files_replace(path, whole, bytes), LS_OK);
    free(whole);
    assert_int_equal(packed_pack(&summary, packed, 1, SMALL_SHARD), LS_OK);
}

static void what_is_lost_is_made_again(void **state)
{
    const struct packed *packed = *state;
    char before[128];
    char damaged[128];
    char path[160];
    struct pack_summary summary;
    (void)pack_to(packed, "before", 2);
    (void)pack_to(packed, "damaged", 2);
    path_of(before, sizeof before, packed, "before");
    path_of(damaged, sizeof damaged, packed, "damaged");
    (void)snprintf(path, sizeof path, "%s/shard-00001.h5", damaged);
    assert_int_equal(unlink(path), 0);
    summary = pack_to(packed, "damaged", 2);
    assert_true(summary.new_videos > 0 && summary.new_videos < summary.videos);
    assert_same_folders(before, damaged);
    (void)snprintf(path, sizeof path, "%s/%s", damaged, INDEX_NAME);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(pack_run(&summary, &(struct pack_options){.output = damaged}), LS_OK);
    assert_same_folders(before, damaged);
}

static void a_skipped_file_is_tried_again_when_it_has_changed(void **state)
{
    const struct packed *packed = *state;
    char list[128];
    char text[1024];
    char from[256];
    char to[256];
    char *content = NULL;
    size_t bytes = 0;
    struct pack_summary summary;
    char dataset[128];
    if (!make_video_can("mjpeg"))
        skip();
    path_of(list, sizeof list, packed, "list.csv");
    path_of(dataset, sizeof dataset, packed, "retried");
    (void)snprintf(from, sizeof from, "%s/still.jpg", packed->videos);
    (void)snprintf(to, sizeof to, "%s/late.jpg", packed->folder);
    (void)snprintf(text, sizeof text, "%s 1\n%s 2\n%s 3\n", from, to, from);
    assert_int_equal(files_replace(list, text, strlen(text)), LS_OK);
    const char *inputs[] = {list};
    const struct pack_options options = {
        .inputs = inputs, .input_count = 1, .output = dataset, .jobs = 1};
    assert_int_equal(pack_run(&summary, &options), LS_OK);
    assert_int_equal(summary.videos, 1);
    assert_int_equal(summary.skipped, 1);
    assert_int_equal(summary.duplicates, 1);
    assert_int_equal(pack_run(&summary, &options), LS_OK);
    assert_int_equal(summary.new_skipped, 0); /* it is still missing: not tried again */
    assert_int_equal(files_read(&content, &bytes, from, 1 << 20), LS_OK);
    assert_int_equal(files_replace(to, content, bytes), LS_OK);
    assert_int_equal(pack_run(&summary, &options), LS_OK);
    assert_int_equal(summary.videos, 2);
    assert_int_equal(summary.new_videos, 1);
    assert_int_equal(summary.skipped, 0);
    struct dataset *opened = NULL;
    assert_int_equal(dataset_open(&opened, dataset), LS_OK);
    assert_int_equal(dataset_video_count(opened), 2);
    assert_string_equal(dataset_video(opened, 1).name, to);
    assert_int_equal(dataset_video(opened, 1).label, 2);
    dataset_close(&opened);
    free(content);
}

/* Count the fields of a CSV line by the rules of RFC 4180. */
static int count_fields(const char *line)
{
    int fields = 1;
    int quoted = 0;
    for (; *line != '\0' && (quoted || *line != '\r'); line++) {
        quoted ^= *line == '"';
        fields += *line == ',' && !quoted;
    }
    return fields;
}

static void the_report_has_a_line_for_every_file(void **state)
{
    const struct packed *packed = *state;
    char folder[128];
    size_t bytes;
    int lines = 0;
    struct pack_summary summary = pack_to(packed, "reported", 2);
    path_of(folder, sizeof folder, packed, "reported");
    char *text = read_text(folder, PACK_REPORT_NAME, &bytes);
    assert_memory_equal(text, "file,status,reason,frames,", 26);
    int columns = count_fields(text);
    for (char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        assert_int_equal(count_fields(line), columns);
        lines++;
    }
    assert_int_equal(lines - 1, summary.videos + summary.skipped);
    assert_non_null(strstr(text, "/broken, \"\"quoted\"\".mp4\",skipped,"));
    assert_non_null(strstr(text, "/empty.mp4,skipped,empty file,0,"));
    if (make_video_can("png"))
        assert_non_null(strstr(text, "/still.png,ok,,1,96,64,"));
    free(text);
}

static void nothing_packed_is_an_error_that_points_to_the_report(void **state)
{
    const struct packed *packed = *state;
    char broken[256];
    char dataset[128];
    struct pack_summary summary;
    (void)snprintf(broken, sizeof broken, "%s/empty.mp4", packed->videos);
    path_of(dataset, sizeof dataset, packed, "nothing");
    const char *inputs[] = {broken};
    const struct pack_options options = {
        .inputs = inputs, .input_count = 1, .output = dataset, .jobs = 1};
    assert_int_equal(pack_run(&summary, &options), LS_DATA);
    assert_non_null(strstr(status_message(), PACK_REPORT_NAME));
    struct dataset *opened = NULL;
    assert_int_equal(dataset_open(&opened, dataset), LS_DATA);
    assert_non_null(strstr(status_message(), "holds no video"));
    const struct pack_options none = {.output = packed->videos};
    assert_int_equal(pack_run(&summary, &none), LS_USAGE);
    /* A place that nobody can write to: below a file. */
    const struct pack_options below = {.inputs = inputs, .input_count = 1, .output = broken};
    assert_int_equal(pack_run(&summary, &below), LS_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_files_give_the_same_bytes_at_any_number_of_jobs),
        cmocka_unit_test(packing_again_does_nothing_twice),
        cmocka_unit_test(a_killed_pack_goes_on_where_it_stopped),
        cmocka_unit_test(packs_at_the_same_time_share_the_work),
        cmocka_unit_test(parts_make_what_one_pack_makes),
        cmocka_unit_test(a_damaged_shard_is_not_gone_on_with),
        cmocka_unit_test(what_is_lost_is_made_again),
        cmocka_unit_test(a_skipped_file_is_tried_again_when_it_has_changed),
        cmocka_unit_test(the_report_has_a_line_for_every_file),
        cmocka_unit_test(nothing_packed_is_an_error_that_points_to_the_report),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
