/* Hashes of native planes, row by row: nothing is copied. */
#include "data/planes.h"

#include <libavutil/imgutils.h>
#include <libavutil/md5.h>
#include <libavutil/mem.h>
#include <libavutil/pixdesc.h>
#include <stdbool.h>
#include <stdio.h>

#include "core/hash.h"

enum { PALETTE_BYTES = 1024 };

int64_t planes_bytes(const AVFrame *frame)
{
    int bytes = av_image_get_buffer_size(frame->format, frame->width, frame->height, 1);
    return bytes > 0 ? bytes : 0;
}

typedef void (*row_callback)(void *context, const uint8_t *row, size_t bytes);

static ls_status walk(const AVFrame *frame, row_callback take, void *context)
{
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(frame->format);
    int planes = av_pix_fmt_count_planes(frame->format);
    int width[4] = {0};
    if (format == NULL || planes <= 0 || (format->flags & AV_PIX_FMT_FLAG_HWACCEL) ||
        av_image_fill_linesizes(width, frame->format, frame->width) < 0)
        return LS_FAIL(LS_DATA, "pixel format %d has no planes", frame->format);
    bool palette = (format->flags & AV_PIX_FMT_FLAG_PAL) != 0;
    for (int p = 0; p < planes && !(palette && p > 0); p++) {
        bool chroma = p == 1 || p == 2;
        int height = chroma ? AV_CEIL_RSHIFT(frame->height, format->log2_chroma_h) : frame->height;
        for (int y = 0; y < height; y++)
            take(context, frame->data[p] + (ptrdiff_t)frame->linesize[p] * y, (size_t)width[p]);
    }
    if (palette)
        take(context, frame->data[1], PALETTE_BYTES);
    return LS_OK;
}

static void add_to_hash(void *context, const uint8_t *row, size_t bytes)
{
    hash_stream_add(context, row, bytes);
}

ls_status planes_hash(uint64_t *out, const AVFrame *frame)
{
    ls_status st = LS_OK;
    struct hash_stream *stream = NULL;
    LS_TRY(hash_stream_open(&stream));
    LS_TRY(walk(frame, add_to_hash, stream));
    *out = hash_stream_value(stream).low;
done:
    hash_stream_close(&stream);
    return st;
}

static void add_to_md5(void *context, const uint8_t *row, size_t bytes)
{
    av_md5_update(context, row, bytes);
}

ls_status planes_md5(char *out, const AVFrame *frame)
{
    ls_status st = LS_OK;
    uint8_t digest[16];
    struct AVMD5 *md5 = av_md5_alloc();
    if (md5 == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory for an MD5 state");
    av_md5_init(md5);
    LS_TRY(walk(frame, add_to_md5, md5));
    av_md5_final(md5, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", digest[i]);
done:
    av_free(md5);
    return st;
}
