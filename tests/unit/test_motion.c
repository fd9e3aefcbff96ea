/* The labelled motion videos: what the demo's data promises, before and after the encoder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/motion.h"
#include "tests/support/movie.h"

enum { PIXELS = MOTION_SIZE * MOTION_SIZE, CLIP = MOTION_FRAMES * PIXELS };

static struct motion *motion;
static uint8_t clip[CLIP], other[CLIP];

static int open_motion(void **state)
{
    (void)state;
    av_log_set_level(AV_LOG_ERROR);
    return motion_open(&motion) != LS_OK;
}

static int close_motion(void **state)
{
    (void)state;
    motion_close(&motion);
    return 0;
}

static double frame_mean(const uint8_t *frame)
{
    double sum = 0;
    for (int i = 0; i < PIXELS; i++)
        sum += frame[i];
    return sum / PIXELS;
}

static double frame_deviation(const uint8_t *frame)
{
    double mean = frame_mean(frame);
    double squares = 0;
    for (int i = 0; i < PIXELS; i++)
        squares += (frame[i] - mean) * (frame[i] - mean);
    return sqrt(squares / PIXELS);
}

/* Exact before clipping to 0..255, 2.8 deviations away: over 16,000 other frames means were 127.5
 * to 128.4, deviations 43.2 to 45.02 and 44.84 on average. */
static void frames_tell_nothing_by_brightness_or_contrast(void **state)
{
    (void)state;
    for (uint64_t number = 0; number < 40; number++) {
        motion_draw(motion, clip, 1, number);
        for (int t = 0; t < MOTION_FRAMES; t++) {
            double mean = frame_mean(clip + t * PIXELS);
            double deviation = frame_deviation(clip + t * PIXELS);
            if (fabs(mean - 128.0) > 1.0 || deviation < 43.0 || deviation > 45.1)
                fail_msg("clip %d frame %d: mean %.2f, deviation %.2f", (int)number, t, mean,
                         deviation);
        }
    }
}

static void clips_depend_on_seed_and_number_alone(void **state)
{
    (void)state;
    motion_draw(motion, clip, 7, 3);
    motion_draw(motion, other, 7, 4);
    assert_memory_not_equal(clip, other, CLIP);
    motion_draw(motion, other, 8, 3);
    assert_memory_not_equal(clip, other, CLIP);
    motion_draw(motion, other, 7, 3);
    assert_memory_equal(clip, other, CLIP);
}

static void eight_clips_in_a_row_have_all_labels(void **state)
{
    (void)state;
    int seen = 0;
    for (uint64_t number = 5; number < 5 + MOTION_LABELS; number++)
        seen |= 1 << motion_label(number);
    assert_int_equal(seen, (1 << MOTION_LABELS) - 1);
}

/* Sum over all pairs of frames of the products of pixels that a drift in `direction` would bring
 * over each other. */
static double agreement(const uint8_t *frames, int direction)
{
    double angle = direction * acos(-1.0) / 4.0;
    int dx = (int)lround(MOTION_SPEED * cos(angle));
    int dy = (int)lround(MOTION_SPEED * sin(angle));
    double sum = 0;
    for (int t = 0; t + 1 < MOTION_FRAMES; t++) {
        const uint8_t *now = frames + t * PIXELS;
        const uint8_t *next = now + PIXELS;
        for (int y = 4; y < MOTION_SIZE - 4; y++)
            for (int x = 4; x < MOTION_SIZE - 4; x++)
                sum += (now[y * MOTION_SIZE + x] - 128.0) *
                       (next[(y + dy) * MOTION_SIZE + x + dx] - 128.0);
    }
    return sum;
}

static void the_label_is_the_direction_of_drift(void **state)
{
    (void)state;
    int right = 0;
    for (uint64_t number = 0; number < 64; number++) {
        motion_draw(motion, clip, 2, number);
        int best = 0;
        for (int direction = 1; direction < MOTION_LABELS; direction++)
            if (agreement(clip, direction) > agreement(clip, best))
                best = direction;
        right += best == motion_label(number);
    }
    assert_in_range(right, 61, 64); /* chance: 8 */
}

