/* `pack --gop`: dear videos come out with key frames near each frame, and otherwise as they were.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

#include "core/files.h"
#include "data/clip_cost.h"
#include "data/colour.h"
#include "data/dataset_internal.h"
#include "data/describe.h"
#include "data/describe_cost.h"
#include "data/store_note.h"
#include "data/verify.h"
#include "tests/support/make_video.h"
#include "tests/support/packed.h"

enum { FRAMES = 160, FPS = 8, HIDDEN = 5, FRAMES_MAX = 400 };

#define X264 "preset=veryfast:x264-params=scenecut=0\\:mbtree=0"
#define COLOURS ":color_range=pc:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
#define PQ ":colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084"

struct made {
    const char *name, *encoder, *options, *format;
    int width, height, gop, b_frames, frames;
    bool varies, hides, turned;
    const char *kept; /* part of the reason; NULL: it is encoded */
};

static const struct made made[] = {
    {"plain.mp4", "libx264", X264, "yuv420p", 96, 64, 250, 0, FRAMES, 0, 0, 0, NULL},
    {"b_frames.mp4", "libx264", X264, "yuv420p", 96, 64, 250, 3, FRAMES, 0, 0, 0, NULL},
    {"variable.mp4", "libx264", X264, "yuv420p", 96, 64, 250, 3, FRAMES, 1, 0, 0, NULL},
    {"edit_list.mp4", "libx264", X264, "yuv420p", 96, 64, 250, 3, FRAMES, 0, 1, 0, NULL},
    {"turned.mp4", "libx264", X264, "yuv420p", 96, 64, 250, 0, FRAMES, 0, 0, 1, NULL},
    {"full_709.mp4", "libx264", X264 COLOURS, "yuvj420p", 96, 64, 250, 0, FRAMES, 0, 0, 0, NULL},
    {"pq.mkv", "libx264", X264 PQ, "yuv422p", 96, 64, 250, 0, FRAMES, 0, 0, 0, NULL},
    {"odd_444.mkv", "libx264", X264, "yuv444p", 35, 27, 250, 0, FRAMES, 0, 0, 0, NULL},
    {"grey.mkv", "libx264", X264, "gray", 96, 64, 250, 0, FRAMES, 0, 0, 0, NULL},
    {"mpeg4.avi", "mpeg4", "", "yuv420p", 96, 64, 250, 0, FRAMES, 0, 0, 0, NULL},
    {"odd.avi", "mpeg4", "", "yuv420p", 35, 27, 250, 0, FRAMES, 0, 0, 0, "odd size (35x27)"},
    {"near.mp4", "libx264", X264, "yuv420p", 96, 64, 4, 0, FRAMES, 0, 0, 0, "much cheaper"},
    {"fields.ts", "mpeg2video", "flags=+ilme+ildct", "yuv420p", 96, 64, 200, 0, FRAMES, 0, 0, 0,
     "interlaced"},
    {"rgb.mkv", "ffv1", "", "bgr0", 96, 64, 0, 0, FRAMES, 0, 0, 0, "pixel format bgr0"},
    {"still.png", "png", "", "rgb24", 96, 64, 0, 0, 1, 0, 0, 0, "a still"},
};
enum { MADE = sizeof made / sizeof *made };

static const double gop_s = 0.75;

struct fixture {
    struct packed packed;
    struct dataset *before, *after;
};

static ls_status make_one(const struct packed *packed, const struct made *what)
{
    static const int32_t quarter_clockwise[9] = {0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30};
    char path[256];
    int64_t times[FRAMES];
    (void)snprintf(path, sizeof path, "%s/%s", packed->videos, what->name);
    for (int n = 0; n < FRAMES; n++)
        times[n] = what->hides ? n - HIDDEN : 2 * n + (n % 3 == 1);
    return make_video(
        &(struct make_video){.path = path,
                             .muxer = what->frames == 1 ? "image2" : NULL,
                             .encoder = what->encoder,
                             .options = what->options,
                             .format = what->format,
                             .width = what->width,
                             .height = what->height,
                             .frames = what->frames,
                             .fps = what->varies ? 2 * FPS : FPS,
                             .times = what->varies || what->hides ? times : NULL,
                             .gop = what->gop,
                             .b_frames = what->b_frames,
                             .display_matrix = what->turned ? quarter_clockwise : NULL});
}

