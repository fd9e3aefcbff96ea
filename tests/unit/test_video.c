/* Source files that are no plain video: what is refused, and in which words; where pictures face.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <libavutil/display.h>

#include "core/files.h"
#include "data/exif.h"
#include "data/orientation.h"
#include "data/video.h"
#include "tests/support/make_video.h"
#include "tests/support/packed.h"

static int open_fixture(void **state)
{
    struct packed *packed = calloc(1, sizeof *packed);
    assert_non_null(packed);
    *state = packed;
    assert_int_equal(packed_open(packed), LS_OK);
    return 0;
}

static int close_fixture(void **state)
{
    struct packed *packed = *state;
    assert_int_equal(packed_close(packed), LS_OK);
    free(packed);
    return 0;
}

static void assert_refused(const struct packed *packed, const char *name, const char *reason)
{
    char path[256];
    struct video *video = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", packed->videos, name);
    ls_status st = video_open(&video, path);
    if (st == LS_OK)
        fail_msg("%s was opened", name);
    if (strstr(status_message(), reason) == NULL)
        fail_msg("%s: '%s' does not say '%s'", name, status_message(), reason);
    assert_memory_equal(status_message(), path, strlen(path)); /* the file is named first */
    assert_null(video);
}

static void refuses_what_is_no_video(void **state)
{
    const struct packed *packed = *state;
    static const char playlist[] = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n"
                                   "#EXTINF:5.0,\n/etc/hostname\n#EXT-X-ENDLIST\n";
    static const char concat[] = "ffconcat version 1.0\nfile /etc/hostname\n";
    static const struct {
        const char *name, *content, *reason;
    } cases[] = {
        {"empty.mp4", "", "empty file"},
        {"text.mp4", "just some text\nin lines\n", "text, not a video"},
        {"picture.ans", "\x1b[0;1;31mred\x1b[0m text\r\nin lines\r\n", "text, not a video"},
        {"live.m3u8", playlist, "playlist"},
        {"disguised.mp4", playlist, "playlist"},
        {"list.ffconcat", concat, "playlist"},
        {"noise.bin", "\x01\x02\x03\x7f\x55\xaa", "no video or image that this FFmpeg knows"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(
            packed_write(packed, cases[i].name, cases[i].content, strlen(cases[i].content)), LS_OK);
        assert_refused(packed, cases[i].name, cases[i].reason);
    }
    assert_refused(packed, "missing.mp4", "No such file");
    assert_refused(packed, ".", "not a regular file");
    char path[256];
    (void)snprintf(path, sizeof path, "%s/pipe", packed->videos);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused(packed, "pipe", "not a regular file"); /* and does not wait for a writer */
}

static void a_cover_picture_is_no_video(void **state)
{
    const struct packed *packed = *state;
    char path[256];
    if (!make_video_can("png"))
        skip();
    (void)snprintf(path, sizeof path, "%s/cover.mp4", packed->videos);
    const struct make_video cover = {.path = path,
                                     .encoder = "png",
                                     .format = "rgb24",
                                     .width = 32,
                                     .height = 32,
                                     .frames = 1,
                                     .fps = 25,
                                     .cover = true};
    assert_int_equal(make_video(&cover), LS_OK);
    assert_refused(packed, "cover.mp4", "no video stream (only an attached picture)");
}

/* Names that FFmpeg or a shell take for something else than a file. */
static void any_file_name_is_a_file_name(void **state)
{
    const struct packed *packed = *state;
    static const char *const names[] = {"-dash.jpg",
                                        "%03d.jpg",
                                        "a:b.jpg",
                                        "http:x.jpg",
                                        "sp ace, co'mma\".jpg",
                                        "[x]{y}*?~$.jpg",
                                        "#100% #1.jpg",
                                        "pipe:0.jpg",
                                        "no_ending",
                                        "\xD0\xBA\xD0\xBB\xD0\xB8\xD0\xBF \xE8\xA7\x86.jpg",
                                        "new\nline.jpg",
                                        "bad\xFFutf8.jpg"};
    char from[256];
    char *content = NULL;
    size_t bytes = 0;
    if (!make_video_can("mjpeg"))
        skip();
    int kind = 0;
    while (strcmp(packed_kinds[kind].name, "still.jpg") != 0)
        kind++;
    assert_int_equal(packed_make(packed, kind, "plain.jpg"), LS_OK);
    (void)snprintf(from, sizeof from, "%s/plain.jpg", packed->videos);
    assert_int_equal(files_read(&content, &bytes, from, 1 << 20), LS_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256];
        struct video *video = NULL;
        assert_int_equal(packed_write(packed, names[i], content, bytes), LS_OK);
        (void)snprintf(path, sizeof path, "%s/%s", packed->videos, names[i]);
        if (video_open(&video, path) != LS_OK)
            fail_msg("%s", status_message());
        AVPacket *packet = av_packet_alloc();
        assert_non_null(packet);
        assert_int_equal(video_read(video, packet), LS_OK);
        assert_int_equal(packet->size, (int)bytes);
        av_packet_unref(packet);
        assert_int_equal(video_read(video, packet), LS_EOF);
        assert_false(video_damaged(video));
        av_packet_free(&packet);
        video_close(&video);
    }
    free(content);
}

