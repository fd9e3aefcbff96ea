/* The choice between our own planar path and swscale, and the matrix that both use. */
#include "data/colour.h"

#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdlib.h>

#include "core/files.h"
#include "data/av.h"
#include "data/planar.h"

static const int sws_flags = SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT;

struct colour {
    struct planar *planar;
    struct colour_columns columns;
    uint32_t *row;
    int row_capacity;
    bool by_planar;
    /* swscale's whole frame, RGB0 */
    struct SwsContext *sws;
    uint8_t *image;
    size_t image_bytes;
    int image_stride;
};

ls_status colour_open(struct colour **out)
{
    ls_status st = LS_OK;
    struct colour *colour = NULL;
    LS_TRY(core_alloc(&colour, 1));
    LS_TRY(planar_open(&colour->planar));
    *out = colour;
    colour = NULL;
done:
    colour_close(&colour);
    return st;
}

void colour_close(struct colour **colour)
{
    if (*colour == NULL)
        return;
    planar_close(&(*colour)->planar);
    sws_freeContext((*colour)->sws);
    free((*colour)->row);
    free((*colour)->image);
    free(*colour);
    *colour = NULL;
}

/* swscale's matrix of a frame, in its 16 fraction bits: what a limited-range sample is times. */
static const int *matrix_of(const AVFrame *frame)
{
    const int space = (int)frame->colorspace;
    const bool known =
        space >= AVCOL_SPC_BT709 && space <= AVCOL_SPC_BT2020_CL && space != AVCOL_SPC_YCGCO;
    return sws_getCoefficients(known ? space : SWS_CS_ITU601);
}

/* Where the frame does not say, the format does, as in swscale: grey is full range. */
static bool is_full_range(const AVFrame *frame)
{
    const enum AVPixelFormat format = (enum AVPixelFormat)frame->format;
    const AVPixFmtDescriptor *desc = av_pix_fmt_desc_get(format);
    if (frame->color_range != AVCOL_RANGE_UNSPECIFIED)
        return frame->color_range == AVCOL_RANGE_JPEG;
    if (desc != NULL && desc->nb_components <= 2)
        return true;
    return format == AV_PIX_FMT_YUVJ420P || format == AV_PIX_FMT_YUVJ422P ||
           format == AV_PIX_FMT_YUVJ444P || format == AV_PIX_FMT_YUVJ440P ||
           format == AV_PIX_FMT_YUVJ411P;
}

bool colour_is_alike(const AVFrame *a, const AVFrame *b)
{
    return matrix_of(a) == matrix_of(b) && is_full_range(a) == is_full_range(b);
}

/* A coefficient with 16 fraction bits in ROWS_MATRIX_BITS, chroma of full range being scaled. */
static int16_t coefficient(int64_t value, bool chroma, bool full_range)
{
    if (chroma && full_range)
        value = value * 224 / 255;
    const int shift = 16 - ROWS_MATRIX_BITS;
    return (int16_t)((value + (1 << (shift - 1))) >> shift);
}

static struct rows_matrix rows_matrix_of(const AVFrame *frame)
{
    const int *table = matrix_of(frame);
    const bool full = is_full_range(frame);
    return (struct rows_matrix){
        .offset = (int16_t)(full ? 0 : 16 << ROWS_LUMA_BITS),
        .y = coefficient(full ? 65536 : 65536 * 255 / 219, false, full),
        .v_r = coefficient(table[0], true, full),
        .u_b = coefficient(table[1], true, full),
        .u_g = coefficient(-table[2], true, full),
        .v_g = coefficient(-table[3], true, full),
    };
}

struct scaling {
    struct colour *colour;
    const AVFrame *frame;
    int rows; /* converted; -1: swscale refuses */
};

