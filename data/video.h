/* A source file opened for packing: its video stream's parameters and packets.  The one place that
 * knows what demuxing with FFmpeg needs.
 *
 * The file is read through our own I/O: names are never taken for URLs, patterns or protocols, a
 * playlist cannot make FFmpeg open other files, and the bytes read are counted against a budget. */
#ifndef LOCKSTEP_DATA_VIDEO_H
#define LOCKSTEP_DATA_VIDEO_H

#include <libavcodec/avcodec.h>
#include <stdint.h>

#include "core/status.h"

struct video;

struct video_stream {
    const char *container; /* demuxer name */
    const AVCodecParameters *parameters;
    const AVPacketSideData *side_data;
    int side_data_count;
    AVRational time_base, average_rate, real_rate;
    int64_t start_time, duration; /* AV_NOPTS_VALUE: unknown */
};

/* Open a file and choose its first video stream that is no attached picture or thumbnail (FFmpeg's
 * 0:V:0).  Local.  Errors: LS_DATA with a reason a person understands, as `PATH: reason`: empty
 * file, cannot be opened, no video stream, text, playlist; LS_IO when the system refuses to read.
 */
ls_status video_open(struct video **out, const char *path) LS_MUST_CHECK;
void video_close(struct video **video);

/* Borrowed until video_close.  Local. */
struct video_stream video_stream(const struct video *video);

/* Next packet of the stream in decode order; the caller unrefs it.  LS_EOF at the end;
 * video_damaged then tells whether the end was an error.  Local.  Errors: LS_DATA when the file
 * makes the demuxer read without end, LS_NOMEM. */
ls_status video_read(struct video *video, AVPacket *packet) LS_MUST_CHECK;
int video_damaged(const struct video *video);

#endif
