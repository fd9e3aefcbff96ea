/* TensorBoard's event files: framing against known bytes, what a start writes, and what a reader
 * makes of a run that went back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "worker/tensorboard.h"

static char *run;
static char *folder;

static void assert_good(ls_status st)
{
    if (st != LS_OK)
        fail_msg("%s", status_text());
}

static int make_run(void **state)
{
    (void)state;
    char name[] = "/tmp/lockstep-test-events.XXXXXX";
    if (mkdtemp(name) == NULL || core_format(&run, "%s", name) != LS_OK)
        return -1;
    return core_format(&folder, "%s/tensorboard", run) == LS_OK ? 0 : -1;
}

static int remove_run(void **state)
{
    (void)state;
    ls_status st = files_remove(run);
    free(run);
    free(folder);
    return st == LS_OK ? 0 : -1;
}

static int forget_events(void **state)
{
    (void)state;
    return files_remove(folder) == LS_OK ? 0 : -1;
}

/* Values made by the tensorboard package (2.21, summary.writer.record_writer). */
static void records_are_framed_as_tensorboard_frames_them(void **unused)
{
    (void)unused;
    static const unsigned char wanted[] = {0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x37,
                                           0xf9, 0x71, 0x39, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36,
                                           0x37, 0x38, 0x39, 0xe5, 0xb0, 0x8a, 0xc7};
    unsigned char framed[64];
    size_t bytes = tensorboard_frame(framed, "123456789", 9);
    assert_int_equal(bytes, sizeof wanted);
    assert_memory_equal(framed, wanted, sizeof wanted);
    assert_int_equal(tensorboard_frame(framed, "", 0), TENSORBOARD_FRAME_BYTES);
}

/* A reader of one file: values of `tag` by step.  As TensorBoard does, a session start drops what
 * was read of its step and later ones. */
struct reader {
    const unsigned char *at, *end;
    const char *tag;
    float values[100];
    bool known[100];
    int records;
};