/* Corner (x, y) of a picture, each 0 or 1, by the display matrix and by turn and flip. */
static void orientation_follows_the_display_matrix(void **state)
{
    (void)state;
    for (int variant = 0; variant < 16; variant++) {
        int32_t matrix[9];
        av_display_rotation_set(matrix, 90.0 * (variant % 4));
        av_display_matrix_flip(matrix, variant & 4, variant & 8);
        struct video_orientation got = orientation_of_matrix(matrix);
        assert_in_range(got.quarter_turns, 0, 3);
        for (int corner = 0; corner < 4; corner++) {
            double x = (corner & 1) - 0.5;
            double y = (corner >> 1) - 0.5;
            double by_matrix_x = (x * matrix[0] + y * matrix[3]) / 65536;
            double by_matrix_y = (x * matrix[1] + y * matrix[4]) / 65536;
            for (int turn = 0; turn < got.quarter_turns; turn++) {
                double turned = -y; /* clockwise, y downwards: right goes to bottom */
                y = x;
                x = turned;
            }
            if (got.flip_horizontal)
                x = -x;
            assert_true(x * by_matrix_x > 0.2);
            assert_true(y * by_matrix_y > 0.2);
        }
    }
    int32_t nearly[9] = {0};
    av_display_rotation_set(nearly, 93);
    assert_int_equal(orientation_of_matrix(nearly).quarter_turns, 1);
    int32_t nothing[9] = {0};
    assert_int_equal(orientation_of_matrix(nothing).quarter_turns, 0);
}

/* Where EXIF says that the first row and the first column of the stored picture are seen. */
static void orientation_follows_exif(void **state)
{
    (void)state;
    enum side { TOP, LEFT, BOTTOM, RIGHT };
    static const enum side row[] = {TOP, TOP, BOTTOM, BOTTOM, LEFT, RIGHT, RIGHT, LEFT};
    static const enum side column[] = {LEFT, RIGHT, RIGHT, LEFT, TOP, TOP, BOTTOM, BOTTOM};
    static const double across[] = {[TOP] = 0, [LEFT] = -1, [BOTTOM] = 0, [RIGHT] = 1};
    static const double down[] = {[TOP] = -1, [LEFT] = 0, [BOTTOM] = 1, [RIGHT] = 0};
    for (int number = 1; number <= 8; number++) {
        const struct video_orientation got = exif_orientation(number);
        double x[] = {0, -1}; /* middle of the stored top edge, of the left edge */
        double y[] = {-1, 0};
        for (int i = 0; i < 2; i++) {
            for (int turn = 0; turn < got.quarter_turns; turn++) {
                double turned = -y[i];
                y[i] = x[i];
                x[i] = turned;
            }
            if (got.flip_horizontal)
                x[i] = -x[i];
        }
        assert_true(x[0] == across[row[number - 1]] && y[0] == down[row[number - 1]]);
        assert_true(x[1] == across[column[number - 1]] && y[1] == down[column[number - 1]]);
    }
    assert_int_equal(exif_orientation(0).quarter_turns, 0);
    assert_int_equal(exif_orientation(9).quarter_turns, 0);
}

static void exif_is_read_from_png_and_tiff_and_from_any_bytes(void **state)
{
    (void)state;
    static const uint8_t tiff[] = {'I',  'I', '*', 0, 8, 0, 0, 0, 2, 0,       /* two entries at 8 */
                                   0,    1,   3,   0, 1, 0, 0, 0, 5, 0, 0, 0, /* 0x100 */
                                   0x12, 1,   3,   0, 1, 0, 0, 0, 6, 0, 0, 0};
    static const uint8_t big_endian[] = {'M',  'M', 0, '*', 0, 0, 0, 8, 0, 1, 1,
                                         0x12, 0,   3, 0,   0, 0, 1, 0, 8, 0, 0};
    uint8_t png[8 + 12 + 4 + 12 + sizeof tiff] = {0x89, 'P', 'N', 'G', '\r', '\n', 26,  '\n',
                                                  0,    0,   0,   4,   'g',  'A',  'M', 'A'};
    uint8_t *chunk = png + 8 + 12 + 4;
    chunk[3] = sizeof tiff;
    const char kind[] = {'e', 'X', 'I', 'f'};
    memcpy(chunk + 4, kind, sizeof kind);
    memcpy(chunk + 8, tiff, sizeof tiff);
    assert_int_equal(exif_number(tiff, sizeof tiff), 6);
    assert_int_equal(exif_number(big_endian, sizeof big_endian), 8);
    assert_int_equal(exif_number(png, sizeof png), 6);
    for (size_t size = 0; size < sizeof png; size++) {
        uint8_t *exact = malloc(size + 1); /* so that a sanitizer sees a read beyond */
        assert_non_null(exact);
        uint8_t *cut = exact + 1;
        memcpy(cut, png, size);
        assert_int_equal(exif_number(cut, size), 0);
        memcpy(cut, tiff, size < sizeof tiff ? size : sizeof tiff);
        const int number = exif_number(cut, size < sizeof tiff ? size : sizeof tiff);
        assert_true(number == 0 || number == 6);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(refuses_what_is_no_video, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(a_cover_picture_is_no_video, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(any_file_name_is_a_file_name, open_fixture, close_fixture),
        cmocka_unit_test(orientation_follows_the_display_matrix),
        cmocka_unit_test(orientation_follows_exif),
        cmocka_unit_test(exif_is_read_from_png_and_tiff_and_from_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
