/* Decoded frames into a part.  The tables have the form of any other video, with a codec that
 * FFmpeg knows, so that everything that reads a dataset reads these too. */
#include "data/pack_frames.h"

#include <libavcodec/avcodec.h>
#include <libavutil/pixdesc.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/planes.h"
#include "data/transform.h"

enum { PIXEL_BYTES = 3, RGB24_TAG = 24 << 24 | 'B' << 16 | 'G' << 8 | 'R' };

struct frames_work {
    struct pack_work *from;
    struct part_writer *part;
    struct transform *transform;
    struct transform_view view;
    struct hash_stream *hash;
    struct record_blob blob;
    struct video_record video;
    struct packet_record *packets;
    struct frame_record *frames;
    AVFrame *picture; /* over `pixels` */
    uint8_t *pixels;
    size_t bytes;
};

void pack_frames_size(int *width, int *height, int side)
{
    const int shorter = *width < *height ? *width : *height;
    if (shorter <= side)
        return;
    *width = (int)((int64_t)*width * side / shorter);
    *height = (int)((int64_t)*height * side / shorter);
}

static ls_status frames_open(struct frames_work *out, struct pack_work *from, const char *part_path)
{
    ls_status st = LS_OK;
    const struct video_record *video = &from->video;
    int width = video->width;
    int height = video->height;
    pack_frames_size(&width, &height, from->source->frame_side);
    *out =
        (struct frames_work){.from = from, .bytes = (size_t)width * (size_t)height * PIXEL_BYTES};
    out->view = (struct transform_view){
        .orientation = {video->quarter_turns, video->flip_horizontal != 0},
        .shown_width = video->width,
        .shown_height = video->height,
        .box = {.width = video->width, .height = video->height},
        .width = width,
        .height = height,
    };
    LS_TRY(core_alloc(&out->packets, from->frame_count));
    LS_TRY(core_alloc(&out->frames, from->frame_count));
    LS_TRY(core_alloc(&out->pixels, out->bytes));
    LS_TRY(transform_open(&out->transform));
    LS_TRY(hash_stream_open(&out->hash));
    st = part_writer_open(&out->part, part_path);
    from->part_status = st;
    if (st != LS_OK)
        goto done;
    out->picture = av_frame_alloc();
    if (out->picture == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for a frame");
        goto done;
    }
    out->picture->width = width;
    out->picture->height = height;
    out->picture->format = AV_PIX_FMT_RGB24;
    out->picture->data[0] = out->pixels;
    out->picture->linesize[0] = width * PIXEL_BYTES;
done:
    return st;
}

static void frames_close(struct frames_work *work)
{
    part_writer_close(&work->part);
    transform_close(&work->transform);
    hash_stream_close(&work->hash);
    record_blob_close(&work->blob);
    av_frame_free(&work->picture);
    free(work->packets);
    free(work->frames);
    free(work->pixels);
}

/* Frame `n`, which `decoded` shows. */
static ls_status store(struct frames_work *work, size_t n, const AVFrame *decoded)
{
    ls_status st = LS_OK;
    const struct frame_record *shown = &work->from->frames[n];
    struct packet_record *packet = &work->packets[n];
    struct frame_record *frame = &work->frames[n];
    LS_TRY(transform_frame(work->transform, work->pixels, decoded, &work->view));
    *packet = (struct packet_record){.pts = shown->time,
                                     .dts = shown->time,
                                     .size = (uint32_t)work->bytes,
                                     .flags = PACKET_KEY | PACKET_SKIPPABLE};
    st = part_writer_bytes(work->part, work->pixels, work->bytes, &packet->offset);
    work->from->part_status = st;
    if (st != LS_OK)
        goto done;
    hash_stream_add(work->hash, work->pixels, work->bytes);
    packet->check = record_packet_check(packet, work->pixels);
    *frame = (struct frame_record){.time = shown->time,
                                   .start = (uint32_t)n,
                                   .last = (uint32_t)n,
                                   .packet = (uint32_t)n,
                                   .width = (uint32_t)work->view.width,
                                   .height = (uint32_t)work->view.height,
                                   .flags = shown->flags};
    LS_TRY(planes_hash(&frame->planes, work->picture));
    frame->check = record_frame_check(frame);
    if (n % PACK_ALIVE_EVERY == 0)
        work->from->progress->alive(work->from->progress->context);
done:
    return st;
}

