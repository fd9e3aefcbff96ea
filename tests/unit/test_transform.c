/* Pixels: golden/transforms.h5, swscale's accurate path on made and real frames of many formats,
 * and the symmetries of crop, flip and rotation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libavutil/frame.h>
#include <libavutil/log.h>
#include <libavutil/pixdesc.h>

#include "core/files.h"
#include "core/random.h"
#include "data/rows.h"
#include "data/transform.h"
#include "tests/support/golden.h"
#include "tests/support/images.h"

static struct transform_view view_of(const AVFrame *frame, struct crop_box box, bool flip,
                                     int width, int height)
{
    return (struct transform_view){.shown_width = frame->width,
                                   .shown_height = frame->height,
                                   .box = box,
                                   .flip = flip,
                                   .width = width,
                                   .height = height};
}

static int attribute(const struct golden *golden, const char *group, const char *name)
{
    int value = 0;
    assert_int_equal(golden_attribute_int(&value, golden, group, name), LS_OK);
    return value;
}

/* Frames of the golden file, which holds normalised clips [3, T, S, S]. */
static void check_golden_case(const struct golden *golden, const char *group,
                              struct transform *transform)
{
    static const double mean[] = {0.485, 0.456, 0.406};
    static const double deviation[] = {0.229, 0.224, 0.225};
    char name[64];
    uint8_t *frames = NULL;
    double *clip = NULL;
    struct golden_shape shape;
    (void)snprintf(name, sizeof name, "%s/clip", group);
    assert_int_equal(golden_doubles(&clip, &shape, golden, name), LS_OK);
    (void)snprintf(name, sizeof name, "%s/frames", group);
    assert_int_equal(golden_bytes(&frames, &shape, golden, name), LS_OK);
    const int count = (int)shape.size[0];
    const int size = attribute(golden, group, "size");
    AVFrame frame = {
        .format = AV_PIX_FMT_RGB24, .height = (int)shape.size[1], .width = (int)shape.size[2]};
    struct crop_box box = {attribute(golden, group, "left"), attribute(golden, group, "top"),
                           attribute(golden, group, "width"), attribute(golden, group, "height")};
    struct transform_view view =
        view_of(&frame, box, attribute(golden, group, "flip") != 0, size, size);
    uint8_t *out = calloc((size_t)size * (size_t)size, 3);
    assert_non_null(out);
    for (int t = 0; t < count; t++) {
        frame.data[0] = frames + (ptrdiff_t)t * frame.height * frame.width * 3;
        frame.linesize[0] = frame.width * 3;
        assert_int_equal(transform_frame(transform, out, &frame, &view), LS_OK);
        for (int i = 0; i < size * size * 3; i++) {
            const int c = i % 3;
            double level = clip[((ptrdiff_t)c * count + t) * size * size + i / 3];
            level = (level * deviation[c] + mean[c]) * 255.0;
            if (!(level - 0.51 <= out[i] && out[i] <= level + 0.51))
                fail_msg("%s, frame %d, value %d: %d instead of %g", group, t, i, out[i], level);
        }
    }
    free(out);
    free(frames);
    free(clip);
}

static void pixels_equal_the_public_transform(void **state)
{
    (void)state;
    char path[512];
    if (!golden_path(path, sizeof path, "transforms.h5"))
        skip();
    struct golden *golden = NULL;
    struct transform *transform = NULL;
    assert_int_equal(golden_open(&golden, path), LS_OK);
    assert_int_equal(transform_open(&transform), LS_OK);
    int cases = 0;
    for (; cases < 100; cases++) {
        char group[32];
        (void)snprintf(group, sizeof group, "case%d", cases);
        if (!golden_has(golden, group))
            break;
        check_golden_case(golden, group, transform);
    }
    assert_int_equal(cases, 5);
    transform_close(&transform);
    golden_close(&golden);
}

/* One frame and view against swscale and the plain loop. */
static void compare_with_reference(struct images_difference *sum, struct transform *transform,
                                   const AVFrame *frame, const struct transform_view *view)
{
    uint8_t *rgb = NULL;
    const int64_t values = (int64_t)view->width * view->height * 3;
    double *reference = calloc((size_t)values, sizeof *reference);
    uint8_t *out = malloc((size_t)values);
    assert_non_null(reference);
    assert_non_null(out);
    memset(out, 0xA5, (size_t)values);
    assert_int_equal(images_rgb(&rgb, frame), LS_OK);
    images_resample(reference, view->width, view->height, rgb, frame->width, view->box, view->flip);
    assert_int_equal(transform_frame(transform, out, frame, view), LS_OK);
    images_compare(sum, out, reference, values);
    free(rgb);
    free(reference);
    free(out);
}

