/* Assertions of FFmpeg that do not hold: they end a call, a video, and no process. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libavutil/avassert.h>

#include "core/files.h"
#include "data/av.h"
#include "data/pack_video.h"
#include "data/part.h"
#include "data/playback.h"
#include "tests/support/make_video.h"
#include "tests/support/packed.h"

enum { FRAMES = 40, DELAY = 100, TIMES = 20, THREADS = 4 };

struct fixture {
    struct packed packed;
    struct part part;
    struct packet_record *packets;
};

static void stay_silent(void *context)
{
    (void)context;
}

static ls_status read_packets(struct fixture *fixture)
{
    ls_status st = LS_OK;
    const struct part *part = &fixture->part;
    uint8_t *rows = NULL;
    LS_TRY(core_alloc(&rows, part->packet_count * PACKET_ROW_BYTES));
    LS_TRY(files_read_at(part->file, rows, part->packet_count * PACKET_ROW_BYTES, part->bytes,
                         part->path));
    table_decode(&record_packet_layout, fixture->packets, rows, part->packet_count);
done:
    free(rows);
    return st;
}

static int open_fixture(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    char video[128];
    char path[128];
    bool skipped = true;
    const struct prove_progress progress = {.alive = stay_silent};
    assert_non_null(fixture);
    *state = fixture;
    assert_int_equal(packed_open(&fixture->packed), LS_OK);
    (void)snprintf(video, sizeof video, "%s/a.mkv", fixture->packed.videos);
    (void)snprintf(path, sizeof path, "%s/a.part", fixture->packed.folder);
    assert_int_equal(make_video(&(struct make_video){.path = video,
                                                     .encoder = "libx264",
                                                     .options = "preset=veryfast",
                                                     .width = 96,
                                                     .height = 64,
                                                     .frames = FRAMES,
                                                     .fps = 25,
                                                     .gop = FRAMES,
                                                     .b_frames = 3}),
                     LS_OK);
    const struct pack_source source = {
        .name = "a.mkv", .path = video, .label = -1, .weight = 1, .bytes = 1 << 20};
    assert_int_equal(pack_video(&skipped, path, &source, &progress), LS_OK);
    assert_false(skipped);
    assert_int_equal(part_open(&fixture->part, path, true), LS_OK);
    assert_int_equal(core_alloc(&fixture->packets, fixture->part.packet_count), LS_OK);
    assert_int_equal(read_packets(fixture), LS_OK);
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;
    free(fixture->packets);
    part_close(&fixture->part);
    assert_int_equal(packed_close(&fixture->packed), LS_OK);
    free(fixture);
    return 0;
}

static void assert_what_is_not_so(void *context)
{
    int *calls = context;
    ++*calls;
    av_assert0(*calls < 0);
}

static void count_call(void *context)
{
    ++*(int *)context;
}

static void an_assertion_ends_the_call_that_it_stands_in(void **state)
{
    (void)state;
    int calls = 0;
    av_log_capture();
    for (int i = 0; i < 2; i++) {
        av_log_clear();
        assert_false(av_contain(assert_what_is_not_so, &calls));
        assert_non_null(strstr(av_log_first(), "Assertion *calls < 0 failed"));
        assert_true(av_contain(count_call, &calls));
    }
    assert_int_equal(calls, 4);
}

/* Decode all of it; `*frames` is how many came out before it ended. */
static ls_status decode(int *frames, struct playback *playback, const struct fixture *fixture,
                        const struct video_record *video)
{
    ls_status st = LS_OK;
    struct playback_frame frame;
    const struct playback_source source = {
        .path = fixture->part.path,
        .file = fixture->part.file,
        .video = video,
        .blob = fixture->part.blob,
        .packets = fixture->packets,
        .count = (uint32_t)fixture->part.packet_count,
    };
    *frames = 0;
    playback_source(playback, &source);
    st = playback_start(playback, 0);
    while (st == LS_OK) {
        st = playback_next(playback, source.count - 1, NULL, &frame);
        *frames += st == LS_OK;
    }
    return st;
}

/* Told of more reordering than there is room for, FFmpeg's H.264 decoder asserts that this cannot
 * be.  The decoder after it starts anew. */
static ls_status break_and_recover(const struct fixture *fixture)
{
    ls_status st = LS_OK;
    struct playback *playback = NULL;
    int frames = 0;
    struct video_record broken = fixture->part.video;
    broken.video_delay = DELAY;
    LS_TRY(playback_open(&playback));
    for (int i = 0; i < TIMES; i++) {
        st = decode(&frames, playback, fixture, &broken);
        if (st != LS_DATA || frames >= FRAMES)
            return LS_FAIL(LS_FAILED, "no assertion failed: %d frames", frames);
        if (strstr(status_message(), "'a.mkv': Assertion ") == NULL)
            return LS_FAILED;
        struct playback_frame frame;
        if (playback_next(playback, FRAMES - 1, NULL, &frame) != LS_DATA)
            return LS_FAIL(LS_FAILED, "a decoder that broke off goes on");
        st = decode(&frames, playback, fixture, &fixture->part.video);
        if (st != LS_EOF || frames != FRAMES)
            return LS_FAIL(LS_FAILED, "%d frames after a break", frames);
    }
    st = LS_OK;
done:
    playback_close(&playback);
    return st;
}

static void a_decoder_that_asserts_costs_its_video_only(void **state)
{
    assert_int_equal(break_and_recover(*state), LS_OK);
}

static void *break_in_thread(void *context)
{
    return break_and_recover(context) == LS_OK ? context : NULL;
}

static void threads_break_off_each_for_itself(void **state)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, break_in_thread, *state), 0);
    for (int i = 0; i < THREADS; i++) {
        void *result = NULL;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_non_null(result);
    }
}

/* What brings that assertion out in a stored video is refused before it is decoded. */
static void rows_that_ask_for_more_reordering_than_exists_are_refused(void **state)
{
    const struct fixture *fixture = *state;
    struct video_record video = fixture->part.video;
    const struct shard_record shard = {.bytes = video.bytes_at + video.bytes_size,
                                       .packets = video.packets,
                                       .frames = video.frames};
    const int32_t delays[] = {0, VIDEO_DELAY_MAX, VIDEO_DELAY_MAX + 1, -1, INT32_MAX};
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        video.video_delay = delays[i];
        assert_int_equal(record_video_check(&video, fixture->part.blob_bytes, &shard, "a.part"),
                         i < 2 ? LS_OK : LS_DATA);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_assertion_ends_the_call_that_it_stands_in),
        cmocka_unit_test(a_decoder_that_asserts_costs_its_video_only),
        cmocka_unit_test(threads_break_off_each_for_itself),
        cmocka_unit_test(rows_that_ask_for_more_reordering_than_exists_are_refused),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