/* A text or binary value of the analysed video, into the new blob. */
static ls_status carry(struct frames_work *work, uint64_t *at, uint64_t *size)
{
    return record_blob_add(&work->blob, work->from->blob.data + *at, (size_t)*size, at, size);
}

static ls_status describe(struct frames_work *work)
{
    ls_status st = LS_OK;
    struct video_record *video = &work->video;
    const struct hash128 hash = hash_stream_value(work->hash);
    *video = work->from->video;
    LS_TRY(carry(work, &video->name_at, &video->name_size));
    LS_TRY(carry(work, &video->container_at, &video->container_size));
    LS_TRY(record_blob_add(&work->blob, STORED_CODEC, strlen(STORED_CODEC), &video->codec_at,
                           &video->codec_size));
    LS_TRY(record_blob_add(&work->blob, STORED_FORMAT, strlen(STORED_FORMAT), &video->format_at,
                           &video->format_size));
    LS_TRY(record_blob_add(&work->blob, "", 0, &video->extradata_at, &video->extradata_size));
    LS_TRY(record_blob_add(&work->blob, "", 0, &video->side_data_at, &video->side_data_size));
    video->packets = work->from->frame_count;
    video->bytes_size = work->bytes * work->from->frame_count;
    video->bytes_hash_low = hash.low;
    video->bytes_hash_high = hash.high;
    video->access_packets = 1.0;
    video->flags &= ~(uint32_t)(VIDEO_SIZE_CHANGES | VIDEO_HDR | VIDEO_ALPHA | VIDEO_INTERLACED);
    video->width = video->coded_width = work->view.width;
    video->height = video->coded_height = work->view.height;
    video->quarter_turns = 0;
    video->flip_horizontal = 0;
    video->codec_id = AV_CODEC_ID_RAWVIDEO;
    video->codec_tag = RGB24_TAG;
    video->coded_format = AV_PIX_FMT_RGB24;
    video->bits_per_coded_sample = 8 * PIXEL_BYTES;
    video->bits_per_raw_sample = 0;
    video->profile = FF_PROFILE_UNKNOWN;
    video->level = FF_LEVEL_UNKNOWN;
    video->field_order = AV_FIELD_PROGRESSIVE;
    video->color_range = AVCOL_RANGE_UNSPECIFIED;
    video->color_primaries = AVCOL_PRI_UNSPECIFIED;
    video->color_transfer = AVCOL_TRC_UNSPECIFIED;
    video->color_space = AVCOL_SPC_UNSPECIFIED;
    video->chroma_location = AVCHROMA_LOC_UNSPECIFIED;
    video->video_delay = 0;
    video->decode_errors = 0;
done:
    return st;
}

ls_status pack_frames(struct pack_work *work, struct playback *playback, const char *part_path)
{
    ls_status st = LS_OK;
    struct frames_work frames;
    struct playback_frame got;
    LS_TRY(frames_open(&frames, work, part_path));
    LS_TRY(playback_start(playback, 0));
    for (size_t n = 0; n < work->frame_count; n++) {
        st = playback_next(playback, (uint32_t)work->packet_count - 1, NULL, &got);
        if (st == LS_EOF)
            st = LS_FAIL(LS_DATA, "%s: frame %zu does not come out a second time",
                         work->source->path, n);
        if (st != LS_OK)
            goto done;
        LS_TRY(store(&frames, n, got.frame));
    }
    LS_TRY(describe(&frames));
    st = part_writer_commit_video(frames.part, &frames.video, frames.packets, frames.frames,
                                  &frames.blob);
    work->part_status = st;
done:
    frames_close(&frames);
    return st;
}