/* Decode all frames' luma of a file into `out` as full-range grey; the number of frames. */
static int decode(uint8_t *out, const char *path, AVRational *rate)
{
    AVFormatContext *container = NULL;
    assert_int_equal(avformat_open_input(&container, path, NULL, NULL), 0);
    assert_true(avformat_find_stream_info(container, NULL) >= 0);
    AVStream *stream = container->streams[0];
    *rate = stream->avg_frame_rate;
    const AVCodec *codec = avcodec_find_decoder(stream->codecpar->codec_id);
    AVCodecContext *decoder = avcodec_alloc_context3(codec);
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    assert_true(avcodec_parameters_to_context(decoder, stream->codecpar) >= 0);
    assert_int_equal(avcodec_open2(decoder, codec, NULL), 0);
    int count = 0;
    for (int end = 0; !end;) {
        end = av_read_frame(container, packet) < 0;
        assert_int_equal(avcodec_send_packet(decoder, end ? NULL : packet), 0);
        av_packet_unref(packet);
        while (count < MOTION_FRAMES && avcodec_receive_frame(decoder, frame) == 0) {
            for (int i = 0; i < PIXELS; i++) {
                int luma = frame->data[0][i / MOTION_SIZE * frame->linesize[0] + i % MOTION_SIZE];
                double grey = fmin(fmax((luma - 16) * 255.0 / 219.0, 0.0), 255.0);
                out[count * PIXELS + i] = (uint8_t)lround(grey);
            }
            count++;
        }
    }
    av_frame_free(&frame);
    av_packet_free(&packet);
    avcodec_free_context(&decoder);
    avformat_close_input(&container);
    return count;
}

/* 34 dB: the noise of the codec is below a twentieth of the contrast. */
static void files_keep_the_frames(void **state)
{
    (void)state;
    char path[] = "/tmp/lockstep-test-motion-XXXXXX.mp4";
    int file = mkstemps(path, 4);
    assert_true(file >= 0);
    (void)close(file);
    motion_draw(motion, clip, 3, 11);
    assert_int_equal(movie_write_grey(path, clip, MOTION_FRAMES, MOTION_SIZE, MOTION_SIZE, 8),
                     LS_OK);
    AVRational rate;
    int count = decode(other, path, &rate);
    (void)unlink(path);
    assert_int_equal(count, MOTION_FRAMES);
    assert_int_equal(rate.num, 8 * rate.den);
    double squares = 0;
    for (int i = 0; i < CLIP; i++)
        squares += (clip[i] - other[i]) * (clip[i] - other[i]);
    double decibel = 10.0 * log10(255.0 * 255.0 * CLIP / squares);
    if (decibel < 34.0)
        fail_msg("%.1f dB", decibel);
}

static void a_file_that_cannot_be_written_is_named(void **state)
{
    (void)state;
    motion_draw(motion, clip, 3, 11);
    ls_status st =
        movie_write_grey("/nonexistent/a.mp4", clip, MOTION_FRAMES, MOTION_SIZE, MOTION_SIZE, 8);
    assert_int_equal(st, LS_IO);
    assert_non_null(strstr(status_message(), "/nonexistent/a.mp4"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_tell_nothing_by_brightness_or_contrast),
        cmocka_unit_test(clips_depend_on_seed_and_number_alone),
        cmocka_unit_test(eight_clips_in_a_row_have_all_labels),
        cmocka_unit_test(the_label_is_the_direction_of_drift),
        cmocka_unit_test(files_keep_the_frames),
        cmocka_unit_test(a_file_that_cannot_be_written_is_named),
    };
    return cmocka_run_group_tests(tests, open_motion, close_motion);
}
