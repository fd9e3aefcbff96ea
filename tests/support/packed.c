/* Made videos and their packing. */
#include "tests/support/packed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "tests/support/make_video.h"

enum { WIDTH = 96, HEIGHT = 64, FRAMES = 40, FPS = 25, HIDDEN = 7 };

enum kind {
    CLOSED_GOP,
    OPEN_GOP,
    INTRA_REFRESH,
    ONE_KEY,
    NO_TIMES,
    MPEG4_AVI,
    XVID_AVI,
    MPEG2_TS,
    ALT_REF_VP8,
    ALT_REF_VP9,
    INTRA_ONLY,
    EDIT_LIST,
    VARIABLE_RATE,
    ODD_444,
    HEVC_OPEN,
    TURNED,
    ANIMATION,
    LOSSLESS,
    STILL_JPG,
    STILL_PNG,
    KINDS
};

const struct packed_kind packed_kinds[] = {
    [CLOSED_GOP] = {"closed_gop.mp4", "libx264"},
    [OPEN_GOP] = {"open_gop.mkv", "libx264"},
    [INTRA_REFRESH] = {"intra_refresh.mkv", "libx264"},
    [ONE_KEY] = {"one_key.mp4", "libx264"},
    [NO_TIMES] = {"no_times.h264", "libx264"},
    [MPEG4_AVI] = {"mpeg4.avi", "mpeg4"},
    [XVID_AVI] = {"packed_b_frames.avi", "libxvid"},
    [MPEG2_TS] = {"mpeg2.ts", "mpeg2video"},
    [ALT_REF_VP8] = {"alt_ref_vp8.webm", "libvpx"},
    [ALT_REF_VP9] = {"alt_ref_vp9.webm", "libvpx-vp9"},
    [INTRA_ONLY] = {"intra_only.avi", "mjpeg"},
    [EDIT_LIST] = {"edit_list.mp4", "libx264"},
    [VARIABLE_RATE] = {"variable_rate.mp4", "libx264"},
    [ODD_444] = {"odd_444.mkv", "libx264"},
    [HEVC_OPEN] = {"hevc_open.mp4", "libx265"},
    [TURNED] = {"turned.mp4", "libx264"},
    [ANIMATION] = {"animation.gif", "gif"},
    [LOSSLESS] = {"lossless.mkv", "ffv1"},
    [STILL_JPG] = {"still.jpg", "mjpeg"},
    [STILL_PNG] = {"still.png", "png"},
};
const int packed_kind_count = KINDS;

ls_status packed_open(struct packed *out)
{
    ls_status st = LS_OK;
    const char *base = getenv("TMPDIR");
    *out = (struct packed){.folder = ""};
    (void)snprintf(out->folder, sizeof out->folder, "%.30s/lockstep-packed.XXXXXX",
                   base != NULL && strlen(base) <= 30 ? base : "/tmp");
    if (mkdtemp(out->folder) == NULL)
        return LS_FAIL(LS_IO, "%s: cannot make", out->folder);
    (void)snprintf(out->videos, sizeof out->videos, "%s/videos", out->folder);
    (void)snprintf(out->dataset, sizeof out->dataset, "%s/dataset", out->folder);
    LS_TRY(files_make_folder(out->videos));
done:
    return st;
}

ls_status packed_close(struct packed *packed)
{
    return files_remove(packed->folder);
}

ls_status packed_write(const struct packed *packed, const char *name, const void *data,
                       size_t bytes)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", packed->videos, name);
    return files_replace(path, data, bytes);
}

/* x264 decides by itself where to put key frames unless told not to. */
#define X264 "preset=veryfast:x264-params=scenecut=0\\:mbtree=0"

static void describe_x264(struct make_video *what, int kind)
{
    what->gop = 12;
    what->b_frames = 3;
    what->options = X264;
    switch (kind) {
    case OPEN_GOP:
        what->options = X264 "\\:open-gop=1";
        break;
    case INTRA_REFRESH:
        what->options = X264 "\\:intra-refresh=1";
        what->b_frames = 0;
        break;
    case ONE_KEY:
        what->gop = 250;
        break;
    case NO_TIMES:
        what->muxer = "h264";
        break;
    case ODD_444:
        what->width = 35;
        what->height = 27;
        what->format = "yuv444p";
        break;
    default:
        break;
    }
}

static void describe(struct make_video *what, int kind, int64_t *times)
{
    static const int32_t quarter_clockwise[9] = {0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30};
    if (strcmp(what->encoder, "libx264") == 0)
        describe_x264(what, kind);
    for (int n = 0; n < FRAMES; n++)
        times[n] = kind == EDIT_LIST ? n - HIDDEN : 2 * n + (n % 3 == 1);
    if (kind == EDIT_LIST || kind == VARIABLE_RATE)
        what->times = times;
    switch (kind) {
    case MPEG4_AVI:
    case XVID_AVI:
    case MPEG2_TS:
        what->gop = 9;
        what->b_frames = 2;
        break;
    case ALT_REF_VP8:
    case ALT_REF_VP9:
        what->gop = 16;
        what->options = "auto-alt-ref=1:lag-in-frames=12:deadline=realtime:cpu-used=8:b=60000";
        break;
    case INTRA_ONLY:
    case STILL_JPG:
        what->format = "yuvj420p";
        break;
    case HEVC_OPEN:
        what->options = "preset=ultrafast:x265-params=log-level=none\\:pools=none\\:"
                        "frame-threads=1\\:open-gop=1\\:keyint=12\\:bframes=3";
        break;
    case TURNED:
        what->display_matrix = quarter_clockwise;
        break;
    case ANIMATION:
        what->format = "gray";
        break;
    case STILL_PNG:
        what->format = "rgb24";
        break;
    default:
        break;
    }
    if (kind == STILL_JPG || kind == STILL_PNG) {
        what->muxer = "image2";
        what->frames = 1;
    }
}

ls_status packed_make(const struct packed *packed, int kind, const char *name)
{
    char path[256];
    int64_t times[FRAMES];
    const struct packed_kind *wanted = &packed_kinds[kind];
    (void)snprintf(path, sizeof path, "%s/%s", packed->videos, name != NULL ? name : wanted->name);
    struct make_video what = {.path = path,
                              .encoder = wanted->encoder,
                              .width = WIDTH,
                              .height = HEIGHT,
                              .frames = FRAMES,
                              .fps = FPS};
    describe(&what, kind, times);
    return make_video(&what);
}

ls_status packed_make_all(const struct packed *packed)
{
    ls_status st = LS_OK;
    for (int kind = 0; kind < KINDS; kind++)
        if (make_video_can(packed_kinds[kind].encoder))
            LS_TRY(packed_make(packed, kind, NULL));
done:
    return st;
}

ls_status packed_pack(struct pack_summary *out, const struct packed *packed, int jobs,
                      uint64_t shard_bytes)
{
    const char *inputs[] = {packed->videos};
    const struct pack_options options = {.inputs = inputs,
                                         .input_count = 1,
                                         .output = packed->dataset,
                                         .jobs = jobs,
                                         .shard_bytes = shard_bytes};
    return pack_run(out, &options);
}