/* Pack `inputs` into FOLDER/NAME and open it. */
static struct dataset *pack_into(const struct packed *packed, const char *name,
                                 const char *const *inputs, int input_count,
                                 struct pack_encoding encoding)
{
    char path[128];
    struct pack_summary summary;
    struct verify_result result;
    struct dataset *dataset = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", packed->folder, name);
    const struct pack_options options = {.inputs = inputs,
                                         .input_count = input_count,
                                         .output = path,
                                         .jobs = 2,
                                         .encoding = encoding};
    if (pack_run(&summary, &options) != LS_OK || dataset_open(&dataset, path) != LS_OK)
        fail_msg("%s", status_message());
    assert_int_equal(summary.skipped, 0);
    assert_int_equal(verify_dataset(&result, path, NULL, NULL), LS_OK);
    assert_int_equal(result.damages, 0);
    return dataset;
}

static int open_fixture(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    *state = fixture;
    assert_int_equal(packed_open(&fixture->packed), LS_OK);
    for (int i = 0; i < MADE; i++)
        if (make_one(&fixture->packed, &made[i]) != LS_OK)
            fail_msg("%s", status_message());
    const char *inputs[] = {fixture->packed.videos};
    fixture->before =
        pack_into(&fixture->packed, "before", inputs, 1, (struct pack_encoding){.gop_s = 0});
    fixture->after =
        pack_into(&fixture->packed, "after", inputs, 1, (struct pack_encoding){.gop_s = gop_s});
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;
    dataset_close(&fixture->before);
    dataset_close(&fixture->after);
    assert_int_equal(packed_close(&fixture->packed), LS_OK);
    free(fixture);
    return 0;
}

/* ---- what is read of a video ---- */

struct view {
    const char *name;
    struct dataset_place place;
    struct frame_record rows[FRAMES_MAX];
    AVFrame *frames[FRAMES_MAX];
    struct clip_cost cost;
    struct store_note note;
    bool has_note;
};

static ls_status take_frame(void *context, int position, const AVFrame *frame)
{
    struct view *view = context;
    view->frames[position] = av_frame_clone(frame);
    return view->frames[position] != NULL ? LS_OK : LS_NOMEM;
}

static struct view *open_view(const struct dataset *dataset, const char *name)
{
    int64_t numbers[FRAMES_MAX];
    int64_t video;
    struct view *view = calloc(1, sizeof *view);
    struct clip_reader *reader = NULL;
    uint8_t rows[FRAMES_MAX * FRAME_ROW_BYTES];
    assert_non_null(view);
    view->name = name;
    if (dataset_find(&video, dataset, name) != LS_OK)
        fail_msg("%s", status_message());
    assert_int_equal(dataset_place(&view->place, dataset, video), LS_OK);
    const struct video_record *row = &view->place.video;
    const int count = (int)row->frames;
    assert_in_range(count, 1, FRAMES_MAX);
    assert_int_equal(dataset_read_rows(view->rows, rows, &view->place, &record_frame_layout,
                                       view->place.shard->frames_at, row->first_frame, row->frames),
                     LS_OK);
    for (int n = 0; n < count; n++)
        numbers[n] = n;
    assert_int_equal(clip_reader_open(&reader), LS_OK);
    if (clip_reader_read(reader, dataset, video, numbers, count, take_frame, view) != LS_OK)
        fail_msg("%s", status_message());
    clip_reader_close(&reader);
    assert_int_equal(dataset_clip_cost(&view->cost, dataset, video), LS_OK);
    view->has_note = store_note_find(&view->note, dataset->index.blob + row->side_data_at,
                                     (size_t)row->side_data_size);
    return view;
}

static void close_view(struct view *view)
{
    for (int n = 0; n < FRAMES_MAX; n++)
        av_frame_free(&view->frames[n]);
    free(view);
}

