/* Files that break loaders, made here, each with what becomes of it (docs/videos.md): which frames
 * it shows, their times, what it is marked as, or why it is skipped.  The frames themselves are
 * held against a plain decoding loop, in order and each by itself, and their colours against
 * swscale. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libavutil/frame.h>

#include "core/files.h"
#include "data/colour.h"
#include "data/describe.h"
#include "data/frame_times.h"
#include "data/framemd5.h"
#include "data/transform.h"
#include "tests/support/images.h"
#include "tests/support/packed.h"
#include "tests/support/special.h"

enum { FRAMES = SPECIAL_FRAMES, FPS = SPECIAL_FPS, FRAMES_MAX = 2 * FRAMES, PATH_BYTES = 160 };

static struct packed packed;
static struct dataset *dataset;

static const char *at(const char *name)
{
    static char path[160];
    (void)snprintf(path, sizeof path, "%s/%s", packed.videos, name);
    return path;
}

static int open_fixture(void **state)
{
    struct pack_summary summary;
    (void)state;
    assert_int_equal(packed_open(&packed), LS_OK);
    special_make(&packed);
    assert_int_equal(packed_pack(&summary, &packed, 2, 0), LS_OK);
    assert_int_equal(dataset_open(&dataset, packed.dataset), LS_OK);
    return 0;
}

static int close_fixture(void **state)
{
    (void)state;
    dataset_close(&dataset);
    assert_int_equal(packed_close(&packed), LS_OK);
    return 0;
}

static int64_t find(const char *name)
{
    int64_t video = -1;
    if (dataset_find(&video, dataset, name) != LS_OK)
        fail_msg("%s was not packed", name);
    return video;
}

/* What is marked; frames, or 0 for as many as a plain decoder gives; the size shown. */
static const struct {
    const char *name;
    uint32_t flags;
    int frames, width, height;
} shown[] = {
    {"interlaced.ts", VIDEO_INTERLACED, FRAMES, 96, 64},
    {"interlaced.mkv", VIDEO_INTERLACED, FRAMES, 96, 64},
    {"anamorphic.mp4", 0, FRAMES, 96, 64}, /* the stored pixels, as upstream has them */
    {"fast.mp4", 0, FRAMES, 96, 64},
    {"b_frames.avi", VIDEO_TIME_ESTIMATED, FRAMES, 96, 64},
    {"no_key.mkv", 0, 0, 96, 64},
    {"open_gop_start.mkv", 0, 0, 96, 64},
    {"recovery_start.mkv", 0, 0, 96, 64},
    {"same_time.mkv", VIDEO_TIME_ESTIMATED, FRAMES, 96, 64},
    {"live.webm", 0, FRAMES, 96, 64},
    {"two_streams.mkv", 0, FRAMES, 96, 64},
    {"cover_first.mp4", 0, FRAMES, 96, 64},
    {"negative.nut", 0, FRAMES, 96, 64},
    {"wrap.ts", 0, FRAMES, 96, 64},
    {"again.ts", VIDEO_TIME_ESTIMATED, 2 * FRAMES, 96, 64},
    {"gap.ts", VIDEO_VARIABLE_RATE, 2 * FRAMES, 96, 64},
    {"other_size.ts", VIDEO_TIME_ESTIMATED | VIDEO_SIZE_CHANGES, 0, 96, 64},
    {"high_422.mkv", 0, FRAMES, 96, 64},
    {"high_444.mkv", 0, FRAMES, 96, 64},
    {"gray.mkv", 0, FRAMES, 96, 64},
    {"gray_16.mkv", 0, FRAMES, 96, 64},
    {"alpha.mkv", VIDEO_ALPHA, FRAMES, 96, 64},
    {"alpha.mov", VIDEO_ALPHA, FRAMES, 96, 64},
    {"odd.webm", 0, FRAMES, 37, 29},
    {"one_pixel.mkv", 0, FRAMES, 1, 1},
    {"full_range.mp4", 0, FRAMES, 96, 64},
    {"bt709.mp4", 0, FRAMES, 96, 64},
    {"hdr.mkv", VIDEO_HDR, FRAMES, 96, 64},
    {"damaged.avi", VIDEO_TIME_ESTIMATED, 0, 96, 64},
    {"cut.avi", VIDEO_TIME_ESTIMATED, 0, 96, 64},
    {"count_of_5.avi", VIDEO_TIME_ESTIMATED, FRAMES, 96, 64},
    {"one_frame.mp4", VIDEO_STILL, 1, 96, 64},
};
enum { SHOWN = sizeof shown / sizeof *shown };