static void call_scale(void *context)
{
    struct scaling *scaling = context;
    struct colour *colour = scaling->colour;
    const AVFrame *frame = scaling->frame;
    uint8_t *planes[4] = {colour->image, NULL, NULL, NULL};
    const int strides[4] = {colour->image_stride, 0, 0, 0};
    colour->sws =
        sws_getCachedContext(colour->sws, frame->width, frame->height, frame->format, frame->width,
                             frame->height, AV_PIX_FMT_RGB0, sws_flags, NULL, NULL, NULL);
    if (colour->sws == NULL)
        return;
    /* Not an error: -1 says that the format has no matrix. */
    (void)sws_setColorspaceDetails(colour->sws, matrix_of(frame), is_full_range(frame),
                                   sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
    scaling->rows = sws_scale(colour->sws, (const uint8_t *const *)frame->data, frame->linesize, 0,
                              frame->height, planes, strides);
}

static ls_status convert_by_sws(struct colour *colour, const AVFrame *frame)
{
    ls_status st = LS_OK;
    const enum AVPixelFormat format = (enum AVPixelFormat)frame->format;
    const char *name = av_get_pix_fmt_name(format);
    const int stride = (frame->width * 4 + 63) / 64 * 64;
    /* swscale's vector loops write up to a vector beyond a row. */
    const size_t bytes = (size_t)stride * (size_t)frame->height + 64;
    if (!sws_isSupportedInput(format))
        return LS_FAIL(LS_DATA, "pixel format %s is not supported",
                       name != NULL ? name : "unknown");
    if (bytes > colour->image_bytes) {
        free(colour->image);
        colour->image = NULL;
        colour->image_bytes = 0;
        LS_TRY(core_alloc(&colour->image, bytes));
        colour->image_bytes = bytes;
    }
    colour->image_stride = stride;
    struct scaling scaling = {.colour = colour, .frame = frame, .rows = -1};
    av_log_clear();
    if (!av_contain(call_scale, &scaling)) {
        colour->sws = NULL; /* leaked: what it was doing is not known */
        return LS_FAIL(LS_DATA, "swscale broke off in a %s frame of %d x %d: %s", name,
                       frame->width, frame->height, av_log_first());
    }
    if (colour->sws == NULL)
        return LS_FAIL(LS_DATA, "swscale refuses a %s frame of %d x %d", name, frame->width,
                       frame->height);
    if (scaling.rows != frame->height)
        st = LS_FAIL(LS_DATA, "swscale converted %d of %d rows of a %s frame", scaling.rows,
                     frame->height, name);
done:
    return st;
}

struct picture colour_picture(const struct AVFrame *frame)
{
    return (struct picture){frame->width, frame->height, frame->format};
}

ls_status colour_begin(struct colour *colour, const struct AVFrame *frame,
                       struct colour_columns columns, bool same_columns)
{
    ls_status st = LS_OK;
    if (frame->width < 1 || frame->height < 1 || frame->data[0] == NULL)
        return LS_FAIL(LS_DATA, "a decoded frame is empty");
    if (columns.count > colour->row_capacity) {
        free(colour->row);
        colour->row = NULL;
        colour->row_capacity = 0;
        LS_TRY(core_alloc(&colour->row, columns.count));
        colour->row_capacity = columns.count;
    }
    colour->columns = columns;
    const bool was_planar = colour->by_planar;
    colour->by_planar = planar_reads(frame->format);
    if (colour->by_planar) {
        struct rows_matrix matrix = rows_matrix_of(frame);
        LS_TRY(planar_begin(colour->planar, frame, columns, same_columns && was_planar, &matrix));
    } else {
        LS_TRY(convert_by_sws(colour, frame));
    }
done:
    return st;
}

const uint32_t *colour_row(struct colour *colour, int y)
{
    if (colour->by_planar) {
        planar_row(colour->planar, colour->row, y);
        return colour->row;
    }
    const uint8_t *row = colour->image + (ptrdiff_t)y * colour->image_stride;
    for (int i = 0; i < colour->columns.count; i++) {
        const uint8_t *pixel = row + (ptrdiff_t)colour->columns.columns[i] * 4;
        colour->row[i] = pixel[0] | (uint32_t)pixel[1] << 8 | (uint32_t)pixel[2] << 16;
    }
    return colour->row;
}