/* Luma of a frame at another size, 8 bits. */
static uint8_t *luma_at(const AVFrame *frame, int width, int height)
{
    uint8_t *planes[4] = {NULL};
    int strides[4];
    assert_true(av_image_alloc(planes, strides, width, height, AV_PIX_FMT_GRAY8, 1) > 0);
    struct SwsContext *scale = sws_getContext(frame->width, frame->height, frame->format, width,
                                              height, AV_PIX_FMT_GRAY8, SWS_BICUBIC, 0, 0, 0);
    assert_non_null(scale);
    assert_int_equal(sws_scale(scale, (const uint8_t *const *)frame->data, frame->linesize, 0,
                               frame->height, planes, strides),
                     height);
    sws_freeContext(scale);
    return planes[0];
}

static double difference(const uint8_t *a, const uint8_t *b, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += abs(a[i] - b[i]);
    return sum / count;
}

/* Each frame looks like the source's same frame, and where neighbours look different, more so. */
static void assert_same_pictures(const struct view *before, const struct view *after)
{
    static const double close = 6; /* grey levels, mean; the made frames' neighbours differ by 9 */
    const int count = (int)before->place.video.frames;
    const int width = after->frames[0]->width;
    const int height = after->frames[0]->height;
    const int pixels = width * height;
    uint8_t *source[FRAMES_MAX];
    for (int n = 0; n < count; n++)
        source[n] = luma_at(before->frames[n], width, height);
    for (int n = 0; n < count; n++) {
        uint8_t *luma = luma_at(after->frames[n], width, height);
        const double own = difference(luma, source[n], pixels);
        if (own >= close)
            fail_msg("%s: frame %d differs by %g", before->name, n, own);
        for (int other = n - 1; other <= n + 1; other += 2)
            if (other >= 0 && other < count && own >= difference(luma, source[other], pixels) &&
                difference(source[n], source[other], pixels) >= close)
                fail_msg("%s: frame %d is nearer to frame %d: %g", before->name, n, other, own);
        av_free(luma);
    }
    for (int n = 0; n < count; n++)
        av_free(source[n]);
}

static void assert_alike(const struct view *before, const struct view *after)
{
    const struct video_record *a = &before->place.video;
    const struct video_record *b = &after->place.video;
    assert_int_equal(a->frames, b->frames);
    assert_int_equal(a->quarter_turns, b->quarter_turns);
    assert_int_equal(a->flip_horizontal, b->flip_horizontal);
    assert_int_equal(a->width > a->height, b->width > b->height);
    assert_int_equal(a->time_base_num, b->time_base_num);
    assert_int_equal(a->time_base_den, b->time_base_den);
    assert_int_equal(a->average_fps * 1e6, b->average_fps * 1e6);
    assert_int_equal(a->flags, b->flags & ~(uint32_t)VIDEO_ENCODED);
    for (uint64_t n = 0; n < a->frames; n++) {
        const AVFrame *x = before->frames[n];
        const AVFrame *y = after->frames[n];
        assert_int_equal(before->rows[n].time, after->rows[n].time);
        assert_int_equal(before->rows[n].flags, after->rows[n].flags);
        assert_true(colour_is_alike(x, y));
        assert_int_equal(x->color_primaries, y->color_primaries);
        assert_int_equal(x->color_trc, y->color_trc);
        assert_int_equal(av_pix_fmt_desc_get(x->format)->comp[0].depth,
                         av_pix_fmt_desc_get(y->format)->comp[0].depth);
        assert_int_equal(av_pix_fmt_desc_get(x->format)->log2_chroma_w,
                         av_pix_fmt_desc_get(y->format)->log2_chroma_w);
    }
    assert_same_pictures(before, after);
}

/* No frame lies farther behind the frame that its decoding starts with than the GOP is long. */
static void assert_near_keys(const struct view *view, double seconds)
{
    const struct video_record *row = &view->place.video;
    const double tick_s = (double)row->time_base_num / row->time_base_den;
    for (uint64_t n = 0; n < row->frames; n++) {
        uint64_t key = 0;
        while (view->rows[key].packet != view->rows[n].start)
            key++;
        const double behind_s = (double)(view->rows[n].time - view->rows[key].time) * tick_s;
        assert_true(behind_s < seconds);
    }
}

/* ---- cases ---- */

