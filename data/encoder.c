#include "data/encoder.h"

#include <errno.h>
#include <libswscale/swscale.h>
#include <stdlib.h>

#include "core/files.h"
#include "data/av.h"

static const int scale_flags = SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INT;

/* Key frames come where they are asked for, and at scene cuts. */
enum { GOP_MAX = 1 << 30 };

struct encoder {
    const char *name;
    AVCodecContext *codec;
    struct SwsContext *scale; /* NULL: sizes are the same */
    AVFrame *frame;
    AVPacket *packet;
    int64_t sent;
};

static const AVCodec *find_codec(void)
{
    return avcodec_find_encoder_by_name("libx264");
}

bool encoder_exists(void)
{
    return find_codec() != NULL;
}

bool encoder_takes(enum AVPixelFormat format)
{
    static const enum AVPixelFormat taken[] = {
        AV_PIX_FMT_YUV420P,   AV_PIX_FMT_YUVJ420P, AV_PIX_FMT_YUV422P,   AV_PIX_FMT_YUVJ422P,
        AV_PIX_FMT_YUV444P,   AV_PIX_FMT_YUVJ444P, AV_PIX_FMT_YUV420P10, AV_PIX_FMT_YUV422P10,
        AV_PIX_FMT_YUV444P10, AV_PIX_FMT_GRAY8,    AV_PIX_FMT_GRAY10};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (taken[i] == format)
            return true;
    return false;
}

static ls_status open_codec(struct encoder *encoder, const struct encoder_setup *setup,
                            const AVFrame *first)
{
    ls_status st = LS_OK;
    const AVCodec *codec = find_codec();
    AVDictionary *options = NULL;
    AVCodecContext *context = codec != NULL ? avcodec_alloc_context3(codec) : NULL;
    encoder->codec = context;
    if (context == NULL) {
        st = LS_FAIL(LS_DATA, "%s: no encoder: this FFmpeg lacks libx264", setup->name);
        goto done;
    }
    context->width = setup->width;
    context->height = setup->height;
    context->pix_fmt = (enum AVPixelFormat)first->format;
    context->color_range = first->color_range;
    context->color_primaries = first->color_primaries;
    context->color_trc = first->color_trc;
    context->colorspace = first->colorspace;
    context->chroma_sample_location = first->chroma_location;
    context->sample_aspect_ratio = setup->sample_aspect;
    context->framerate = setup->rate;
    context->time_base = av_inv_q(setup->rate);
    context->gop_size = GOP_MAX;
    context->thread_count = 1;
    context->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
    av_log_clear();
    AV_TRY(av_dict_parse_string(&options, ENCODER_OPTIONS, "=", ",", 0), setup->name,
           "set the encoder up");
    AV_TRY(avcodec_open2(context, codec, &options), setup->name, "open the encoder");
done:
    av_dict_free(&options);
    return st;
}

static ls_status open_scale(struct encoder *encoder, const struct encoder_setup *setup,
                            const AVFrame *first)
{
    const enum AVPixelFormat format = (enum AVPixelFormat)first->format;
    if (first->width == setup->width && first->height == setup->height)
        return LS_OK;
    encoder->scale = sws_getContext(first->width, first->height, format, setup->width,
                                    setup->height, format, scale_flags, NULL, NULL, NULL);
    if (encoder->scale == NULL)
        return LS_FAIL(LS_DATA, "%s: swscale cannot make it smaller", setup->name);
    return LS_OK;
}

ls_status encoder_open(struct encoder **out, const struct encoder_setup *setup,
                       const AVFrame *first)
{
    ls_status st = LS_OK;
    struct encoder *encoder = NULL;
    LS_TRY(core_alloc(&encoder, 1));
    encoder->name = setup->name;
    encoder->frame = av_frame_alloc();
    encoder->packet = av_packet_alloc();
    if (encoder->frame == NULL || encoder->packet == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for an encoder");
        goto done;
    }
    LS_TRY(open_codec(encoder, setup, first));
    LS_TRY(open_scale(encoder, setup, first));
    *out = encoder;
    encoder = NULL;
done:
    encoder_close(&encoder);
    return st;
}

void encoder_close(struct encoder **encoder)
{
    struct encoder *closing = *encoder;
    if (closing == NULL)
        return;
    avcodec_free_context(&closing->codec);
    sws_freeContext(closing->scale);
    av_frame_free(&closing->frame);
    av_packet_free(&closing->packet);
    free(closing);
    *encoder = NULL;
}

/* The picture alone: what the decoder said beside it (captions, types, durations) would steer the
 * encoder. */
static ls_status take_picture(struct encoder *encoder, const AVFrame *from)
{
    ls_status st = LS_OK;
    AVFrame *frame = encoder->frame;
    av_frame_unref(frame);
    if (encoder->scale == NULL) {
        AV_TRY(av_frame_ref(frame, from), encoder->name, "hold a frame");
        while (frame->nb_side_data > 0)
            av_frame_remove_side_data(frame, frame->side_data[0]->type);
    } else {
        frame->width = encoder->codec->width;
        frame->height = encoder->codec->height;
        frame->format = from->format;
        AV_TRY(av_frame_get_buffer(frame, 0), encoder->name, "hold a frame");
        AV_TRY(sws_scale(encoder->scale, (const uint8_t *const *)from->data, from->linesize, 0,
                         from->height, frame->data, frame->linesize),
               encoder->name, "make a frame smaller");
    }
    frame->pts = encoder->sent;
    frame->quality = 0;
    frame->interlaced_frame = 0;
    frame->repeat_pict = 0;
done:
    return st;
}

ls_status encoder_send(struct encoder *encoder, const AVFrame *frame, bool key)
{
    ls_status st = LS_OK;
    av_log_clear();
    if (frame == NULL) {
        AV_TRY(avcodec_send_frame(encoder->codec, NULL), encoder->name, "encode");
        goto done;
    }
    LS_TRY(take_picture(encoder, frame));
    encoder->frame->pict_type = key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    AV_TRY(avcodec_send_frame(encoder->codec, encoder->frame), encoder->name, "encode");
    encoder->sent++;
done:
    av_frame_unref(encoder->frame);
    return st;
}

ls_status encoder_receive(struct encoder *encoder, const AVPacket **out)
{
    ls_status st = LS_OK;
    av_packet_unref(encoder->packet);
    int result = avcodec_receive_packet(encoder->codec, encoder->packet);
    if (result == AVERROR(EAGAIN) || result == AVERROR_EOF)
        return LS_EOF;
    AV_TRY(result, encoder->name, "encode");
    *out = encoder->packet;
done:
    return st;
}

ls_status encoder_parameters(const struct encoder *encoder, AVCodecParameters *out)
{
    ls_status st = LS_OK;
    AV_TRY(avcodec_parameters_from_context(out, encoder->codec), encoder->name,
           "describe the stream");
done:
    return st;
}
