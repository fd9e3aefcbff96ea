/* Made by FFmpeg's encoders and muxers, then cut, joined and overwritten. */
#include "tests/support/special.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libavcodec/packet.h>

#include "core/files.h"
#include "tests/support/make_video.h"
#include "tests/support/remux.h"

enum { FRAMES = SPECIAL_FRAMES, FPS = SPECIAL_FPS, GOP = 8, PATH_BYTES = 160 };

static const struct packed *folders;

static const char *at(const char *name)
{
    static char paths[8][PATH_BYTES];
    static int next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, PATH_BYTES, "%s/%s", folders->videos, name);
    return path;
}

/* Inputs of other files are made beside the folder that is packed. */
static const char *piece(const char *name)
{
    static char paths[8][PATH_BYTES];
    static int next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, PATH_BYTES, "%s/%s", folders->folder, name);
    return path;
}

static void make(const char *path, const char *encoder, struct make_video what)
{
    what.path = path;
    what.encoder = encoder;
    what.width = what.width > 0 ? what.width : 96;
    what.height = what.height > 0 ? what.height : 64;
    what.frames = what.frames > 0 ? what.frames : FRAMES;
    what.fps = what.fps > 0 ? what.fps : FPS;
    what.gop = what.gop > 0 ? what.gop : GOP;
    if (make_video(&what) != LS_OK)
        fail_msg("%s", status_message());
}

static void put(const char *path, const char *input, const char *options,
                bool (*edit)(struct AVPacket *, int, int64_t))
{
    const struct remux what = {
        .path = path, .inputs = {input}, .options = options, .cover = -1, .edit = edit};
    if (remux(&what) != LS_OK)
        fail_msg("%s", status_message());
}

/* Two files, one behind the other; `second` NULL: only a share of the first. */
static void join(const char *path, const char *first, const char *second, double share)
{
    char *parts[2] = {NULL, NULL};
    size_t bytes[2] = {0, 0};
    assert_int_equal(files_read(&parts[0], &bytes[0], first, 1 << 24), LS_OK);
    if (second != NULL)
        assert_int_equal(files_read(&parts[1], &bytes[1], second, 1 << 24), LS_OK);
    bytes[0] = (size_t)(share * (double)bytes[0]);
    char *both = malloc(bytes[0] + bytes[1] + 1);
    assert_non_null(both);
    memcpy(both, parts[0], bytes[0]);
    if (second != NULL)
        memcpy(both + bytes[0], parts[1], bytes[1]);
    assert_int_equal(files_replace(path, both, bytes[0] + bytes[1]), LS_OK);
    free(parts[0]);
    free(parts[1]);
    free(both);
}

static void overwrite(const char *path, double share, const void *data, size_t count)
{
    char *content = NULL;
    size_t bytes = 0;
    assert_int_equal(files_read(&content, &bytes, path, 1 << 24), LS_OK);
    size_t place = share < 1 ? (size_t)(share * (double)bytes) : (size_t)share;
    assert_true(place + count <= bytes);
    memcpy(content + place, data, count);
    assert_int_equal(files_replace(path, content, bytes), LS_OK);
    free(content);
}

#define X264 "preset=veryfast:x264-params=scenecut=0"

static bool leave_out_first(struct AVPacket *packet, int input, int64_t number)
{
    (void)packet;
    (void)input;
    return number >= 2;
}

static bool leave_out_first_gop(struct AVPacket *packet, int input, int64_t number)
{
    (void)packet;
    (void)input;
    return number >= GOP;
}

static bool leave_out_all_but_last(struct AVPacket *packet, int input, int64_t number)
{
    (void)packet;
    (void)input;
    return number == FRAMES - 1;
}

static bool leave_out_all(struct AVPacket *packet, int input, int64_t number)
{
    (void)packet;
    (void)input;
    (void)number;
    return false;
}

static bool all_at_once(struct AVPacket *packet, int input, int64_t number)
{
    (void)input;
    (void)number;
    packet->pts = packet->dts = 0;
    return true;
}

static void make_streams(void)
{
    make(at("interlaced.ts"), "mpeg2video", (struct make_video){.options = "flags=+ildct+ilme"});
    make(at("interlaced.mkv"), "libx264", (struct make_video){.options = X264 ":flags=+ildct"});
    make(at("anamorphic.mp4"), "libx264", (struct make_video){.options = X264 ":aspect=64/45"});
    make(at("fast.mp4"), "libx264", (struct make_video){.options = X264, .fps = 1000});
    make(at("b_frames.avi"), "libx264", (struct make_video){.options = X264, .b_frames = 2});
    make(piece("a.mkv"), "libx264", (struct make_video){.options = X264, .b_frames = 2});
    make(piece("small.mkv"), "libx264",
         (struct make_video){.options = X264, .width = 64, .height = 48});
    make(piece("open.mkv"), "libx264",
         (struct make_video){.options = X264 "\\:open-gop=1", .b_frames = 2});
    make(piece("refresh.mkv"), "libx264",
         (struct make_video){.options = X264 "\\:intra-refresh=1\\:bframes=0"});
    make(piece("intra.mkv"), "mjpeg", (struct make_video){.format = "yuvj420p"});
    make(piece("cover.png"), "png",
         (struct make_video){.format = "rgb24", .muxer = "image2", .frames = 1});
    make(piece("vp8.webm"), "libvpx", (struct make_video){.options = "deadline=realtime"});
    put(at("no_key.mkv"), piece("a.mkv"), NULL, leave_out_first);
    put(at("open_gop_start.mkv"), piece("open.mkv"), NULL, leave_out_first_gop);
    put(at("recovery_start.mkv"), piece("refresh.mkv"), NULL, leave_out_first_gop);
    put(at("no_packets.mkv"), piece("a.mkv"), NULL, leave_out_all);
    put(at("only_last.mkv"), piece("a.mkv"), NULL, leave_out_all_but_last);
    put(at("same_time.mkv"), piece("intra.mkv"), NULL, all_at_once);
    put(at("live.webm"), piece("vp8.webm"), "live=1", NULL);
    const struct remux two = {
        .path = at("two_streams.mkv"), .inputs = {piece("a.mkv"), piece("small.mkv")}, .cover = -1};
    assert_int_equal(remux(&two), LS_OK);
    const struct remux cover = {
        .path = at("cover_first.mp4"), .inputs = {piece("cover.png"), piece("a.mkv")}, .cover = 0};
    assert_int_equal(remux(&cover), LS_OK);
}