static void an_encoded_video_shows_the_same_frames_at_the_same_times(void **state)
{
    const struct fixture *fixture = *state;
    for (int i = 0; i < MADE; i++) {
        if (made[i].kept != NULL)
            continue;
        struct view *before = open_view(fixture->before, made[i].name);
        struct view *after = open_view(fixture->after, made[i].name);
        print_message("%s: %.1f frames a clip, now %.1f\n", made[i].name, before->cost.decoded,
                      after->cost.decoded);
        assert_true(after->place.video.flags & VIDEO_ENCODED);
        assert_alike(before, after);
        assert_int_equal(before->place.video.width, after->place.video.width);
        assert_near_keys(after, gop_s);
        assert_true(after->cost.work < before->cost.work);
        close_view(before);
        close_view(after);
    }
}

static void a_note_says_how_it_was_encoded(void **state)
{
    const struct fixture *fixture = *state;
    struct view *before = open_view(fixture->before, "mpeg4.avi");
    struct view *after = open_view(fixture->after, "mpeg4.avi");
    const struct store_note *note = &after->note;
    assert_false(before->has_note);
    assert_true(after->has_note);
    assert_true(note->encoded);
    assert_non_null(strstr(note->encoder, "core"));
    assert_non_null(strstr(note->options, "crf="));
    assert_string_equal(note->source_codec, "mpeg4");
    assert_string_equal(note->source_format, "yuv420p");
    assert_int_equal(note->source_width, 96);
    assert_int_equal(note->source_packet_bytes, before->place.video.bytes_size);
    assert_true(fabs(note->gop_s - gop_s) < 1e-9);
    assert_true(fabs(note->before.decoded - before->cost.decoded) < 1e-6);
    assert_true(fabs(note->before.pixels - before->cost.pixels) < 1e-6 * before->cost.pixels);
    close_view(before);
    close_view(after);
}

static void what_cannot_be_encoded_is_kept_byte_for_byte_with_a_reason(void **state)
{
    const struct fixture *fixture = *state;
    for (int i = 0; i < MADE; i++) {
        if (made[i].kept == NULL)
            continue;
        struct view *before = open_view(fixture->before, made[i].name);
        struct view *after = open_view(fixture->after, made[i].name);
        assert_int_equal(before->place.video.flags | VIDEO_KEPT, after->place.video.flags);
        assert_int_equal(before->place.video.bytes_hash_low, after->place.video.bytes_hash_low);
        assert_true(after->has_note);
        assert_false(after->note.encoded);
        if (strstr(after->note.why, made[i].kept) == NULL)
            fail_msg("%s: %s", made[i].name, after->note.why);
        close_view(before);
        close_view(after);
    }
}

static void only_dear_videos_are_encoded(void **state)
{
    const struct fixture *fixture = *state;
    struct view *small = open_view(fixture->before, "odd_444.mkv");
    struct view *large = open_view(fixture->before, "plain.mp4");
    assert_true(small->cost.work < large->cost.work);
    const struct pack_encoding encoding = {.gop_s = gop_s,
                                           .dear = (small->cost.work + large->cost.work) / 2};
    char first[256];
    char second[256];
    (void)snprintf(first, sizeof first, "%s/odd_444.mkv", fixture->packed.videos);
    (void)snprintf(second, sizeof second, "%s/plain.mp4", fixture->packed.videos);
    const char *inputs[] = {first, second};
    struct dataset *dataset = pack_into(&fixture->packed, "some", inputs, 2, encoding);
    struct view *cheap = open_view(dataset, "odd_444.mkv");
    struct view *dear = open_view(dataset, "plain.mp4");
    assert_int_equal(cheap->place.video.bytes_hash_low, small->place.video.bytes_hash_low);
    assert_false(cheap->has_note);
    assert_true(dear->place.video.flags & VIDEO_ENCODED);
    close_view(small);
    close_view(large);
    close_view(cheap);
    close_view(dear);
    dataset_close(&dataset);
}

static void packing_again_gives_the_same_bytes(void **state)
{
    const struct fixture *fixture = *state;
    const char *inputs[] = {fixture->packed.videos};
    struct dataset *again =
        pack_into(&fixture->packed, "again", inputs, 1, (struct pack_encoding){.gop_s = gop_s});
    assert_true(hash_equal(dataset_fingerprint(fixture->after), dataset_fingerprint(again)));
    dataset_close(&again);
}

