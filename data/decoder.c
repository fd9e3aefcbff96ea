/* Opening, feeding and freeing a decoder.  FFmpeg's own assertions are for its authors' errors, and
 * some files bring those out: the ones that were met are behind calls to send and receive, but
 * opening and freeing are contained as well. */
#include "data/decoder.h"

#include <libavcodec/avcodec.h>
#include <string.h>

#include "core/log.h"
#include "data/av.h"

enum { PIXELS_MAX = 1 << 26 /* a frame: 8192 x 8192 */ };

/* The numbers of AVCodecParameters, by way of the record. */
static void fill_parameters(AVCodecParameters *out, const struct video_record *video,
                            enum AVCodecID codec)
{
    out->codec_type = AVMEDIA_TYPE_VIDEO;
    out->codec_id = codec;
    out->codec_tag = video->codec_tag;
    out->format = video->coded_format;
    out->bit_rate = video->bit_rate;
    out->bits_per_coded_sample = video->bits_per_coded_sample;
    out->bits_per_raw_sample = video->bits_per_raw_sample;
    out->profile = video->profile;
    out->level = video->level;
    out->width = video->coded_width;
    out->height = video->coded_height;
    out->sample_aspect_ratio = (AVRational){video->sample_aspect_num, video->sample_aspect_den};
    out->field_order = (enum AVFieldOrder)video->field_order;
    out->color_range = (enum AVColorRange)video->color_range;
    out->color_primaries = (enum AVColorPrimaries)video->color_primaries;
    out->color_trc = (enum AVColorTransferCharacteristic)video->color_transfer;
    out->color_space = (enum AVColorSpace)video->color_space;
    out->chroma_location = (enum AVChromaLocation)video->chroma_location;
    out->video_delay = video->video_delay;
}

static ls_status make_parameters(AVCodecParameters **out, const struct video_record *video,
                                 const uint8_t *blob, enum AVCodecID codec)
{
    AVCodecParameters *parameters = avcodec_parameters_alloc();
    if (parameters == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for a decoder");
    fill_parameters(parameters, video, codec);
    if (video->extradata_size > 0) {
        size_t size = (size_t)video->extradata_size;
        parameters->extradata = av_mallocz(size + AV_INPUT_BUFFER_PADDING_SIZE);
        if (parameters->extradata == NULL) {
            avcodec_parameters_free(&parameters);
            return LS_FAIL(LS_NOMEM, "out of memory for a decoder");
        }
        memcpy(parameters->extradata, blob + video->extradata_at, size);
        parameters->extradata_size = (int)size;
    }
    *out = parameters;
    return LS_OK;
}

struct opening {
    AVCodecContext *decoder;
    const AVCodec *codec;
    int result;
};

static void call_open(void *context)
{
    struct opening *opening = context;
    opening->result = avcodec_open2(opening->decoder, opening->codec, NULL);
}

static ls_status set_up(AVCodecContext *decoder, const struct video_record *video,
                        const uint8_t *blob, const char *path)
{
    ls_status st = LS_OK;
    AVCodecParameters *parameters = NULL;
    LS_TRY(make_parameters(&parameters, video, blob, decoder->codec_id));
    AV_TRY(avcodec_parameters_to_context(decoder, parameters), path, "set the decoder up");
    decoder->thread_count = 1;
    decoder->max_pixels = PIXELS_MAX;
    decoder->pkt_timebase = (AVRational){video->time_base_num, video->time_base_den};
    decoder->framerate = (AVRational){video->average_rate_num, video->average_rate_den};
done:
    avcodec_parameters_free(&parameters);
    return st;
}

ls_status decoder_open(struct AVCodecContext **out, const struct video_record *video,
                       const uint8_t *blob, const char *path)
{
    ls_status st = LS_OK;
    const char *name = (const char *)blob + video->codec_at;
    const AVCodecDescriptor *descriptor = avcodec_descriptor_get_by_name(name);
    struct opening opening = {0};
    decoder_close(out);
    if (descriptor != NULL && descriptor->type == AVMEDIA_TYPE_VIDEO)
        opening.codec = avcodec_find_decoder(descriptor->id);
    if (opening.codec == NULL)
        return LS_FAIL(LS_DATA, "%s: this FFmpeg has no video decoder '%.40s'", path, name);
    opening.decoder = avcodec_alloc_context3(opening.codec);
    if (opening.decoder == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for a decoder");
    av_log_clear();
    LS_TRY(set_up(opening.decoder, video, blob, path));
    if (!av_contain(call_open, &opening)) {
        st = LS_FAIL(LS_DATA, "%s: FFmpeg broke off while it opened the decoder: %s", path,
                     av_log_first());
        goto done;
    }
    AV_TRY(opening.result, path, "open the decoder");
    *out = opening.decoder;
    opening.decoder = NULL;
done:
    decoder_close(&opening.decoder);
    return st;
}

static void call_free(void *context)
{
    avcodec_free_context(context);
}

void decoder_close(struct AVCodecContext **decoder)
{
    AVCodecContext *closing = *decoder;
    *decoder = NULL;
    if (closing != NULL && !av_contain(call_free, &closing))
        log_warn("decoder leaked reason=\"%s\"", av_log_first());
}

struct sending {
    AVCodecContext *decoder;
    const AVPacket *packet;
    int result;
};

static void call_send(void *context)
{
    struct sending *sending = context;
    sending->result = avcodec_send_packet(sending->decoder, sending->packet);
}

bool decoder_send(int *result, struct AVCodecContext **decoder, const struct AVPacket *packet)
{
    struct sending sending = {.decoder = *decoder, .packet = packet};
    const bool held = av_contain(call_send, &sending);
    if (!held)
        decoder_close(decoder);
    *result = sending.result;
    return held;
}

struct receiving {
    AVCodecContext *decoder;
    AVFrame *frame;
    int result;
};

static void call_receive(void *context)
{
    struct receiving *receiving = context;
    receiving->result = avcodec_receive_frame(receiving->decoder, receiving->frame);
}

bool decoder_receive(int *result, struct AVCodecContext **decoder, struct AVFrame *frame)
{
    struct receiving receiving = {.decoder = *decoder, .frame = frame};
    const bool held = av_contain(call_receive, &receiving);
    if (!held)
        decoder_close(decoder);
    *result = receiving.result;
    return held;
}
