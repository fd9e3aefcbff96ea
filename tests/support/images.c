/* The reference is written for clearness and kept apart from data/: swscale converts whole frames,
 * resampling is a plain loop in double. */
#include "tests/support/images.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"

static const int accurate = SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT;

/* Memory for the picture.  swscale reads a little beyond the ends of rows: what it finds there must
 * be the same in every run. */
static int get_memory(AVFrame *frame)
{
    int code = av_frame_get_buffer(frame, 0);
    for (int i = 0; code >= 0 && i < AV_NUM_DATA_POINTERS && frame->buf[i] != NULL; i++)
        memset(frame->buf[i]->data, 0, frame->buf[i]->size);
    return code;
}

/* RGB24 of the test picture. */
static AVFrame *make_rgb(int width, int height, int phase)
{
    AVFrame *frame = av_frame_alloc();
    if (frame == NULL)
        return NULL;
    frame->format = AV_PIX_FMT_RGB24;
    frame->width = width;
    frame->height = height;
    if (get_memory(frame) < 0) {
        av_frame_free(&frame);
        return NULL;
    }
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *pixel = frame->data[0] + (ptrdiff_t)y * frame->linesize[0] + 3 * (ptrdiff_t)x;
            const bool square = ((x + phase) / 16 + y / 16) % 3 == 0;
            for (int c = 0; c < 3; c++) {
                double wave = sin((x + phase) * (0.05 + 0.03 * c) + y * 0.07) + cos(y * 0.11 * c);
                pixel[c] = (uint8_t)lrint(square ? 255.0 * (((x + phase) / 48 + c) % 3 == 0)
                                                 : 127.5 + 60.0 * wave);
            }
        }
    return frame;
}

struct AVFrame *images_make(int format, int width, int height, int phase)
{
    AVFrame *rgb = make_rgb(width, height, phase);
    AVFrame *frame = av_frame_alloc();
    struct SwsContext *sws = sws_getContext(width, height, AV_PIX_FMT_RGB24, width, height,
                                            (enum AVPixelFormat)format, accurate, NULL, NULL, NULL);
    if (rgb == NULL || frame == NULL || sws == NULL)
        goto failed;
    frame->format = format;
    frame->width = width;
    frame->height = height;
    if (get_memory(frame) < 0 || sws_scale(sws, (const uint8_t *const *)rgb->data, rgb->linesize, 0,
                                           height, frame->data, frame->linesize) != height)
        goto failed;
    goto done;
failed:
    av_frame_free(&frame);
done:
    sws_freeContext(sws);
    av_frame_free(&rgb);
    return frame;
}

ls_status images_rgb(uint8_t **out, const struct AVFrame *frame)
{
    ls_status st = LS_OK;
    const enum AVPixelFormat format = (enum AVPixelFormat)frame->format;
    uint8_t *padded = NULL;
    uint8_t *rgb = NULL;
    const int stride = (frame->width * 3 + 63) / 64 * 64 + 64;
    struct SwsContext *sws =
        sws_getContext(frame->width, frame->height, format, frame->width, frame->height,
                       AV_PIX_FMT_RGB24, accurate, NULL, NULL, NULL);
    LS_TRY(core_alloc(&padded, (size_t)stride * (size_t)frame->height + 64));
    LS_TRY(core_alloc(&rgb, (size_t)frame->width * (size_t)frame->height * 3));
    if (sws == NULL) {
        st = LS_FAIL(LS_DATA, "swscale refuses %s", av_get_pix_fmt_name(format));
        goto done;
    }
    int *inverse = NULL;
    int *table = NULL;
    int source_range = 0;
    int range = 0;
    int brightness = 0;
    int contrast = 0;
    int saturation = 0;
    /* The context knows the range of formats that have only one (yuvj420p, grey). */
    if (sws_getColorspaceDetails(sws, &inverse, &source_range, &table, &range, &brightness,
                                 &contrast, &saturation) >= 0) {
        if (frame->color_range != AVCOL_RANGE_UNSPECIFIED)
            source_range = frame->color_range == AVCOL_RANGE_JPEG;
        int space = frame->colorspace < 1 || frame->colorspace > 10 || frame->colorspace == 8
                        ? SWS_CS_ITU601
                        : (int)frame->colorspace;
        (void)sws_setColorspaceDetails(sws, sws_getCoefficients(space), source_range, table, range,
                                       brightness, contrast, saturation);
    }
    uint8_t *planes[4] = {padded, NULL, NULL, NULL};
    const int strides[4] = {stride, 0, 0, 0};
    if (sws_scale(sws, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height,
                  planes, strides) != frame->height) {
        st = LS_FAIL(LS_DATA, "swscale failed on %s", av_get_pix_fmt_name(format));
        goto done;
    }
    av_image_copy_plane(rgb, frame->width * 3, padded, stride, frame->width * 3, frame->height);
    *out = rgb;
    rgb = NULL;
done:
    sws_freeContext(sws);
    free(padded);
    free(rgb);
    return st;
}