static void expect_close(const struct images_difference *sum, double mean, double share,
                         const char *what)
{
    assert_true(sum->count > 0);
    if (!(sum->sum / (double)sum->count <= mean &&
          (double)sum->above_two <= (1.0 - share) * (double)sum->count))
        fail_msg("%s: mean difference %g, %g %% above 2, largest %g", what,
                 sum->sum / (double)sum->count, 100.0 * (double)sum->above_two / (double)sum->count,
                 sum->largest);
}

/* Whole frames at their own size: no resampling hides a fault of the colours.  Rounding alone is at
 * most 1 level from swscale's. */
static void colours_are_within_one_level_of_swscale(void **state)
{
    (void)state;
    static const int formats[] = {
        AV_PIX_FMT_YUV420P,     AV_PIX_FMT_YUVJ420P,    AV_PIX_FMT_YUV422P,
        AV_PIX_FMT_YUVJ422P,    AV_PIX_FMT_YUV444P,     AV_PIX_FMT_YUV440P,
        AV_PIX_FMT_YUV411P,     AV_PIX_FMT_YUV410P,     AV_PIX_FMT_YUV420P10LE,
        AV_PIX_FMT_YUV422P10LE, AV_PIX_FMT_YUV444P12LE, AV_PIX_FMT_YUV420P16LE,
        AV_PIX_FMT_GRAY8,       AV_PIX_FMT_GRAY10LE,    AV_PIX_FMT_RGB24,
        AV_PIX_FMT_BGR24,       AV_PIX_FMT_RGBA,        AV_PIX_FMT_GBRP,
        AV_PIX_FMT_NV12,        AV_PIX_FMT_YUVA420P,    AV_PIX_FMT_YUYV422,
        AV_PIX_FMT_RGB565LE,    AV_PIX_FMT_GBRP10LE};
    static const int sizes[][2] = {{64, 48},  {37, 53}, {1, 1},  {101, 32}, {427, 28},
                                   {30, 241}, {2, 3},   {9, 14}, {6, 5},    {16, 12}};
    struct transform *transform = NULL;
    assert_int_equal(transform_open(&transform), LS_OK);
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            AVFrame *frame = images_make(formats[f], sizes[s][0], sizes[s][1], 5);
            assert_non_null(frame);
            struct crop_box all = {0, 0, frame->width, frame->height};
            struct transform_view view = view_of(frame, all, false, frame->width, frame->height);
            struct images_difference sum = {0};
            compare_with_reference(&sum, transform, frame, &view);
            if (sum.largest > 1.0)
                fail_msg("%s %d x %d: off by %g", av_get_pix_fmt_name(formats[f]), sizes[s][0],
                         sizes[s][1], sum.largest);
            av_frame_free(&frame);
        }
    transform_close(&transform);
}

/* Chroma that jumps from sample to sample shows the weights of every place, at the edges too.  With
 * fewer than 7 chroma samples swscale shortens its filter in ways that only smooth pictures bear.
 */
static void sharp_chroma_is_within_one_level_of_swscale(void **state)
{
    (void)state;
    static const int formats[] = {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV422P, AV_PIX_FMT_YUV440P,
                                  AV_PIX_FMT_YUV411P, AV_PIX_FMT_YUV410P, AV_PIX_FMT_YUVJ420P};
    static const int sizes[][2] = {{64, 48}, {37, 53}, {28, 28}, {30, 241}};
    struct transform *transform = NULL;
    assert_int_equal(transform_open(&transform), LS_OK);
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            AVFrame *frame = images_make(formats[f], sizes[s][0], sizes[s][1], 0);
            struct random_stream stream;
            assert_non_null(frame);
            random_open(&stream, 8, RANDOM_TEST, f, (uint32_t)s, 0);
            for (int p = 0; p < AV_NUM_DATA_POINTERS && frame->buf[p] != NULL; p++)
                for (size_t i = 0; i < frame->buf[p]->size; i++)
                    frame->buf[p]->data[i] = (uint8_t)(96 + random_below(&stream, 64));
            struct crop_box all = {0, 0, frame->width, frame->height};
            struct transform_view view = view_of(frame, all, false, frame->width, frame->height);
            struct images_difference sum = {0};
            compare_with_reference(&sum, transform, frame, &view);
            if (sum.largest > 1.0)
                fail_msg("%s %d x %d: off by %g", av_get_pix_fmt_name(formats[f]), sizes[s][0],
                         sizes[s][1], sum.largest);
            av_frame_free(&frame);
        }
    transform_close(&transform);
}

