/* Reading a source file: its packets go into the part as they come, its stream's description into
 * the video's row. */
#include <libavutil/avutil.h>
#include <string.h>

#include "data/exif.h"
#include "data/pack_work.h"
#include "data/side.h"
#include "data/video.h"

enum { PACKETS_MAX = 1 << 22 };

static ls_status write_bytes(struct pack_work *work, const void *data, size_t size, uint64_t *at)
{
    ls_status st = part_writer_bytes(work->part, data, size, at);
    work->part_status = st;
    if (st == LS_OK)
        hash_stream_add(work->hash, data, size);
    return st;
}

/* The packet's side data, and on key packets the extradata in force: decoding may start here. */
static ls_status collect_side_data(struct pack_work *work, struct record_blob *out,
                                   const AVPacket *packet)
{
    ls_status st = LS_OK;
    uint32_t size;
    size_t new_size = 0;
    LS_TRY(side_encode(out, &size, packet->side_data, packet->side_data_elems));
    const uint8_t *new_data = side_find(out->data, out->size, SIDE_NEW_EXTRADATA, &new_size);
    if (new_data != NULL) {
        work->carried.size = 0;
        LS_TRY(side_add(&work->carried, SIDE_NEW_EXTRADATA, new_data, new_size));
    } else if (work->carried.size > 0 && (packet->flags & AV_PKT_FLAG_KEY)) {
        const uint8_t *carried =
            side_find(work->carried.data, work->carried.size, SIDE_NEW_EXTRADATA, &new_size);
        LS_TRY(side_add(out, SIDE_NEW_EXTRADATA, carried, new_size));
    }
done:
    return st;
}

static ls_status store_packet(struct pack_work *work, const AVPacket *packet)
{
    ls_status st = LS_OK;
    struct record_blob side = {0};
    uint64_t at;
    if (work->packet_count == PACKETS_MAX) {
        st = LS_FAIL(LS_DATA, "%s: more than %d packets", work->source->path, PACKETS_MAX);
        goto done;
    }
    if (work->packet_count == 0)
        work->exif = exif_number(packet->data, (size_t)packet->size);
    LS_TRY(collect_side_data(work, &side, packet));
    LS_TRY(table_grow((void **)&work->packets, &work->packet_room, work->packet_count,
                      sizeof *work->packets));
    struct packet_record record = {
        .pts = packet->pts,
        .dts = packet->dts,
        .duration = packet->duration,
        .size = (uint32_t)packet->size,
        .side_size = (uint32_t)side.size,
        .flags = (packet->flags & AV_PKT_FLAG_KEY ? (uint32_t)PACKET_KEY : 0) |
                 (packet->flags & AV_PKT_FLAG_CORRUPT ? (uint32_t)PACKET_CORRUPT : 0) |
                 (packet->flags & AV_PKT_FLAG_DISCARD ? (uint32_t)PACKET_DISCARD : 0),
    };
    LS_TRY(write_bytes(work, packet->data, (size_t)packet->size, &record.offset));
    LS_TRY(write_bytes(work, side.data, side.size, &at));
    work->video.bytes_size += (uint64_t)packet->size + side.size;
    work->packets[work->packet_count++] = record;
    if (work->packet_count % PACK_ALIVE_EVERY == 0)
        work->progress->alive(work->progress->context);
done:
    record_blob_close(&side);
    return st;
}

static ls_status add_text(struct pack_work *work, const char *text, uint64_t *at, uint64_t *size)
{
    return record_blob_add(&work->blob, text, strlen(text), at, size);
}

void pack_describe_parameters(struct video_record *out, const AVCodecParameters *from)
{
    out->codec_id = (uint32_t)from->codec_id;
    out->codec_tag = from->codec_tag;
    out->coded_format = from->format;
    out->bit_rate = from->bit_rate;
    out->bits_per_coded_sample = from->bits_per_coded_sample;
    out->bits_per_raw_sample = from->bits_per_raw_sample;
    out->profile = from->profile;
    out->level = from->level;
    out->coded_width = from->width;
    out->coded_height = from->height;
    out->sample_aspect_num = from->sample_aspect_ratio.num;
    out->sample_aspect_den = from->sample_aspect_ratio.den;
    out->field_order = (int32_t)from->field_order;
    out->color_range = (int32_t)from->color_range;
    out->color_primaries = (int32_t)from->color_primaries;
    out->color_transfer = (int32_t)from->color_trc;
    out->color_space = (int32_t)from->color_space;
    out->chroma_location = (int32_t)from->chroma_location;
    out->video_delay = from->video_delay;
}

static ls_status describe_stream(struct pack_work *work, const struct video_stream *stream)
{
    ls_status st = LS_OK;
    struct video_record *video = &work->video;
    const AVCodecParameters *parameters = stream->parameters;
    struct record_blob side = {0};
    uint32_t size;
    LS_TRY(add_text(work, stream->container, &video->container_at, &video->container_size));
    LS_TRY(add_text(work, avcodec_get_name(parameters->codec_id), &video->codec_at,
                    &video->codec_size));
    LS_TRY(record_blob_add(&work->blob, parameters->extradata, (size_t)parameters->extradata_size,
                           &video->extradata_at, &video->extradata_size));
    LS_TRY(side_encode(&side, &size, stream->side_data, stream->side_data_count));
    LS_TRY(record_blob_add(&work->blob, side.data, side.size, &video->side_data_at,
                           &video->side_data_size));
    pack_describe_parameters(video, parameters);
    video->start_time = stream->start_time;
    video->duration = stream->duration;
    video->time_base_num = stream->time_base.num;
    video->time_base_den = stream->time_base.den;
    video->average_rate_num = stream->average_rate.num;
    video->average_rate_den = stream->average_rate.den;
    video->real_rate_num = stream->real_rate.num;
    video->real_rate_den = stream->real_rate.den;
    if (video->time_base_num <= 0 || video->time_base_den <= 0)
        st = LS_FAIL(LS_DATA, "%s: no time base", work->source->path);
done:
    record_blob_close(&side);
    return st;
}

ls_status pack_read(struct pack_work *work)
{
    ls_status st = LS_OK;
    struct video *video = NULL;
    AVPacket *packet = av_packet_alloc();
    if (packet == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for a packet");
        goto done;
    }
    LS_TRY(video_open(&video, work->source->path));
    struct video_stream stream = video_stream(video);
    LS_TRY(describe_stream(work, &stream));
    for (;;) {
        st = video_read(video, packet);
        if (st == LS_EOF)
            break;
        if (st != LS_OK)
            goto done;
        LS_TRY(store_packet(work, packet));
        av_packet_unref(packet);
    }
    st = LS_OK;
    if (video_damaged(video))
        work->video.flags |= VIDEO_SOURCE_DAMAGED;
    if (work->packet_count == 0)
        st = LS_FAIL(LS_DATA, "%s: the video stream is empty", work->source->path);
done:
    av_packet_free(&packet);
    video_close(&video);
    return st;
}