struct AVFrame *images_turned(const struct AVFrame *frame, struct video_orientation orientation)
{
    const bool swap = orientation.quarter_turns % 2 == 1;
    AVFrame *out = av_frame_alloc();
    if (out == NULL)
        return NULL;
    out->format = AV_PIX_FMT_RGB24;
    out->width = swap ? frame->height : frame->width;
    out->height = swap ? frame->width : frame->height;
    if (av_frame_get_buffer(out, 0) < 0) {
        av_frame_free(&out);
        return NULL;
    }
    for (int y = 0; y < frame->height; y++)
        for (int x = 0; x < frame->width; x++) {
            ptrdiff_t to_x = x;
            ptrdiff_t to_y = y;
            int width = frame->width;
            int height = frame->height;
            for (int turn = 0; turn < orientation.quarter_turns; turn++) {
                ptrdiff_t was_x = to_x; /* clockwise: the top row becomes the last column */
                int was_width = width;
                to_x = height - 1 - to_y;
                to_y = was_x;
                width = height;
                height = was_width;
            }
            if (orientation.flip_horizontal)
                to_x = width - 1 - to_x;
            const uint8_t *from = frame->data[0] + (ptrdiff_t)y * frame->linesize[0];
            uint8_t *to = out->data[0] + to_y * out->linesize[0];
            for (int c = 0; c < 3; c++)
                to[3 * to_x + c] = from[3 * (ptrdiff_t)x + c];
        }
    return out;
}

/* One axis: the input place of output i among `length` inputs. */
static double place_of(int i, int count, int length)
{
    return fmin(fmax((i + 0.5) * length / count - 0.5, 0.0), length - 1.0);
}

void images_resample(double *out, int out_width, int out_height, const uint8_t *rgb, int width,
                     struct crop_box box, bool flip)
{
    for (int v = 0; v < out_height; v++)
        for (int u = 0; u < out_width; u++) {
            double y = place_of(v, out_height, box.height);
            double x = place_of(flip ? out_width - 1 - u : u, out_width, box.width);
            int y0 = (int)y;
            int x0 = (int)x;
            int y1 = y0 + 1 < box.height ? y0 + 1 : y0;
            int x1 = x0 + 1 < box.width ? x0 + 1 : x0;
            for (int c = 0; c < 3; c++) {
                const uint8_t *row0 = rgb + (ptrdiff_t)(box.top + y0) * width * 3;
                const uint8_t *row1 = rgb + (ptrdiff_t)(box.top + y1) * width * 3;
                int a = (box.left + x0) * 3 + c;
                int b = (box.left + x1) * 3 + c;
                double above = row0[a] * (1.0 - (x - x0)) + row0[b] * (x - x0);
                double below = row1[a] * (1.0 - (x - x0)) + row1[b] * (x - x0);
                out[((ptrdiff_t)v * out_width + u) * 3 + c] =
                    above * (1.0 - (y - y0)) + below * (y - y0);
            }
        }
}

void images_compare(struct images_difference *sum, const uint8_t *got, const double *reference,
                    int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        double difference = fabs(got[i] - reference[i]);
        sum->sum += difference;
        sum->above_two += difference > 2.0;
        sum->largest = fmax(sum->largest, difference);
    }
    sum->count += count;
}

struct decoding {
    AVFormatContext *file;
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *frame;
    int stream;
    int64_t number, limit;
    images_callback callback;
    void *context;
};

static ls_status open_decoding(struct decoding *decoding, const char *path)
{
    const AVCodec *codec = NULL;
    if (avformat_open_input(&decoding->file, path, NULL, NULL) < 0 ||
        avformat_find_stream_info(decoding->file, NULL) < 0)
        return LS_FAIL(LS_DATA, "%s: cannot open", path);
    decoding->stream = av_find_best_stream(decoding->file, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
    if (decoding->stream < 0)
        return LS_FAIL(LS_DATA, "%s: no video", path);
    decoding->decoder = avcodec_alloc_context3(codec);
    decoding->packet = av_packet_alloc();
    decoding->frame = av_frame_alloc();
    if (decoding->decoder == NULL || decoding->packet == NULL || decoding->frame == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory");
    decoding->decoder->thread_count = 1;
    if (avcodec_parameters_to_context(decoding->decoder,
                                      decoding->file->streams[decoding->stream]->codecpar) < 0 ||
        avcodec_open2(decoding->decoder, codec, NULL) < 0)
        return LS_FAIL(LS_DATA, "%s: no decoder", path);
    return LS_OK;
}

/* Send one packet (NULL: the end) and hand over what comes out. */
static ls_status feed(struct decoding *decoding, const AVPacket *packet)
{
    ls_status st = LS_OK;
    if (avcodec_send_packet(decoding->decoder, packet) < 0)
        return LS_OK; /* a damaged packet: the next may be good */
    while (st == LS_OK && decoding->number < decoding->limit &&
           avcodec_receive_frame(decoding->decoder, decoding->frame) >= 0)
        st = decoding->callback(decoding->context, decoding->number++, decoding->frame);
    return st;
}

ls_status images_decode(const char *path, int64_t limit, images_callback callback, void *context)
{
    ls_status st = LS_OK;
    struct decoding decoding = {.limit = limit, .callback = callback, .context = context};
    LS_TRY(open_decoding(&decoding, path));
    while (decoding.number < limit && av_read_frame(decoding.file, decoding.packet) >= 0) {
        if (decoding.packet->stream_index == decoding.stream)
            st = feed(&decoding, decoding.packet);
        av_packet_unref(decoding.packet);
        if (st != LS_OK)
            goto done;
    }
    LS_TRY(feed(&decoding, NULL));
done:
    av_frame_free(&decoding.frame);
    av_packet_free(&decoding.packet);
    avcodec_free_context(&decoding.decoder);
    avformat_close_input(&decoding.file);
    return st;
}
