/* One encoder and one muxer, single-threaded so that the bytes depend on the frames alone. */
#include "tests/support/movie.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files.h"

struct movie {
    const char *path;
    AVFormatContext *container;
    AVCodecContext *encoder;
    AVStream *stream;
    AVFrame *frame;
    AVPacket *packet;
};

/* The first line of a failed call of FFmpeg, as a status. */
static ls_status check(int code, const struct movie *movie, const char *what)
{
    if (code >= 0)
        return LS_OK;
    char text[AV_ERROR_MAX_STRING_SIZE];
    return LS_FAIL(LS_IO, "%s: %s: %s", movie->path, what,
                   av_make_error_string(text, sizeof text, code));
}

static ls_status open_encoder(struct movie *movie, int width, int height, int frames_per_s)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    AVDictionary *options = NULL;
    ls_status st = LS_OK;

    int x264 = codec != NULL;
    if (codec == NULL)
        codec = avcodec_find_encoder(AV_CODEC_ID_MPEG4);
    movie->encoder = codec == NULL ? NULL : avcodec_alloc_context3(codec);
    if (movie->encoder == NULL)
        return LS_FAIL(LS_FAILED, "%s: FFmpeg has neither x264 nor an MPEG-4 encoder", movie->path);
    movie->encoder->width = width;
    movie->encoder->height = height;
    movie->encoder->pix_fmt = AV_PIX_FMT_YUV420P;
    movie->encoder->color_range = AVCOL_RANGE_MPEG;
    movie->encoder->time_base = (AVRational){1, frames_per_s};
    movie->encoder->framerate = (AVRational){frames_per_s, 1};
    movie->encoder->gop_size = 250;
    movie->encoder->thread_count = 1;
    movie->encoder->flags |= AV_CODEC_FLAG_BITEXACT;
    if ((movie->container->oformat->flags & AVFMT_GLOBALHEADER) != 0)
        movie->encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (x264) {
        LS_TRY(check(av_dict_set(&options, "crf", "18", 0), movie, "options"));
        /* Macroblock trees read uninitialised memory at this size (x264 164: 55 of 120 repeats in
         * two threads gave other bytes, none without them). */
        LS_TRY(check(av_dict_set(&options, "x264-params", "scenecut=0:mbtree=0", 0), movie,
                     "options"));
    } else {
        movie->encoder->flags |= AV_CODEC_FLAG_QSCALE;
        movie->encoder->global_quality = FF_QP2LAMBDA * 3;
    }
    LS_TRY(check(avcodec_open2(movie->encoder, codec, &options), movie, codec->name));
done:
    av_dict_free(&options);
    return st;
}

static ls_status open_movie(struct movie *movie, const char *temporary, int width, int height,
                            int frames_per_s)
{
    ls_status st = LS_OK;
    LS_TRY(check(avformat_alloc_output_context2(&movie->container, NULL, NULL, movie->path), movie,
                 "container"));
    LS_TRY(open_encoder(movie, width, height, frames_per_s));
    movie->stream = avformat_new_stream(movie->container, NULL);
    movie->frame = av_frame_alloc();
    movie->packet = av_packet_alloc();
    if (movie->stream == NULL || movie->frame == NULL || movie->packet == NULL)
        return LS_FAIL(LS_NOMEM, "%s: out of memory", movie->path);
    movie->stream->time_base = movie->encoder->time_base;
    movie->stream->avg_frame_rate = movie->encoder->framerate;
    movie->container->flags |= AVFMT_FLAG_BITEXACT;
    LS_TRY(check(avcodec_parameters_from_context(movie->stream->codecpar, movie->encoder), movie,
                 "stream"));
    LS_TRY(check(avio_open(&movie->container->pb, temporary, AVIO_FLAG_WRITE), movie, "open"));
    LS_TRY(check(avformat_write_header(movie->container, NULL), movie, "header"));

    movie->frame->format = AV_PIX_FMT_YUV420P;
    movie->frame->width = width;
    movie->frame->height = height;
    LS_TRY(check(av_frame_get_buffer(movie->frame, 0), movie, "frame"));
done:
    return st;
}

/* Full-range grey into limited-range luma; chroma says "no colour". */
static void fill_frame(AVFrame *frame, const uint8_t *grey)
{
    for (int y = 0; y < frame->height; y++) {
        for (int x = 0; x < frame->width; x++) {
            int value = grey[y * frame->width + x];
            frame->data[0][y * frame->linesize[0] + x] = (uint8_t)(16 + (value * 219 + 127) / 255);
        }
    }
    for (int plane = 1; plane <= 2; plane++)
        for (int y = 0; y < frame->height / 2; y++)
            memset(frame->data[plane] + (ptrdiff_t)y * frame->linesize[plane], 128,
                   (size_t)frame->width / 2);
}

/* Send one frame, or NULL for the end, and write the packets that come out. */
static ls_status encode(struct movie *movie, const AVFrame *frame)
{
    ls_status st = LS_OK;
    LS_TRY(check(avcodec_send_frame(movie->encoder, frame), movie, "encode"));
    for (;;) {
        int code = avcodec_receive_packet(movie->encoder, movie->packet);
        if (code == AVERROR(EAGAIN) || code == AVERROR_EOF)
            break;
        LS_TRY(check(code, movie, "encode"));
        movie->packet->duration = 1;
        av_packet_rescale_ts(movie->packet, movie->encoder->time_base, movie->stream->time_base);
        movie->packet->stream_index = movie->stream->index;
        LS_TRY(check(av_interleaved_write_frame(movie->container, movie->packet), movie, "write"));
    }
done:
    return st;
}

ls_status movie_write_grey(const char *path, const uint8_t *frames, int count, int width,
                           int height, int frames_per_s)
{
    ls_status st = LS_OK;
    char *temporary = NULL;
    struct movie movie = {.path = path};

    LS_TRY(core_format(&temporary, "%s.tmp-%d", path, (int)getpid()));
    LS_TRY(open_movie(&movie, temporary, width, height, frames_per_s));
    for (int t = 0; t < count; t++) {
        LS_TRY(check(av_frame_make_writable(movie.frame), &movie, "frame"));
        fill_frame(movie.frame, frames + (ptrdiff_t)t * width * height);
        movie.frame->pts = t;
        LS_TRY(encode(&movie, movie.frame));
    }
    LS_TRY(encode(&movie, NULL));
    LS_TRY(check(av_write_trailer(movie.container), &movie, "trailer"));
    LS_TRY(check(avio_closep(&movie.container->pb), &movie, "close"));
    if (rename(temporary, path) != 0)
        st = LS_FAIL(LS_IO, "%s: cannot be renamed from %s", path, temporary);
done:
    if (movie.container != NULL && movie.container->pb != NULL)
        (void)avio_closep(&movie.container->pb);
    if (st != LS_OK && temporary != NULL)
        (void)remove(temporary);
    av_packet_free(&movie.packet);
    av_frame_free(&movie.frame);
    avcodec_free_context(&movie.encoder);
    avformat_free_context(movie.container);
    free(temporary);
    return st;
}
