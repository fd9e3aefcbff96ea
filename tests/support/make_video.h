/* Makes small videos of every awkward kind with the FFmpeg libraries: the content is a moving
 * pattern, a function of frame number and place, so that every frame differs from every other. */
#ifndef LOCKSTEP_TESTS_SUPPORT_MAKE_VIDEO_H
#define LOCKSTEP_TESTS_SUPPORT_MAKE_VIDEO_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

struct make_video {
    const char *path;    /* the container follows from its ending */
    const char *muxer;   /* or from here */
    const char *encoder; /* FFmpeg's name: libx264, mpeg4, mjpeg, png, libvpx-vp9 ... */
    const char *options; /* of the encoder: "key=value:key=value" */
    const char *format;  /* pixel format; NULL: yuv420p */
    int width, height, frames;
    int fps;                       /* time base is 1 / fps */
    const int64_t *times;          /* [frames] in 1/fps; NULL: 0, 1, 2 ... */
    int gop, b_frames;             /* 0: the encoder's own */
    const int32_t *display_matrix; /* [9]; NULL: none */
    bool cover;                    /* the stream is marked as an attached picture */
};

/* Whether FFmpeg has the encoder.  Local. */
bool make_video_can(const char *encoder);

/* Write the file.  Local.  Errors: LS_FAILED naming the step that FFmpeg refused. */
ls_status make_video(const struct make_video *what) LS_MUST_CHECK;

#endif