static void are_marked_and_have_the_frames_that_they_show(void **state)
{
    struct video_detail detail;
    (void)state;
    for (int i = 0; i < SHOWN; i++) {
        const int64_t v = find(shown[i].name);
        const struct dataset_video video = dataset_video(dataset, v);
        assert_int_equal(dataset_detail(&detail, dataset, v), LS_OK);
        if (detail.row.flags != shown[i].flags)
            fail_msg("%s: flags %u, not %u", shown[i].name, detail.row.flags, shown[i].flags);
        if (shown[i].frames > 0 && video.frames != shown[i].frames)
            fail_msg("%s: %lld frames, not %d", shown[i].name, (long long)video.frames,
                     shown[i].frames);
        assert_int_equal(video.width, shown[i].width);
        assert_int_equal(video.height, shown[i].height);
    }
    assert_int_equal(dataset_video_count(dataset), SHOWN);
}

struct checksums {
    char md5[FRAMES_MAX][PLANES_MD5_TEXT_BYTES];
    int count;
};

static ls_status take_line(void *context, const struct framemd5_line *line)
{
    struct checksums *sums = context;
    assert_true(sums->count < FRAMES_MAX);
    (void)snprintf(sums->md5[sums->count++], sizeof sums->md5[0], "%s", line->md5);
    return LS_OK;
}

static ls_status take_frame(void *context, int64_t number, const AVFrame *frame)
{
    struct checksums *sums = context;
    assert_int_equal(number, sums->count);
    assert_true(sums->count < FRAMES_MAX);
    return planes_md5(sums->md5[sums->count++], frame);
}

static void frames_are_those_of_a_plain_decoder_in_order_and_alone(void **state)
{
    (void)state;
    for (int i = 0; i < SHOWN; i++) {
        static struct checksums file, sequential, random;
        const int64_t v = find(shown[i].name);
        file.count = sequential.count = random.count = 0;
        assert_int_equal(images_decode(at(shown[i].name), FRAMES_MAX, take_frame, &file), LS_OK);
        assert_int_equal(framemd5_sequential(dataset, v, take_line, &sequential), LS_OK);
        assert_int_equal(framemd5_random(dataset, v, take_line, &random), LS_OK);
        if (file.count < 1 || sequential.count != file.count || random.count != file.count)
            fail_msg("%s: %d, %d frames, not %d", shown[i].name, sequential.count, random.count,
                     file.count);
        for (int n = 0; n < file.count; n++)
            if (strcmp(sequential.md5[n], file.md5[n]) != 0 ||
                strcmp(random.md5[n], file.md5[n]) != 0)
                fail_msg("%s: frame %d differs", shown[i].name, n);
    }
}

struct colours {
    struct transform *transform;
    const char *name;
    int worst;
};

static ls_status compare_colours(void *context, int position, const AVFrame *frame)
{
    ls_status st = LS_OK;
    struct colours *colours = context;
    const struct picture picture = colour_picture(frame);
    const int bytes = picture.width * picture.height * 3;
    const struct transform_view view = {
        .shown_width = picture.width,
        .shown_height = picture.height,
        .box = {.width = picture.width, .height = picture.height},
        .width = picture.width,
        .height = picture.height,
    };
    uint8_t *wanted = NULL;
    uint8_t *got = NULL;
    (void)position;
    LS_TRY(images_rgb(&wanted, frame));
    LS_TRY(core_alloc(&got, bytes));
    LS_TRY(transform_frame(colours->transform, got, frame, &view));
    for (int b = 0; b < bytes; b++)
        if (abs(got[b] - wanted[b]) > colours->worst)
            colours->worst = abs(got[b] - wanted[b]);
done:
    free(got);
    free(wanted);
    return st;
}

static void colours_are_within_one_level_of_swscale(void **state)
{
    struct clip_reader *reader = NULL;
    struct colours colours = {0};
    (void)state;
    assert_int_equal(clip_reader_open(&reader), LS_OK);
    assert_int_equal(transform_open(&colours.transform), LS_OK);
    for (int i = 0; i < SHOWN; i++) {
        const int64_t v = find(shown[i].name);
        const int64_t numbers[2] = {0, dataset_video(dataset, v).frames - 1};
        colours.worst = 0;
        assert_int_equal(
            clip_reader_read(reader, dataset, v, numbers, 2, compare_colours, &colours), LS_OK);
        if (colours.worst > 1)
            fail_msg("%s: %d grey levels off", shown[i].name, colours.worst);
    }
    transform_close(&colours.transform);
    clip_reader_close(&reader);
}