static void matrix_and_range_are_the_frames_own(void **state)
{
    (void)state;
    static const int spaces[] = {AVCOL_SPC_RGB,       AVCOL_SPC_BT709,     AVCOL_SPC_UNSPECIFIED,
                                 AVCOL_SPC_RESERVED,  AVCOL_SPC_FCC,       AVCOL_SPC_BT470BG,
                                 AVCOL_SPC_SMPTE170M, AVCOL_SPC_SMPTE240M, AVCOL_SPC_BT2020_NCL};
    static const int ranges[] = {AVCOL_RANGE_UNSPECIFIED, AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG};
    static const int formats[] = {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUVJ420P, AV_PIX_FMT_NV12};
    struct transform *transform = NULL;
    assert_int_equal(transform_open(&transform), LS_OK);
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        AVFrame *frame = images_make(formats[f], 64, 48, 9);
        assert_non_null(frame);
        struct crop_box all = {0, 0, 64, 48};
        struct transform_view view = view_of(frame, all, false, 64, 48);
        for (size_t s = 0; s < sizeof spaces / sizeof *spaces; s++)
            for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
                struct images_difference sum = {0};
                frame->colorspace = (enum AVColorSpace)spaces[s];
                frame->color_range = (enum AVColorRange)ranges[r];
                compare_with_reference(&sum, transform, frame, &view);
                if (sum.largest > 1.0)
                    fail_msg("%s, matrix %d, range %d: off by %g", av_get_pix_fmt_name(formats[f]),
                             spaces[s], ranges[r], sum.largest);
            }
        av_frame_free(&frame);
    }
    transform_close(&transform);
}

static struct crop_box random_box(struct random_stream *stream, int width, int height)
{
    struct crop_box box;
    box.width = 1 + (int)random_below(stream, (uint64_t)width);
    box.height = 1 + (int)random_below(stream, (uint64_t)height);
    box.left = (int)random_below(stream, (uint64_t)(width - box.width) + 1);
    box.top = (int)random_below(stream, (uint64_t)(height - box.height) + 1);
    return box;
}

/* Boxes of every place, size and ratio, up to columns left out, through one transform. */
static void crops_agree_with_the_whole_frame(void **state)
{
    (void)state;
    static const int formats[] = {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV422P10LE, AV_PIX_FMT_RGB24};
    static const int sizes[][2] = {{340, 256}, {61, 143}, {640, 90}};
    struct transform *transform = NULL;
    struct random_stream stream;
    random_open(&stream, 3, RANDOM_TEST, 0, 0, 0);
    assert_int_equal(transform_open(&transform), LS_OK);
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            AVFrame *frame = images_make(formats[f], sizes[s][0], sizes[s][1], 1);
            assert_non_null(frame);
            for (int i = 0; i < 12; i++) {
                struct images_difference sum = {0};
                struct crop_box box = random_box(&stream, frame->width, frame->height);
                int width = 1 + (int)random_below(&stream, i % 3 == 0 ? 8 : 120);
                int height = 1 + (int)random_below(&stream, 90);
                struct transform_view view = view_of(frame, box, i % 2 == 0, width, height);
                compare_with_reference(&sum, transform, frame, &view);
                if (sum.largest > 1.5) /* a level of colour, half of rounding */
                    fail_msg("%s, box %d %d %d %d to %d x %d: off by %g",
                             av_get_pix_fmt_name(formats[f]), box.left, box.top, box.width,
                             box.height, width, height, sum.largest);
            }
            av_frame_free(&frame);
        }
    transform_close(&transform);
}

