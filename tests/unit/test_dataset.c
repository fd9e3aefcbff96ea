/* Packed datasets read back: made videos of many kinds, decoded independently, sequentially and at
 * random; and what a damaged dataset says. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmocka.h>
#include <libavutil/frame.h>

#include "core/files.h"
#include "core/random.h"
#include "data/describe.h"
#include "data/frame_times.h"
#include "data/framemd5.h"
#include "data/shard.h"
#include "tests/support/images.h"
#include "tests/support/packed.h"

enum { FRAMES_MAX = 64, CLIP = 12 };

struct fixture {
    struct packed packed;
    struct dataset *dataset;
};

static int open_fixture(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct pack_summary summary;
    assert_non_null(fixture);
    *state = fixture;
    assert_int_equal(packed_open(&fixture->packed), LS_OK);
    assert_int_equal(packed_make_all(&fixture->packed), LS_OK);
    assert_int_equal(packed_pack(&summary, &fixture->packed, 2, 0), LS_OK);
    assert_int_equal(summary.skipped, 0);
    assert_int_equal(dataset_open(&fixture->dataset, fixture->packed.dataset), LS_OK);
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;
    dataset_close(&fixture->dataset);
    assert_int_equal(packed_close(&fixture->packed), LS_OK);
    free(fixture);
    return 0;
}

/* MD5s of one video's frames by one way of reading it. */
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

static void assert_same(const struct checksums *a, const struct checksums *b, const char *name)
{
    if (a->count != b->count)
        fail_msg("%s: %d frames, not %d", name, a->count, b->count);
    for (int n = 0; n < a->count; n++)
        if (strcmp(a->md5[n], b->md5[n]) != 0)
            fail_msg("%s: frame %d differs", name, n);
}

static void frames_are_those_of_the_files_however_they_are_read(void **state)
{
    const struct fixture *fixture = *state;
    assert_true(dataset_video_count(fixture->dataset) >= 3);
    for (int64_t v = 0; v < dataset_video_count(fixture->dataset); v++) {
        const char *name = dataset_video(fixture->dataset, v).name;
        struct checksums file = {.count = 0};
        struct checksums sequential = {.count = 0};
        struct checksums random = {.count = 0};
        assert_int_equal(images_decode(name, FRAMES_MAX, take_frame, &file), LS_OK);
        assert_int_equal(framemd5_sequential(fixture->dataset, v, take_line, &sequential), LS_OK);
        assert_int_equal(framemd5_random(fixture->dataset, v, take_line, &random), LS_OK);
        assert_same(&sequential, &file, name);
        assert_same(&random, &file, name);
        assert_int_equal(dataset_video(fixture->dataset, v).frames, file.count);
    }
}

struct shown_times {
    int64_t time[FRAMES_MAX];
    int count;
};

static ls_status take_time(void *context, const struct framemd5_line *line)
{
    struct shown_times *times = context;
    times->time[times->count++] = line->time;
    return LS_OK;
}

/* Every frame is nearest to its own time, and what lies between goes to the nearer. */
static void times_find_the_frame_that_is_nearest(void **state)
{
    const struct fixture *fixture = *state;
    struct frame_times *times = NULL;
    assert_int_equal(frame_times_open(&times), LS_OK);
    for (int64_t v = 0; v < dataset_video_count(fixture->dataset); v++) {
        struct shown_times shown = {.count = 0};
        double span = 0;
        enum { POINTS = 240 };
        double seconds[POINTS];
        int64_t numbers[POINTS];
        assert_int_equal(framemd5_sequential(fixture->dataset, v, take_time, &shown), LS_OK);
        assert_int_equal(frame_times_span(&span, times, fixture->dataset, v), LS_OK);
        const int last = shown.count - 1;
        const double ticks = (double)(shown.time[last] - shown.time[0]);
        for (int i = 0; i < POINTS; i++)
            seconds[i] = span * (i - 10) / (POINTS - 20); /* before the first, beyond the last */
        assert_int_equal(frame_times_nearest(numbers, times, fixture->dataset, v, seconds, POINTS),
                         LS_OK);
        for (int i = 0; i < POINTS; i++) {
            double at = last > 0 ? seconds[i] / span * ticks : 0;
            double best = HUGE_VAL;
            for (int n = 0; n <= last; n++)
                best = fmin(best, fabs((double)(shown.time[n] - shown.time[0]) - at));
            double got = fabs((double)(shown.time[numbers[i]] - shown.time[0]) - at);
            if (!(got <= best + 1e-6 * ticks))
                fail_msg("%s: frame %lld for %g s", dataset_video(fixture->dataset, v).name,
                         (long long)numbers[i], seconds[i]);
        }
    }
    frame_times_close(&times);
}

