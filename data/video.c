/* Demuxing.  FFmpeg's traps that this file knows:
 *  - avformat takes "img%03d.png", "a:b.mp4" and playlists for something else than a file; with our
 *    own AVIOContext and a refusing io_open it cannot;
 *  - text files with some endings are "videos" of the ansi decoder;
 *  - a cover picture is a video stream;
 *  - a broken index can make a demuxer seek in circles: the bytes read are limited. */
#include "data/video.h"

#include <errno.h>
#include <fcntl.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files.h"
#include "data/av.h"

enum {
    IO_BUFFER_BYTES = 64 << 10,
    READ_FACTOR = 16,
    READ_EXTRA_BYTES = 256 << 20,
    RETRIES = 10000
};

struct video {
    char *path;
    int file;
    int64_t file_bytes;
    int64_t position;
    int64_t read_bytes, read_limit;
    AVIOContext *io;
    AVFormatContext *format;
    int stream;
    bool damaged;
};

static int read_file(void *context, uint8_t *out, int count)
{
    struct video *video = context;
    if (video->read_bytes > video->read_limit)
        return AVERROR_EXIT;
    ssize_t got = pread(video->file, out, (size_t)count, video->position);
    if (got < 0)
        return AVERROR(errno);
    if (got == 0)
        return AVERROR_EOF;
    video->position += got;
    video->read_bytes += got;
    return (int)got;
}

static int64_t seek_file(void *context, int64_t offset, int whence)
{
    struct video *video = context;
    switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE:
        return video->file_bytes;
    case SEEK_SET:
        break;
    case SEEK_CUR:
        offset += video->position;
        break;
    case SEEK_END:
        offset += video->file_bytes;
        break;
    default:
        return AVERROR(EINVAL);
    }
    if (offset < 0)
        return AVERROR(EINVAL);
    video->position = offset;
    return offset;
}

static int refuse_open(AVFormatContext *format, AVIOContext **out, const char *url, int flags,
                       AVDictionary **options)
{
    (void)format;
    (void)url;
    (void)flags;
    (void)options;
    *out = NULL;
    return AVERROR(EPERM);
}