/* Real files: 10 bits with 4:2:2, HEVC that is turned, an edit list, full range, variable rate. */
static void awkward_files_are_made_smaller_as_they_are_shown(void **state)
{
    static const char *const names[] = {"h264_422_10bit.mp4", "hevc10_bt2020_rot.mp4",
                                        "editlist_bframes.mp4", "mkv_full_range_601.mkv",
                                        "h264_live_no_duration.webm"};
    enum { NAMES = sizeof names / sizeof *names, SIDE = 96 };
    const struct fixture *fixture = *state;
    const char *shared = getenv("SHARED");
    char paths[NAMES][256];
    const char *inputs[NAMES];
    for (int i = 0; i < NAMES; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/videos/awkward/%s",
                       shared != NULL ? shared : "../shared", names[i]);
        inputs[i] = paths[i];
    }
    if (!files_exists(paths[0]))
        skip();
    struct dataset *before =
        pack_into(&fixture->packed, "awkward", inputs, NAMES, (struct pack_encoding){.gop_s = 0});
    struct dataset *after = pack_into(&fixture->packed, "smaller", inputs, NAMES,
                                      (struct pack_encoding){.gop_s = 0.5, .short_side = SIDE});
    for (int i = 0; i < NAMES; i++) {
        struct view *a = open_view(before, names[i]);
        struct view *b = open_view(after, names[i]);
        const struct video_record *row = &b->place.video;
        if (!(row->flags & VIDEO_ENCODED))
            fail_msg("%s: %s", names[i], b->note.why);
        assert_alike(a, b);
        assert_int_equal(row->width < row->height ? row->width : row->height, SIDE);
        close_view(a);
        close_view(b);
    }
    dataset_close(&before);
    dataset_close(&after);
}

/* By hand: 64 frames of 100 pixels at 4 frames/s, so that a clip takes 16 that follow each other
 * from one of 48 on. */
static void costs_are_counted_over_all_positions(void **state)
{
    struct frame_record frames[64] = {0};
    struct packet_record packets[64] = {0};
    (void)state;
    for (uint32_t n = 0; n < 64; n++) {
        frames[n] = (struct frame_record){
            .start = n - n % 16, .last = n, .packet = n, .width = 10, .height = 10};
        packets[n].flags = n % 2 == 1 ? PACKET_SKIPPABLE : 0;
        packets[n].size = 50;
    }
    /* A key frame every 16: 0 to 15 frames lie between it and the clip. */
    struct clip_cost cost = clip_cost_predict(64, 100, 16, 4);
    assert_true(fabs(cost.decoded - (7.5 + 16)) < 1e-9);
    assert_true(fabs(cost.pixels - 100 * cost.decoded) < 1e-6);
    /* Of those, every second can be left out: 0, 0, 1, 1, 2, 2 ... 7, 7. */
    cost = clip_cost_measure(frames, 64, packets, 4);
    assert_true(fabs(cost.decoded - (7.5 - 3.5 + 16)) < 1e-9);
    assert_true(fabs(cost.bytes - 50 * cost.decoded) < 1e-6);
    /* One key frame: all from the beginning. */
    for (int n = 0; n < 64; n++) {
        frames[n].start = 0;
        packets[n].flags = 0;
    }
    cost = clip_cost_measure(frames, 64, packets, 4);
    assert_true(fabs(cost.decoded - (23.5 + 16)) < 1e-9);
    assert_true(fabs(cost.work - (100 + 128 * 50) * cost.decoded) < 1e-6);
    assert_true(fabs(cost.pixels - 100 * cost.decoded) < 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(costs_are_counted_over_all_positions),
        cmocka_unit_test(an_encoded_video_shows_the_same_frames_at_the_same_times),
        cmocka_unit_test(a_note_says_how_it_was_encoded),
        cmocka_unit_test(what_cannot_be_encoded_is_kept_byte_for_byte_with_a_reason),
        cmocka_unit_test(only_dear_videos_are_encoded),
        cmocka_unit_test(packing_again_gives_the_same_bytes),
        cmocka_unit_test(awkward_files_are_made_smaller_as_they_are_shown),
    };
    if (!make_video_can("libx264")) {
        (void)fprintf(stderr, "no libx264 here\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