struct clip {
    const int64_t *numbers;
    const struct checksums *wanted;
    int taken;
    const char *name;
};

static ls_status take_position(void *context, int position, const AVFrame *frame)
{
    struct clip *clip = context;
    char md5[PLANES_MD5_TEXT_BYTES];
    assert_int_equal(position, clip->taken);
    clip->taken++;
    assert_int_equal(planes_md5(md5, frame), LS_OK);
    if (strcmp(md5, clip->wanted->md5[clip->numbers[position]]) != 0)
        fail_msg("%s: frame %lld is not that of the file", clip->name,
                 (long long)clip->numbers[position]);
    return LS_OK;
}

/* Steps of all sizes, repeated frames, clips that reach the end: what is left out and where
 * decoding starts differs in each. */
static void clips_hold_the_frames_asked_for(void **state)
{
    const struct fixture *fixture = *state;
    struct clip_reader *reader = NULL;
    struct random_stream random;
    assert_int_equal(clip_reader_open(&reader), LS_OK);
    random_open(&random, 1, RANDOM_TEST, 0, 0, 0);
    for (int64_t v = 0; v < dataset_video_count(fixture->dataset); v++) {
        struct dataset_video video = dataset_video(fixture->dataset, v);
        struct checksums file = {.count = 0};
        assert_int_equal(framemd5_sequential(fixture->dataset, v, take_line, &file), LS_OK);
        for (int repeat = 0; repeat < 24; repeat++) {
            int64_t numbers[CLIP];
            uint64_t step = random_below(&random, 9);
            int64_t at = (int64_t)random_below(&random, (uint64_t)video.frames);
            for (int i = 0; i < CLIP; i++) {
                numbers[i] = at < video.frames ? at : video.frames - 1;
                at += (int64_t)(repeat % 2 == 0 ? step : random_below(&random, step + 1));
            }
            struct clip clip = {.numbers = numbers, .wanted = &file, .name = video.name};
            assert_int_equal(
                clip_reader_read(reader, fixture->dataset, v, numbers, CLIP, take_position, &clip),
                LS_OK);
            assert_int_equal(clip.taken, CLIP);
        }
    }
    clip_reader_close(&reader);
}

static void frames_that_do_not_exist_are_refused(void **state)
{
    const struct fixture *fixture = *state;
    struct clip_reader *reader = NULL;
    struct checksums none = {.count = 0};
    struct clip clip = {.wanted = &none};
    static const int64_t wrong[][2] = {{-1, 0}, {3, 2}, {0, 1000}};
    assert_int_equal(clip_reader_open(&reader), LS_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            clip_reader_read(reader, fixture->dataset, 0, wrong[i], 2, take_position, &clip),
            LS_USAGE);
    int64_t first = 0;
    int64_t count = dataset_video_count(fixture->dataset);
    assert_int_equal(
        clip_reader_read(reader, fixture->dataset, count, &first, 1, take_position, &clip),
        LS_USAGE);
    assert_int_equal(clip.taken, 0);
    clip_reader_close(&reader);
}

