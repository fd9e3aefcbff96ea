/* A decoder of FFmpeg for one stored video: single-threaded, and every call into it contained
 * (data/av.h), so that packets which lead it into an assertion of FFmpeg cost no more than the
 * video. */
#ifndef LOCKSTEP_DATA_DECODER_H
#define LOCKSTEP_DATA_DECODER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "data/records.h"

struct AVCodecContext;
struct AVPacket;
struct AVFrame;

/* `blob` is what the video's references point into, checked; `path` is for messages.  Local.
 * Errors: LS_DATA when this FFmpeg has no such decoder or refuses the parameters; LS_NOMEM. */
ls_status decoder_open(struct AVCodecContext **out, const struct video_record *video,
                       const uint8_t *blob, const char *path) LS_MUST_CHECK;
void decoder_close(struct AVCodecContext **decoder);

/* avcodec_send_packet (NULL: no more follow) and avcodec_receive_frame, whose result goes to
 * `*result`.  False when FFmpeg broke off, by the assertion that av_log_first() tells: the decoder
 * is closed then.  Local. */
bool decoder_send(int *result, struct AVCodecContext **decoder,
                  const struct AVPacket *packet) LS_MUST_CHECK;
bool decoder_receive(int *result, struct AVCodecContext **decoder,
                     struct AVFrame *frame) LS_MUST_CHECK;

#endif
