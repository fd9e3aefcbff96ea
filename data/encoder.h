/* H.264 by libx264: the same frames and options give the same packets, on any processor.
 *
 * Tuned for decoding: no arithmetic coding and no deblocking, which halves what a frame costs to
 * decode (measured: 67 ms a clip at crf 20 where crf 18 with both took 148 and the sources 120).
 * One thread; `cpu-independent`; no macroblock trees, which read uninitialised memory in x264 164
 * at small sizes and then give other bytes from run to run. */
#ifndef LOCKSTEP_DATA_ENCODER_H
#define LOCKSTEP_DATA_ENCODER_H

#include <libavcodec/avcodec.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

/* What is said to the library beside size, format, colours and rate, in FFmpeg's words. */
#define ENCODER_OPTIONS                                                                            \
    "preset=fast,tune=fastdecode,crf=22,forced-idr=1,"                                             \
    "x264-params=mbtree=0:cpu-independent=1:lookahead-threads=1"

struct encoder;

struct encoder_setup {
    int width, height; /* of the result; frames of another size are scaled (bicubic) */
    AVRational rate;   /* frames/s, for the rate control */
    AVRational sample_aspect;
    const char *name; /* of the video, for messages; borrowed */
};

/* Whether this FFmpeg has the library.  Local. */
bool encoder_exists(void);

/* Whether it takes a pixel format: 8 and 10 bits, grey, 4:2:0, 4:2:2 and 4:4:4.  Local. */
bool encoder_takes(enum AVPixelFormat format);

/* Open for frames like `first`, whose pixel format and colours the result has.  Local.  Errors:
 * LS_DATA when the library refuses; LS_NOMEM. */
ls_status encoder_open(struct encoder **out, const struct encoder_setup *setup,
                       const AVFrame *first) LS_MUST_CHECK;
void encoder_close(struct encoder **encoder);

/* Give the next frame, which comes out as a key frame if `key`; NULL after the last.  Local.
 * Errors: LS_DATA, LS_NOMEM. */
ls_status encoder_send(struct encoder *encoder, const AVFrame *frame, bool key) LS_MUST_CHECK;

/* The next packet in decode order, borrowed until the next call: pts and dts are numbers of frames,
 * dts below 0 at the beginning.  LS_EOF when there is none at present.  Local.  Errors: LS_DATA,
 * LS_NOMEM. */
ls_status encoder_receive(struct encoder *encoder, const AVPacket **out) LS_MUST_CHECK;

/* The stream's parameters.  Local.  Errors: LS_NOMEM. */
ls_status encoder_parameters(const struct encoder *encoder, AVCodecParameters *out) LS_MUST_CHECK;

#endif