static ls_status open_file(struct video *video)
{
    struct stat info;
    const char *path = video->path;
    video->file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (video->file < 0 || fstat(video->file, &info) != 0)
        return LS_FAIL(LS_IO, "%s: cannot open: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return LS_FAIL(LS_DATA, "%s: not a regular file", path);
    if (info.st_size == 0)
        return LS_FAIL(LS_DATA, "%s: empty file", path);
    video->file_bytes = info.st_size;
    video->read_limit = info.st_size < INT64_MAX / (INT64_C(2) * READ_FACTOR)
                            ? READ_FACTOR * info.st_size + READ_EXTRA_BYTES
                            : INT64_MAX;
    return LS_OK;
}

/* Demuxers whose input is a list of other files. */
static bool is_playlist(const char *demuxer)
{
    static const char *const names[] = {"hls", "dash", "concat", "rtsp", "sdp", "imf"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(demuxer, names[i]) == 0)
            return true;
    return false;
}

/* Whether the file begins as text does: no byte that text has not. */
static bool begins_as_text(const struct video *video)
{
    uint8_t bytes[512];
    ssize_t count = pread(video->file, bytes, sizeof bytes, 0);
    for (ssize_t i = 0; i < count; i++)
        if (bytes[i] < 0x20 && strchr("\t\n\f\r", bytes[i]) == NULL)
            return false;
    return count > 0;
}

/* Before a demuxer sees the file: some follow what it says to others. */
static ls_status choose_demuxer(const struct video *video, const AVInputFormat **out)
{
    ls_status st = LS_OK;
    av_log_clear();
    int result = av_probe_input_buffer2(video->io, out, video->path, NULL, 0, 0);
    if (result == AVERROR_INVALIDDATA && av_log_first()[0] == '\0') {
        st = LS_FAIL(LS_DATA, "%s: no video or image that this FFmpeg knows", video->path);
        goto done;
    }
    AV_TRY(result, video->path, "open");
    if (is_playlist((*out)->name))
        st = LS_FAIL(LS_DATA, "%s: a playlist (%s): list the files themselves", video->path,
                     (*out)->name);
done:
    return st;
}

static ls_status open_format(struct video *video)
{
    ls_status st = LS_OK;
    AVDictionary *options = NULL;
    const AVInputFormat *demuxer = NULL;
    uint8_t *buffer = av_malloc(IO_BUFFER_BYTES);
    if (buffer != NULL)
        video->io =
            avio_alloc_context(buffer, IO_BUFFER_BYTES, 0, video, read_file, NULL, seek_file);
    video->format = avformat_alloc_context();
    if (video->io == NULL || video->format == NULL) {
        if (video->io == NULL)
            av_free(buffer);
        st = LS_FAIL(LS_NOMEM, "%s: out of memory", video->path);
        goto done;
    }
    video->format->pb = video->io;
    video->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    video->format->io_open = refuse_open;
    /* As the ffmpeg program does: programs of a transport stream may appear late. */
    if (av_dict_set(&options, "scan_all_pmts", "1", 0) < 0) {
        st = LS_FAIL(LS_NOMEM, "%s: out of memory", video->path);
        goto done;
    }
    LS_TRY(choose_demuxer(video, &demuxer));
    int result = avformat_open_input(&video->format, video->path, demuxer, &options);
    if (result == AVERROR_INVALIDDATA && begins_as_text(video)) {
        st = LS_FAIL(LS_DATA, "%s: text, not a video", video->path);
        goto done;
    }
    AV_TRY(result, video->path, "open");
    AV_TRY(avformat_find_stream_info(video->format, NULL), video->path, "find its streams");
done:
    av_dict_free(&options);
    return st;
}

static bool is_text(enum AVCodecID codec)
{
    return codec == AV_CODEC_ID_ANSI || codec == AV_CODEC_ID_BINTEXT || codec == AV_CODEC_ID_XBIN ||
           codec == AV_CODEC_ID_IDF;
}

static ls_status choose_stream(struct video *video)
{
    const AVFormatContext *format = video->format;
    bool picture = false;
    for (unsigned i = 0; i < format->nb_streams; i++) {
        const AVStream *stream = format->streams[i];
        if (stream->codecpar->codec_type != AVMEDIA_TYPE_VIDEO)
            continue;
        if (stream->disposition & (AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_TIMED_THUMBNAILS)) {
            picture = true;
            continue;
        }
        if (video->stream < 0)
            video->stream = (int)i;
    }
    if (video->stream < 0)
        return LS_FAIL(LS_DATA, "%s: no video stream%s", video->path,
                       picture ? " (only an attached picture)" : "");
    enum AVCodecID codec = format->streams[video->stream]->codecpar->codec_id;
    if (is_text(codec))
        return LS_FAIL(LS_DATA, "%s: text, not a video", video->path);
    if (avcodec_find_decoder(codec) == NULL)
        return LS_FAIL(LS_DATA, "%s: no decoder for codec %s in this FFmpeg", video->path,
                       avcodec_get_name(codec));
    for (unsigned i = 0; i < format->nb_streams; i++)
        format->streams[i]->discard = (int)i == video->stream ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    return LS_OK;
}

ls_status video_open(struct video **out, const char *path)
{
    ls_status st = LS_OK;
    struct video *video = NULL;
    av_log_capture();
    LS_TRY(core_alloc(&video, 1));
    video->file = -1;
    video->stream = -1;
    LS_TRY(core_format(&video->path, "%s", path));
    LS_TRY(open_file(video));
    LS_TRY(open_format(video));
    LS_TRY(choose_stream(video));
    *out = video;
    video = NULL;
done:
    video_close(&video);
    return st;
}

void video_close(struct video **video)
{
    struct video *closing = *video;
    if (closing == NULL)
        return;
    avformat_close_input(&closing->format);
    if (closing->io != NULL)
        av_freep(&closing->io->buffer);
    avio_context_free(&closing->io);
    if (closing->file >= 0)
        (void)close(closing->file);
    free(closing->path);
    free(closing);
    *video = NULL;
}

struct video_stream video_stream(const struct video *video)
{
    const AVStream *stream = video->format->streams[video->stream];
    return (struct video_stream){
        .container = video->format->iformat->name,
        .parameters = stream->codecpar,
        .side_data = stream->side_data,
        .side_data_count = stream->nb_side_data,
        .time_base = stream->time_base,
        .average_rate = stream->avg_frame_rate,
        .real_rate = stream->r_frame_rate,
        .start_time = stream->start_time,
        .duration = stream->duration,
    };
}

ls_status video_read(struct video *video, AVPacket *packet)
{
    for (int retries = 0;;) {
        int result = av_read_frame(video->format, packet);
        if (result == AVERROR(EAGAIN) && retries++ < RETRIES)
            continue;
        if (video->read_bytes > video->read_limit)
            return LS_FAIL(LS_DATA, "%s: the demuxer reads without end", video->path);
        if (result == AVERROR(ENOMEM))
            return LS_FAIL(LS_NOMEM, "%s: out of memory while reading", video->path);
        if (result < 0) {
            video->damaged = result != AVERROR_EOF;
            return LS_EOF;
        }
        if (packet->stream_index == video->stream)
            return LS_OK;
        av_packet_unref(packet);
    }
}

int video_damaged(const struct video *video)
{
    return video->damaged;
}