static uint64_t take_varint(const unsigned char **at, const unsigned char *end)
{
    uint64_t value = 0;
    for (int shift = 0; *at < end; shift += 7) {
        unsigned char byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    return value;
}

static void take_value(struct reader *reader, const unsigned char *at, const unsigned char *end,
                       uint64_t step)
{
    bool ours = false;
    while (at < end) {
        int key = *at++;
        if (key == (1 << 3 | 2)) {
            uint64_t length = take_varint(&at, end);
            ours = length == strlen(reader->tag) && memcmp(at, reader->tag, length) == 0;
            at += length;
        } else {
            assert_int_equal(key, 2 << 3 | 5);
            if (ours) {
                memcpy(&reader->values[step], at, 4);
                reader->known[step] = true;
            }
            at += 4;
        }
    }
    assert_ptr_equal(at, end);
}

static void take_event(struct reader *reader, const unsigned char *at, const unsigned char *end)
{
    uint64_t step = 0;
    while (at < end) {
        int key = *at++;
        if (key == (1 << 3 | 1)) {
            at += 8;
            continue;
        }
        uint64_t value = take_varint(&at, end); /* a number, or a length */
        if (key == (2 << 3 | 0)) {
            step = value;
            assert_true(step < 100);
            continue;
        }
        const unsigned char *inner = at + value;
        if (key == (7 << 3 | 2))
            memset(reader->known + step, 0, sizeof reader->known - step);
        while (key == (5 << 3 | 2) && at < inner) {
            assert_int_equal(*at++, 1 << 3 | 2);
            uint64_t length = take_varint(&at, inner);
            take_value(reader, at, at + length, step);
            at += length;
        }
        at = inner;
    }
    assert_ptr_equal(at, end);
}

static void read_file(struct reader *reader, const char *name)
{
    char *path = NULL;
    char *text = NULL;
    size_t bytes = 0;
    unsigned char framed[4096];
    assert_good(core_format(&path, "%s/%s", folder, name));
    assert_good(files_read(&text, &bytes, path, 1 << 20));
    const unsigned char *at = (const unsigned char *)text;
    while (bytes > 0) {
        size_t length = at[0] + 256U * at[1];
        assert_true(length + TENSORBOARD_FRAME_BYTES <= bytes);
        assert_int_equal(tensorboard_frame(framed, at + 12, length),
                         length + TENSORBOARD_FRAME_BYTES);
        assert_memory_equal(framed, at, length + TENSORBOARD_FRAME_BYTES);
        take_event(reader, at + 12, at + 12 + length);
        at += length + TENSORBOARD_FRAME_BYTES;
        bytes -= length + TENSORBOARD_FRAME_BYTES;
        reader->records++;
    }
    free(text);
    free(path);
}

/* All files of the folder, by name; returns how many. */
static size_t read_all(struct reader *reader, const char *tag)
{
    char **names = NULL;
    size_t count = 0;
    memset(reader, 0, sizeof *reader);
    reader->tag = tag;
    assert_good(files_list(&names, &count, folder));
    for (size_t i = 0; i < count; i++)
        read_file(reader, names[i]);
    files_list_free(&names, count);
    return count;
}

static void append_steps(int64_t run_epoch, int first, int last, double scale)
{
    struct tensorboard *events = NULL;
    char line[256];
    assert_good(tensorboard_open(&events, run, run_epoch, first - 1));
    for (int s = first; s <= last; s++) {
        (void)snprintf(line, sizeof line,
                       "{\"step\":%d,\"loss\":%.3f,\"loss_groups\":[1,%d.5],\"target_rank\":null,"
                       "\"skipped\":true,\"draw_hash\":\"ab\"}\n",
                       s, scale * s, s);
        tensorboard_append(events, line);
    }
    tensorboard_append(events, "{\"step\":");
    tensorboard_append(events, "");
    tensorboard_close(&events);
}

static void every_number_of_a_line_is_a_scalar(void **unused)
{
    (void)unused;
    struct reader reader;
    append_steps(1, 1, 3, 0.5);
    assert_int_equal(read_all(&reader, "loss"), 1);
    assert_int_equal(reader.records, 5); /* version, start, three steps */
    assert_false(reader.known[0]);
    assert_true(reader.known[3] && reader.values[3] == 1.5F);
    (void)read_all(&reader, "loss_groups/1");
    assert_true(reader.known[2] && reader.values[2] == 2.5F);
    (void)read_all(&reader, "skipped");
    assert_true(reader.known[1] && reader.values[1] == 1);
    (void)read_all(&reader, "target_rank");
    assert_false(reader.known[1]);
}

static void steps_that_come_again_are_those_of_the_newest_start(void **unused)
{
    (void)unused;
    struct reader reader;
    append_steps(1, 1, 12, 1);
    append_steps(2, 6, 8, 2);
    append_steps(3, 9, 10, 4);
    assert_int_equal(read_all(&reader, "loss"), 3);
    for (int s = 1; s <= 12; s++) {
        assert_int_equal(reader.known[s], s <= 10);
        if (s <= 10)
            assert_true(reader.values[s] == (float)(s < 6 ? s : s < 9 ? 2 * s : 4 * s));
    }
}

static void a_start_sorts_last_even_when_clocks_differ(void **unused)
{
    (void)unused;
    struct reader reader;
    char *path = NULL;
    append_steps(1, 1, 4, 1);
    char **names = NULL;
    size_t count = 0;
    assert_good(files_list(&names, &count, folder));
    assert_good(core_format(&path, "%s/events.out.tfevents.4000000000.ahead.000001", folder));
    char *first = NULL;
    assert_good(core_format(&first, "%s/%s", folder, names[0]));
    assert_int_equal(rename(first, path), 0);
    append_steps(2, 3, 4, 5);
    assert_int_equal(read_all(&reader, "loss"), 2);
    assert_true(reader.values[2] == 2 && reader.values[3] == 15);
    files_list_free(&names, count);
    free(first);
    free(path);
}

static void earlier_metrics_come_first_where_there_was_no_event_file(void **unused)
{
    (void)unused;
    struct reader reader;
    char *path = NULL;
    static const char text[] = "{\"step\":1,\"loss\":7}\n{\"step\":2,\"loss\":8}\n";
    assert_good(core_format(&path, "%s/metrics.jsonl", run));
    assert_good(files_replace(path, text, sizeof text - 1));
    append_steps(4, 3, 4, 1);
    (void)read_all(&reader, "loss");
    assert_true(reader.known[1] && reader.values[1] == 7 && reader.values[2] == 8);
    assert_true(reader.known[4] && reader.values[4] == 4);
    assert_good(files_remove(path));
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_framed_as_tensorboard_frames_them),
        cmocka_unit_test_teardown(every_number_of_a_line_is_a_scalar, forget_events),
        cmocka_unit_test_teardown(steps_that_come_again_are_those_of_the_newest_start,
                                  forget_events),
        cmocka_unit_test_teardown(a_start_sorts_last_even_when_clocks_differ, forget_events),
        cmocka_unit_test_teardown(earlier_metrics_come_first_where_there_was_no_event_file,
                                  forget_events),
    };
    return cmocka_run_group_tests(tests, make_run, remove_run);
}