/* Seconds from the first frame to the last, and the frame shown nearest to its half. */
static void times_are_those_of_the_stream_where_it_has_any(void **state)
{
    static const struct {
        const char *name;
        double span;
        int64_t middle;
    } cases[] = {
        {"negative.nut", 23. / FPS, 11},
        {"wrap.ts", 5 * 23. / FPS, 11},     /* across 2^33 ticks of 90 kHz */
        {"again.ts", 47. / FPS, 23},        /* the second part's times go back: estimated */
        {"gap.ts", (1000. + 22) / FPS, 23}, /* as FFmpeg has it: the second part a frame early */
        {"fast.mp4", 0.023, 11},
        {"same_time.mkv", 23. / FPS, 11},
        {"b_frames.avi", 23. / FPS, 11},
    };
    struct frame_times *times = NULL;
    (void)state;
    assert_int_equal(frame_times_open(&times), LS_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double span = 0;
        int64_t middle = -1;
        const int64_t v = find(cases[i].name);
        assert_int_equal(frame_times_span(&span, times, dataset, v), LS_OK);
        if (fabs(span - cases[i].span) > 1e-3)
            fail_msg("%s: %g s, not %g", cases[i].name, span, cases[i].span);
        const double half = span / 2 - 1e-4;
        assert_int_equal(frame_times_nearest(&middle, times, dataset, v, &half, 1), LS_OK);
        if (middle != cases[i].middle)
            fail_msg("%s: frame %lld in the middle", cases[i].name, (long long)middle);
    }
    frame_times_close(&times);
}

static void what_shows_nothing_is_skipped_and_the_report_says_why(void **state)
{
    static const struct {
        const char *name, *reason;
    } cases[] = {
        {"no_packets.mkv", "cannot open"},  {"only_last.mkv", "no frame can be decoded"},
        {"cut.mp4", "moov atom not found"}, {"empty.mkv", "empty file"},
        {"sound.wav", "no video stream"},
    };
    char *report = NULL;
    size_t bytes = 0;
    char path[PATH_BYTES];
    (void)state;
    (void)snprintf(path, sizeof path, "%s/pack-report.csv", packed.dataset);
    assert_int_equal(files_read(&report, &bytes, path, 1 << 20), LS_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *line = strstr(report, cases[i].name);
        assert_non_null(line);
        if (strncmp(line + strlen(cases[i].name), ",skipped,", 9) != 0)
            fail_msg("%s is not told as skipped", cases[i].name);
        const char *reason = strstr(line, cases[i].reason);
        if (reason == NULL || reason > strchr(line, '\n'))
            fail_msg("'%.200s' does not say '%s'", line, cases[i].reason);
    }
    free(report);
}

/* Damage in the middle: what comes behind it is there. */
static void damage_costs_no_more_than_its_frames(void **state)
{
    struct video_detail detail;
    (void)state;
    assert_int_equal(dataset_detail(&detail, dataset, find("damaged.avi")), LS_OK);
    assert_in_range(detail.row.frames, FRAMES - 6, FRAMES);
    assert_true(detail.row.bad_frames + detail.row.decode_errors > 0);
    assert_true(detail.row.bad_frames < 10);
    assert_int_equal(dataset_detail(&detail, dataset, find("cut.avi")), LS_OK);
    assert_in_range(detail.row.frames, FRAMES / 3, FRAMES - 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(are_marked_and_have_the_frames_that_they_show),
        cmocka_unit_test(frames_are_those_of_a_plain_decoder_in_order_and_alone),
        cmocka_unit_test(colours_are_within_one_level_of_swscale),
        cmocka_unit_test(times_are_those_of_the_stream_where_it_has_any),
        cmocka_unit_test(what_shows_nothing_is_skipped_and_the_report_says_why),
        cmocka_unit_test(damage_costs_no_more_than_its_frames),
    };
    const char *lacking = special_lacks();
    if (lacking != NULL) {
        (void)printf("skipped: FFmpeg has no encoder %s\n", lacking);
        return 77;
    }
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
