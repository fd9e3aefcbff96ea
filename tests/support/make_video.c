/* Encoder and muxer, single-threaded: the same request gives the same file. */
#include "tests/support/make_video.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/intreadwrite.h>
#include <libavutil/pixdesc.h>
#include <stddef.h>
#include <string.h>

struct making {
    const struct make_video *what;
    AVFormatContext *container;
    AVCodecContext *encoder;
    AVStream *stream;
    AVFrame *frame;
    AVPacket *packet;
};

static ls_status check(int result, const struct making *making, const char *step)
{
    char text[AV_ERROR_MAX_STRING_SIZE];
    if (result >= 0)
        return LS_OK;
    return LS_FAIL(LS_FAILED, "%s: cannot %s: %s", making->what->path, step,
                   av_make_error_string(text, sizeof text, result));
}

bool make_video_can(const char *encoder)
{
    return avcodec_find_encoder_by_name(encoder) != NULL;
}

static ls_status open_encoder(struct making *making)
{
    ls_status st = LS_OK;
    const struct make_video *what = making->what;
    AVDictionary *options = NULL;
    const AVCodec *codec = avcodec_find_encoder_by_name(what->encoder);
    AVCodecContext *encoder = codec != NULL ? avcodec_alloc_context3(codec) : NULL;
    if (encoder == NULL)
        return LS_FAIL(LS_FAILED, "%s: no encoder %s", what->path, what->encoder);
    making->encoder = encoder;
    encoder->width = what->width;
    encoder->height = what->height;
    encoder->pix_fmt = av_get_pix_fmt(what->format != NULL ? what->format : "yuv420p");
    encoder->time_base = (AVRational){1, what->fps};
    encoder->framerate = (AVRational){what->fps, 1};
    encoder->thread_count = 1;
    encoder->flags |= AV_CODEC_FLAG_BITEXACT;
    if (what->gop > 0)
        encoder->gop_size = what->gop;
    if (what->b_frames > 0)
        encoder->max_b_frames = what->b_frames;
    if (making->container->oformat->flags & AVFMT_GLOBALHEADER)
        encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (what->options != NULL)
        LS_TRY(check(av_dict_parse_string(&options, what->options, "=", ":", 0), making,
                     "read options"));
    LS_TRY(check(avcodec_open2(encoder, codec, &options), making, "open the encoder"));
done:
    av_dict_free(&options);
    return st;
}

static ls_status add_matrix(const struct making *making)
{
    size_t bytes = 9 * sizeof(int32_t);
    if (making->what->display_matrix == NULL)
        return LS_OK;
    uint8_t *data = av_stream_new_side_data(making->stream, AV_PKT_DATA_DISPLAYMATRIX, bytes);
    if (data == NULL)
        return LS_FAIL(LS_NOMEM, "%s: out of memory", making->what->path);
    memcpy(data, making->what->display_matrix, bytes);
    return LS_OK;
}

static ls_status open_all(struct making *making)
{
    ls_status st = LS_OK;
    const struct make_video *what = making->what;
    LS_TRY(check(avformat_alloc_output_context2(&making->container, NULL, what->muxer, what->path),
                 making, "find the container"));
    LS_TRY(open_encoder(making));
    making->stream = avformat_new_stream(making->container, NULL);
    making->frame = av_frame_alloc();
    making->packet = av_packet_alloc();
    if (making->stream == NULL || making->frame == NULL || making->packet == NULL) {
        st = LS_FAIL(LS_NOMEM, "%s: out of memory", what->path);
        goto done;
    }
    making->stream->time_base = making->encoder->time_base;
    making->stream->avg_frame_rate = making->encoder->framerate;
    making->container->flags |= AVFMT_FLAG_BITEXACT;
    LS_TRY(check(avcodec_parameters_from_context(making->stream->codecpar, making->encoder), making,
                 "describe the stream"));
    if (what->cover)
        making->stream->disposition = AV_DISPOSITION_ATTACHED_PIC;
    LS_TRY(add_matrix(making));
    if (!(making->container->oformat->flags & AVFMT_NOFILE))
        LS_TRY(check(avio_open(&making->container->pb, what->path, AVIO_FLAG_WRITE), making,
                     "create"));
    LS_TRY(check(avformat_write_header(making->container, NULL), making, "write the header"));
    making->frame->format = making->encoder->pix_fmt;
    making->frame->width = what->width;
    making->frame->height = what->height;
    LS_TRY(check(av_frame_get_buffer(making->frame, 0), making, "allocate a frame"));
done:
    return st;
}

/* Two moving gradients and a block that says the frame's number. */
static void draw(AVFrame *frame, int number)
{
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(frame->format);
    int planes = av_pix_fmt_count_planes(frame->format);
    for (int p = 0; p < planes; p++) {
        bool chroma = (p == 1 || p == 2) && planes > 1;
        int height = chroma ? AV_CEIL_RSHIFT(frame->height, format->log2_chroma_h) : frame->height;
        int width = frame->linesize[p];
        const int depth = format->comp[0].depth;
        for (int y = 0; y < height; y++) {
            uint8_t *row = frame->data[p] + (ptrdiff_t)frame->linesize[p] * y;
            for (int x = 0; x < (depth > 8 ? width / 2 : width); x++) {
                int block = ((x / 8) * 5 + (y / 8) * 3 + number * 7) % 16 == 0 ? 60 : 0;
                int value = 16 + (3 * x + 2 * y + (9 + p) * number + block) % 216;
                if (depth > 8)
                    AV_WN16(row + (ptrdiff_t)2 * x,
                            (uint16_t)((value << (depth - 8)) + (x + y) % 4));
                else
                    row[x] = (uint8_t)value;
            }
        }
    }
}

static ls_status encode(struct making *making, const AVFrame *frame)
{
    ls_status st = LS_OK;
    LS_TRY(check(avcodec_send_frame(making->encoder, frame), making, "encode"));
    for (;;) {
        int result = avcodec_receive_packet(making->encoder, making->packet);
        if (result == AVERROR(EAGAIN) || result == AVERROR_EOF)
            break;
        LS_TRY(check(result, making, "encode"));
        if (making->packet->duration == 0)
            making->packet->duration = 1;
        av_packet_rescale_ts(making->packet, making->encoder->time_base, making->stream->time_base);
        making->packet->stream_index = making->stream->index;
        LS_TRY(
            check(av_interleaved_write_frame(making->container, making->packet), making, "write"));
    }
done:
    return st;
}

ls_status make_video(const struct make_video *what)
{
    ls_status st = LS_OK;
    struct making making = {.what = what};
    av_log_set_level(AV_LOG_QUIET);
    LS_TRY(open_all(&making));
    for (int n = 0; n < what->frames; n++) {
        LS_TRY(check(av_frame_make_writable(making.frame), &making, "draw"));
        draw(making.frame, n);
        making.frame->pts = what->times != NULL ? what->times[n] : n;
        LS_TRY(encode(&making, making.frame));
    }
    LS_TRY(encode(&making, NULL));
    LS_TRY(check(av_write_trailer(making.container), &making, "end"));
done:
    if (making.container != NULL && making.container->pb != NULL)
        (void)avio_closep(&making.container->pb);
    av_packet_free(&making.packet);
    av_frame_free(&making.frame);
    avcodec_free_context(&making.encoder);
    avformat_free_context(making.container);
    return st;
}
