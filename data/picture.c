/* One encoder a picture or film, single-threaded, so that the bytes depend on the pixels alone.
 * Both are made in memory and put into place by files_replace. */
#include "data/picture.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/dict.h>
#include <libswscale/swscale.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/av.h"

enum { RATE_LIMIT = 100000, MPEG4_QUALITY = 3 };

/* rgb[height, width, 3] into a packed RGB frame. */
static void copy_rows(AVFrame *frame, const uint8_t *rgb)
{
    const size_t bytes = (size_t)frame->width * 3;
    for (int y = 0; y < frame->height; y++)
        memcpy(frame->data[0] + (ptrdiff_t)y * frame->linesize[0], rgb + (size_t)y * bytes, bytes);
}

static ls_status open_png(AVCodecContext **out, AVFrame *frame, const char *path, int width,
                          int height)
{
    ls_status st = LS_OK;
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_PNG);
    if (codec == NULL)
        return LS_FAIL(LS_USAGE, "%s: this FFmpeg has no PNG encoder", path);
    *out = avcodec_alloc_context3(codec);
    if (*out == NULL)
        return LS_FAIL(LS_NOMEM, "%s: out of memory", path);
    (*out)->width = frame->width = width;
    (*out)->height = frame->height = height;
    (*out)->pix_fmt = AV_PIX_FMT_RGB24;
    frame->format = AV_PIX_FMT_RGB24;
    (*out)->time_base = (AVRational){1, 1};
    (*out)->thread_count = 1;
    AV_TRY(avcodec_open2(*out, codec, NULL), path, "open the PNG encoder");
    AV_TRY(av_frame_get_buffer(frame, 0), path, "make a frame");
done:
    return st;
}

ls_status picture_write(const char *path, const uint8_t *rgb, int width, int height)
{
    ls_status st = LS_OK;
    AVCodecContext *encoder = NULL;
    AVFrame *frame = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    av_log_capture();
    av_log_clear();
    if (frame == NULL || packet == NULL) {
        st = LS_FAIL(LS_NOMEM, "%s: out of memory", path);
        goto done;
    }
    LS_TRY(open_png(&encoder, frame, path, width, height));
    copy_rows(frame, rgb);
    AV_TRY(avcodec_send_frame(encoder, frame), path, "encode");
    AV_TRY(avcodec_receive_packet(encoder, packet), path, "encode");
    LS_TRY(files_replace(path, packet->data, (size_t)packet->size));
done:
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&encoder);
    return st;
}

struct film {
    char *path;
    AVFormatContext *container;
    AVCodecContext *encoder;
    AVStream *stream;
    AVFrame *rgb, *frame;
    AVPacket *packet;
    struct SwsContext *convert;
    int64_t frames;
};

static ls_status open_encoder(struct film *film, int width, int height, AVRational rate)
{
    ls_status st = LS_OK;
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    const bool x264 = codec != NULL;
    AVDictionary *options = NULL;
    if (codec == NULL)
        codec = avcodec_find_encoder(AV_CODEC_ID_MPEG4);
    film->encoder = codec == NULL ? NULL : avcodec_alloc_context3(codec);
    if (film->encoder == NULL)
        return LS_FAIL(LS_USAGE, "%s: this FFmpeg has neither x264 nor an MPEG-4 encoder",
                       film->path);
    AVCodecContext *e = film->encoder;
    e->width = width;
    e->height = height;
    e->pix_fmt = AV_PIX_FMT_YUV420P;
    e->color_range = AVCOL_RANGE_MPEG;
    e->colorspace = AVCOL_SPC_SMPTE170M; /* what swscale makes unless told otherwise */
    e->time_base = av_inv_q(rate);
    e->framerate = rate;
    e->thread_count = 1;
    e->flags |= AV_CODEC_FLAG_BITEXACT;
    if ((film->container->oformat->flags & AVFMT_GLOBALHEADER) != 0)
        e->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (x264) {
        AV_TRY(av_dict_set(&options, "crf", "16", 0), film->path, "set options");
        /* Macroblock trees read uninitialised memory in small pictures (x264 164). */
        AV_TRY(av_dict_set(&options, "x264-params", "mbtree=0", 0), film->path, "set options");
    } else {
        e->flags |= AV_CODEC_FLAG_QSCALE;
        e->global_quality = FF_QP2LAMBDA * MPEG4_QUALITY;
    }
    AV_TRY(avcodec_open2(e, codec, &options), film->path, "open the encoder");
done:
    av_dict_free(&options);
    return st;
}