static void make_times(void)
{
    int64_t times[FRAMES];
    const int64_t wrap = ((int64_t)1 << 33) * FPS / 90000;
    for (int n = 0; n < FRAMES; n++)
        times[n] = n - 10;
    make(at("negative.nut"), "mpeg4", (struct make_video){.times = times});
    for (int n = 0; n < FRAMES; n++)
        times[n] = wrap - 60 + 5 * n;
    make(at("wrap.ts"), "mpeg2video", (struct make_video){.times = times});
    for (int n = 0; n < FRAMES; n++)
        times[n] = n + 1000;
    make(piece("later.ts"), "mpeg2video", (struct make_video){.times = times});
    make(piece("a.ts"), "mpeg2video", (struct make_video){.width = 96});
    make(piece("small.ts"), "mpeg2video", (struct make_video){.width = 64, .height = 48});
    join(at("again.ts"), piece("a.ts"), piece("a.ts"), 1);
    join(at("gap.ts"), piece("a.ts"), piece("later.ts"), 1);
    join(at("other_size.ts"), piece("a.ts"), piece("small.ts"), 1);
}

static void make_formats(void)
{
    make(at("high_422.mkv"), "libx264",
         (struct make_video){.options = X264, .format = "yuv422p10le"});
    /* Lossless, since swscale's 32 bits overflow where luma and chroma are both near 255. */
    make(at("high_444.mkv"), "libx264",
         (struct make_video){.options = X264 ":qp=0", .format = "yuv444p"});
    make(at("gray.mkv"), "libx264", (struct make_video){.options = X264, .format = "gray"});
    make(at("gray_16.mkv"), "ffv1", (struct make_video){.format = "gray16le"});
    make(at("alpha.mkv"), "ffv1", (struct make_video){.format = "yuva420p"});
    make(at("alpha.mov"), "png", (struct make_video){.format = "rgba"});
    make(at("odd.webm"), "libvpx",
         (struct make_video){.options = "deadline=realtime", .width = 37, .height = 29});
    make(at("one_pixel.mkv"), "ffv1",
         (struct make_video){.format = "yuv420p", .width = 1, .height = 1});
    make(at("full_range.mp4"), "libx264",
         (struct make_video){.options = X264, .format = "yuvj420p"});
    make(at("bt709.mp4"), "libx264", (struct make_video){.options = X264 ":colorspace=bt709"});
    make(at("hdr.mkv"), "libx264",
         (struct make_video){.options = X264 ":color_trc=smpte2084:colorspace=bt2020nc",
                             .format = "yuv420p10le"});
}

static void make_damage(void)
{
    static const uint8_t nothing[600] = {0};
    static const uint8_t few[4] = {5, 0, 0, 0};
    static const uint8_t wav[] = "RIFF\x44\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x40\x1f\0\0"
                                 "\1\0\x08\0data\x20\0\0\0"
                                 "0123456789abcdef0123456789abcdef";
    make(piece("mpeg4.avi"), "mpeg4", (struct make_video){.b_frames = 1});
    join(at("damaged.avi"), piece("mpeg4.avi"), NULL, 1);
    overwrite(at("damaged.avi"), 0.5, nothing, sizeof nothing);
    join(at("cut.avi"), piece("mpeg4.avi"), NULL, 0.6);
    join(at("count_of_5.avi"), piece("mpeg4.avi"), NULL, 1);
    overwrite(at("count_of_5.avi"), 48, few, sizeof few);  /* avih: dwTotalFrames */
    overwrite(at("count_of_5.avi"), 140, few, sizeof few); /* strh: dwLength */
    join(at("cut.mp4"), at("anamorphic.mp4"), NULL, 0.6);
    join(at("empty.mkv"), at("anamorphic.mp4"), NULL, 0);
    assert_int_equal(packed_write(folders, "sound.wav", wav, sizeof wav - 1), LS_OK);
    make(at("one_frame.mp4"), "libx264", (struct make_video){.options = X264, .frames = 1});
}

const char *special_lacks(void)
{
    static const char *const needed[] = {"libx264", "libvpx", "mpeg2video", "mpeg4",
                                         "mjpeg",   "ffv1",   "png"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!make_video_can(needed[i]))
            return needed[i];
    return NULL;
}

void special_make(const struct packed *into)
{
    folders = into;
    make_streams();
    make_times();
    make_formats();
    make_damage();
}