static int64_t find(const struct fixture *fixture, const char *name)
{
    int64_t video = -1;
    if (dataset_find(&video, fixture->dataset, name) != LS_OK)
        return -1;
    return video;
}

static void says_of_each_video_what_planning_needs(void **state)
{
    const struct fixture *fixture = *state;
    int64_t v = find(fixture, "turned.mp4");
    if (v >= 0) {
        struct dataset_video video = dataset_video(fixture->dataset, v);
        assert_int_equal(video.width, 64);
        assert_int_equal(video.height, 96);
        assert_int_equal(video.label, -1);
        assert_true(video.weight == 1);
        assert_true(video.average_fps == 25);
        assert_false(video.still);
        assert_int_equal(dataset_video_orientation(fixture->dataset, v).quarter_turns, 1);
        assert_false(dataset_video_orientation(fixture->dataset, v).flip_horizontal);
    }
    v = find(fixture, "still.jpg");
    if (v >= 0) {
        assert_true(dataset_video(fixture->dataset, v).still);
        assert_int_equal(dataset_video(fixture->dataset, v).frames, 1);
    }
    assert_int_equal(find(fixture, "no such video"), -1);
}

static void marks_what_is_unusual(void **state)
{
    const struct fixture *fixture = *state;
    static const struct {
        const char *name;
        uint32_t flags;
    } cases[] = {{"variable_rate.mp4", VIDEO_VARIABLE_RATE},
                 {"no_times.h264", VIDEO_TIME_ESTIMATED},
                 {"still.png", VIDEO_STILL},
                 {"closed_gop.mp4", 0}};
    struct video_detail detail;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t v = find(fixture, cases[i].name);
        if (v < 0)
            continue;
        assert_int_equal(dataset_detail(&detail, fixture->dataset, v), LS_OK);
        assert_int_equal(detail.row.flags, cases[i].flags);
    }
    int64_t v = find(fixture, "edit_list.mp4");
    if (v >= 0) {
        assert_int_equal(dataset_detail(&detail, fixture->dataset, v), LS_OK);
        assert_int_equal(detail.row.frames, 33);
        assert_int_equal(detail.row.packets, 40);
        assert_int_equal(detail.discarded, 7);
    }
    v = find(fixture, "open_gop.mkv");
    if (v >= 0) {
        assert_int_equal(dataset_detail(&detail, fixture->dataset, v), LS_OK);
        assert_true(detail.starts > 1); /* not all from the beginning */
        assert_true(detail.skippable > 0);
    }
}

/* File systems without locks, or with stale ones, are common on clusters. */
static void opens_whoever_has_locked_its_files(void **state)
{
    const struct fixture *fixture = *state;
    static const char *const names[] = {"index.h5", "shard-00000.h5"};
    char path[160];
    int files[2];
    struct dataset *dataset = NULL;
    struct shard shard = {0};
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", fixture->packed.dataset, names[i]);
        files[i] = open(path, O_RDWR | O_CLOEXEC);
        assert_true(files[i] >= 0);
        assert_int_equal(flock(files[i], LOCK_EX | LOCK_NB), 0);
    }
    assert_int_equal(dataset_open(&dataset, fixture->packed.dataset), LS_OK);
    assert_int_equal(shard_open(&shard, path, 0), LS_OK);
    shard_close(&shard);
    dataset_close(&dataset);
    for (int i = 0; i < 2; i++)
        assert_int_equal(close(files[i]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_those_of_the_files_however_they_are_read),
        cmocka_unit_test(times_find_the_frame_that_is_nearest),
        cmocka_unit_test(clips_hold_the_frames_asked_for),
        cmocka_unit_test(frames_that_do_not_exist_are_refused),
        cmocka_unit_test(says_of_each_video_what_planning_needs),
        cmocka_unit_test(marks_what_is_unusual),
        cmocka_unit_test(opens_whoever_has_locked_its_files),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