static void orientation_comes_before_crop_and_flip(void **state)
{
    (void)state;
    struct transform *transform = NULL;
    struct random_stream stream;
    random_open(&stream, 4, RANDOM_TEST, 0, 0, 0);
    assert_int_equal(transform_open(&transform), LS_OK);
    AVFrame *frame = images_make(AV_PIX_FMT_RGB24, 70, 44, 2);
    assert_non_null(frame);
    for (int turns = 0; turns < 4; turns++)
        for (int mirror = 0; mirror < 2; mirror++)
            for (int i = 0; i < 6; i++) {
                struct video_orientation orientation = {turns, mirror != 0};
                AVFrame *shown = images_turned(frame, orientation);
                assert_non_null(shown);
                struct crop_box box = random_box(&stream, shown->width, shown->height);
                struct transform_view view = view_of(shown, box, i % 2 == 1, 31, 23);
                struct transform_view stored = view;
                stored.orientation = orientation;
                uint8_t expected[31 * 23 * 3];
                uint8_t got[31 * 23 * 3];
                assert_int_equal(transform_frame(transform, expected, shown, &view), LS_OK);
                assert_int_equal(transform_frame(transform, got, frame, &stored), LS_OK);
                for (int k = 0; k < 31 * 23 * 3; k++) /* float places differ by an ulp, so halves
                                                       * can round to either side */
                    if (abs(expected[k] - got[k]) > 1)
                        fail_msg("%d turns, mirror %d, value %d: %d instead of %d", turns, mirror,
                                 k, got[k], expected[k]);
                av_frame_free(&shown);
            }
    av_frame_free(&frame);
    transform_close(&transform);
}

static void frames_of_another_size_show_the_same_part(void **state)
{
    (void)state;
    struct transform *transform = NULL;
    assert_int_equal(transform_open(&transform), LS_OK);
    AVFrame *frame = images_make(AV_PIX_FMT_YUV420P, 160, 120, 2);
    AVFrame *larger = images_make(AV_PIX_FMT_YUV420P, 240, 180, 2);
    assert_non_null(frame);
    assert_non_null(larger);
    struct crop_box box = {40, 20, 80, 60};
    struct transform_view view = view_of(frame, box, false, 32, 32);
    uint8_t first[32 * 32 * 3];
    uint8_t again[32 * 32 * 3];
    uint8_t expected[32 * 32 * 3];
    uint8_t got[32 * 32 * 3];
    assert_int_equal(transform_frame(transform, first, frame, &view), LS_OK);
    assert_int_equal(transform_frame(transform, got, larger, &view), LS_OK);
    assert_int_equal(transform_frame(transform, again, frame, &view), LS_OK);
    assert_memory_equal(first, again, sizeof first);
    struct crop_box larger_box = {60, 30, 120, 90};
    view = view_of(larger, larger_box, false, 32, 32);
    assert_int_equal(transform_frame(transform, expected, larger, &view), LS_OK);
    assert_memory_equal(got, expected, sizeof got);
    av_frame_free(&frame);
    av_frame_free(&larger);
    transform_close(&transform);
}

static void empty_and_unknown_frames_are_refused(void **state)
{
    (void)state;
    struct transform *transform = NULL;
    assert_int_equal(transform_open(&transform), LS_OK);
    uint8_t pixel[3] = {0};
    struct crop_box box = {0, 0, 1, 1};
    AVFrame frame = {.format = AV_PIX_FMT_YUV420P, .width = 1, .height = 1};
    struct transform_view view = view_of(&frame, box, false, 1, 1);
    assert_int_equal(transform_frame(transform, pixel, &frame, &view), LS_DATA);
    frame.data[0] = pixel;
    frame.linesize[0] = 3;
    frame.format = AV_PIX_FMT_VAAPI;
    assert_int_equal(transform_frame(transform, pixel, &frame, &view), LS_DATA);
    assert_non_null(strstr(status_message(), "vaapi"));
    transform_close(&transform);
}