static ls_status open_frames(struct film *film, int width, int height)
{
    ls_status st = LS_OK;
    AVFrame *const frames[] = {film->rgb, film->frame};
    static const int formats[] = {AV_PIX_FMT_RGB24, AV_PIX_FMT_YUV420P};
    for (int i = 0; i < 2; i++) {
        frames[i]->width = width;
        frames[i]->height = height;
        frames[i]->format = formats[i];
        AV_TRY(av_frame_get_buffer(frames[i], 0), film->path, "make a frame");
    }
    film->convert =
        sws_getContext(width, height, AV_PIX_FMT_RGB24, width, height, AV_PIX_FMT_YUV420P,
                       SWS_BILINEAR | SWS_ACCURATE_RND, NULL, NULL, NULL);
    if (film->convert == NULL)
        st = LS_FAIL(LS_DATA, "%s: FFmpeg does not convert frames of %d x %d", film->path, width,
                     height);
done:
    return st;
}

ls_status film_open(struct film **out, const char *path, int width, int height, double frames_per_s)
{
    ls_status st = LS_OK;
    struct film *film = NULL;
    *out = NULL;
    /* Colours have half the size; x264 164 would refuse odd ones, too, but leak. */
    if (width < 2 || height < 2 || width % 2 != 0 || height % 2 != 0)
        return LS_FAIL(LS_DATA, "%s: frames of %d x %d: both have to be even", path, width, height);
    av_log_capture();
    av_log_clear();
    LS_TRY(core_alloc(&film, 1));
    LS_TRY(core_format(&film->path, "%s", path));
    film->rgb = av_frame_alloc();
    film->frame = av_frame_alloc();
    film->packet = av_packet_alloc();
    AV_TRY(avformat_alloc_output_context2(&film->container, NULL, "mp4", NULL), path, "make MP4");
    film->stream = avformat_new_stream(film->container, NULL);
    if (film->rgb == NULL || film->frame == NULL || film->packet == NULL || film->stream == NULL) {
        st = LS_FAIL(LS_NOMEM, "%s: out of memory", path);
        goto done;
    }
    LS_TRY(open_encoder(film, width, height, av_d2q(frames_per_s, RATE_LIMIT)));
    LS_TRY(open_frames(film, width, height));
    film->stream->time_base = film->encoder->time_base;
    film->stream->avg_frame_rate = film->encoder->framerate;
    film->container->flags |= AVFMT_FLAG_BITEXACT;
    AV_TRY(avcodec_parameters_from_context(film->stream->codecpar, film->encoder), path,
           "describe the stream");
    AV_TRY(avio_open_dyn_buf(&film->container->pb), path, "make MP4");
    AV_TRY(avformat_write_header(film->container, NULL), path, "write the header");
    *out = film;
    film = NULL;
done:
    film_close(&film);
    return st;
}

void film_close(struct film **film)
{
    struct film *f = *film;
    if (f == NULL)
        return;
    if (f->container != NULL && f->container->pb != NULL) {
        uint8_t *bytes = NULL;
        (void)avio_close_dyn_buf(f->container->pb, &bytes);
        av_free(bytes);
    }
    avformat_free_context(f->container);
    avcodec_free_context(&f->encoder);
    av_frame_free(&f->rgb);
    av_frame_free(&f->frame);
    av_packet_free(&f->packet);
    sws_freeContext(f->convert);
    free(f->path);
    free(f);
    *film = NULL;
}

/* Send one frame, or NULL for the end, and take the packets that come out. */
static ls_status encode(struct film *film, const AVFrame *frame)
{
    ls_status st = LS_OK;
    AV_TRY(avcodec_send_frame(film->encoder, frame), film->path, "encode");
    for (;;) {
        const int code = avcodec_receive_packet(film->encoder, film->packet);
        if (code == AVERROR(EAGAIN) || code == AVERROR_EOF)
            break;
        AV_TRY(code, film->path, "encode");
        film->packet->duration = 1;
        film->packet->stream_index = film->stream->index;
        av_packet_rescale_ts(film->packet, film->encoder->time_base, film->stream->time_base);
        AV_TRY(av_interleaved_write_frame(film->container, film->packet), film->path, "write");
    }
done:
    return st;
}

ls_status film_add(struct film *film, const uint8_t *rgb)
{
    ls_status st = LS_OK;
    copy_rows(film->rgb, rgb);
    AV_TRY(av_frame_make_writable(film->frame), film->path, "make a frame");
    (void)sws_scale(film->convert, (const uint8_t *const *)film->rgb->data, film->rgb->linesize, 0,
                    film->rgb->height, film->frame->data, film->frame->linesize);
    film->frame->pts = film->frames++;
    LS_TRY(encode(film, film->frame));
done:
    return st;
}

ls_status film_commit(struct film *film)
{
    ls_status st = LS_OK;
    uint8_t *bytes = NULL;
    int size = 0;
    LS_TRY(encode(film, NULL));
    AV_TRY(av_write_trailer(film->container), film->path, "write the trailer");
    size = avio_close_dyn_buf(film->container->pb, &bytes);
    film->container->pb = NULL;
    LS_TRY(files_replace(film->path, bytes, (size_t)size));
done:
    av_free(bytes);
    return st;
}