/* The same bits with and without AVX2: a draw hash must not depend on the machine. */
static void instruction_sets_agree_bit_for_bit(void **state)
{
    (void)state;
    const struct rows_kernels *sets[2] = {rows_kernels_base(), rows_kernels()};
    if (sets[0] == sets[1])
        skip();
    enum { N = 173 };
    struct random_stream stream;
    random_open(&stream, 5, RANDOM_TEST, 0, 0, 0);
    int16_t samples[8][2 * N + 8];
    uint8_t bytes[N];
    int32_t places[2][N];
    float weights[N];
    for (int i = 0; i < 2 * N + 8; i++)
        for (int k = 0; k < 8; k++)
            samples[k][i] = (int16_t)(random_u32(&stream) & 0x7FFF);
    for (int i = 0; i < N; i++) {
        bytes[i] = (uint8_t)random_u32(&stream);
        places[0][i] = (int32_t)random_below(&stream, N);
        places[1][i] = (int32_t)random_below(&stream, N);
        weights[i] = (float)random_unit(&stream);
    }
    const struct rows_chroma chroma = {{samples[0], samples[1], samples[2], samples[3]},
                                       {samples[4], samples[5], samples[6], samples[7]},
                                       {-115, 986, 3571, -346}};
    const struct rows_matrix matrix = {1024, 9539, 13075, -3209, -6660, 16525};
    static const int16_t left[] = {-461, 3942, 14285, -1382};
    static const int16_t right[] = {-1382, 14285, 3942, -461};
    int16_t wide[2][2 * N];
    int16_t doubled[2][2 * N];
    uint32_t pixels[2][N];
    float blended[2][3 * N + 1];
    uint8_t out[2][3 * N];
    int16_t luma[N];
    for (int s = 0; s < 2; s++) {
        sets[s]->widen8(wide[s], bytes, N, 7);
        sets[s]->widen16(wide[s] + N, (const uint16_t *)(const void *)samples[0], N, -1);
        sets[s]->upsample2(doubled[s], samples[1], N, left, right);
        sets[0]->widen8(luma, bytes, N, 6);
        sets[s]->matrix(pixels[s], luma, &chroma, &matrix, N);
        sets[s]->blend_across(blended[s], pixels[s], places[0], places[1], weights, N);
        sets[s]->blend_down(out[s], blended[s], blended[s] + 3, 0.3F, 3 * N - 3);
        memset(&out[s][3 * N - 3], 0, 3);
    }
    assert_memory_equal(wide[0], wide[1], sizeof wide[0]);
    assert_memory_equal(doubled[0], doubled[1], sizeof doubled[0]);
    assert_memory_equal(pixels[0], pixels[1], sizeof pixels[0]);
    assert_memory_equal(blended[0], blended[1], sizeof blended[0]);
    assert_memory_equal(out[0], out[1], sizeof out[0]);
}

struct real_check {
    struct transform *transform;
    struct random_stream stream;
    struct images_difference sum;
    int frames;
};

static ls_status check_real_frame(void *context, int64_t number, const AVFrame *frame)
{
    struct real_check *check = context;
    if (number % 4 != 0)
        return LS_OK;
    static const double scale[2] = {0.3, 1.0};
    static const double ratio[2] = {0.75, 1.35};
    struct crop_box box = crop_draw(&check->stream, scale, ratio, frame->width, frame->height);
    struct transform_view view = view_of(frame, box, crop_draw_flip(&check->stream), 160, 160);
    compare_with_reference(&check->sum, check->transform, frame, &view);
    check->frames++;
    return LS_OK;
}

/* Every real file, ordinary and awkward, that has frames: within the bounds of whole clips. */
static void real_files_match_swscale_and_bilinear(void **state)
{
    (void)state;
    static const char *const folders[] = {"clean", "awkward"};
    const char *shared = getenv("SHARED");
    int files = 0;
    struct transform *transform = NULL;
    assert_int_equal(transform_open(&transform), LS_OK);
    for (int f = 0; f < 2; f++) {
        char folder[512];
        char **names = NULL;
        size_t count = 0;
        (void)snprintf(folder, sizeof folder, "%s/videos/%s", shared != NULL ? shared : "../shared",
                       folders[f]);
        if (files_list(&names, &count, folder) != LS_OK)
            continue;
        for (size_t i = 0; i < count; i++) {
            char path[1024];
            struct real_check check = {.transform = transform};
            random_open(&check.stream, 6, RANDOM_TEST, i, 0, 0);
            (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
            if (images_decode(path, 9, check_real_frame, &check) == LS_OK && check.frames > 0) {
                expect_close(&check.sum, 0.5, 0.999, names[i]);
                files++;
            }
        }
        files_list_free(&names, count);
    }
    transform_close(&transform);
    if (files == 0)
        skip();
    assert_true(files >= 24);
}

int main(void)
{
    av_log_set_level(AV_LOG_QUIET);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_equal_the_public_transform),
        cmocka_unit_test(colours_are_within_one_level_of_swscale),
        cmocka_unit_test(sharp_chroma_is_within_one_level_of_swscale),
        cmocka_unit_test(matrix_and_range_are_the_frames_own),
        cmocka_unit_test(crops_agree_with_the_whole_frame),
        cmocka_unit_test(orientation_comes_before_crop_and_flip),
        cmocka_unit_test(frames_of_another_size_show_the_same_part),
        cmocka_unit_test(empty_and_unknown_frames_are_refused),
        cmocka_unit_test(instruction_sets_agree_bit_for_bit),
        cmocka_unit_test(real_files_match_swscale_and_bilinear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
