/* The packets of a clip are found as data/clip_reader.c finds them: by segments, without the
 * skippable packets that hold no wanted frame. */
#include "tests/support/bare_decode.h"

#include <libavcodec/avcodec.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/dataset_internal.h"
#include "data/table.h"

struct packet {
    int64_t video;
    uint8_t *data; /* padded; NULL: a segment ends here */
    int size;
    int64_t pts, dts;
    bool key;
};

struct bare_decode {
    const struct dataset *dataset;
    AVCodecContext **decoders; /* by video */
    struct packet *packets;
    size_t count, room;
};

ls_status bare_decode_open(struct bare_decode **out, const struct dataset *dataset)
{
    ls_status st = LS_OK;
    struct bare_decode *bare = NULL;
    LS_TRY(core_alloc(&bare, 1));
    bare->dataset = dataset;
    const size_t videos = (size_t)dataset_video_count(dataset);
    LS_TRY(core_alloc_bytes((void **)&bare->decoders, videos, sizeof(AVCodecContext *)));
    *out = bare;
    bare = NULL;
done:
    bare_decode_close(&bare);
    return st;
}

void bare_decode_close(struct bare_decode **bare)
{
    struct bare_decode *closing = *bare;
    if (closing == NULL)
        return;
    for (size_t i = 0; i < closing->count; i++)
        free(closing->packets[i].data);
    for (int64_t v = 0; closing->decoders != NULL && v < dataset_video_count(closing->dataset); v++)
        avcodec_free_context(&closing->decoders[v]);
    free(closing->packets);
    free(closing->decoders);
    free(closing);
    *bare = NULL;
}

static ls_status open_decoder(struct bare_decode *bare, int64_t video,
                              const struct dataset_place *place)
{
    ls_status st = LS_OK;
    const uint8_t *blob = bare->dataset->index.blob;
    const AVCodecDescriptor *descriptor =
        avcodec_descriptor_get_by_name((const char *)blob + place->video.codec_at);
    const AVCodec *codec = descriptor != NULL ? avcodec_find_decoder(descriptor->id) : NULL;
    AVCodecContext *decoder = codec != NULL ? avcodec_alloc_context3(codec) : NULL;
    if (decoder == NULL)
        return LS_FAIL(LS_DATA, "no decoder");
    bare->decoders[video] = decoder;
    decoder->thread_count = 1;
    decoder->width = place->video.coded_width;
    decoder->height = place->video.coded_height;
    const size_t size = (size_t)place->video.extradata_size;
    decoder->extradata = av_mallocz(size + AV_INPUT_BUFFER_PADDING_SIZE);
    if (decoder->extradata == NULL)
        return LS_FAIL(LS_NOMEM, "out of memory");
    memcpy(decoder->extradata, blob + place->video.extradata_at, size);
    decoder->extradata_size = (int)size;
    if (avcodec_open2(decoder, codec, NULL) < 0)
        st = LS_FAIL(LS_DATA, "the decoder does not open");
    return st;
}

static ls_status add_packet(struct bare_decode *bare, const struct dataset_place *place,
                            int64_t video, const struct packet_record *record)
{
    ls_status st = LS_OK;
    struct packet packet = {.video = video};
    LS_TRY(table_grow((void **)&bare->packets, &bare->room, bare->count, sizeof *bare->packets));
    if (record != NULL) {
        LS_TRY(core_alloc(&packet.data, (size_t)record->size + AV_INPUT_BUFFER_PADDING_SIZE));
        st = files_read_at(place->file, packet.data, record->size,
                           place->shard->bytes_at + record->offset, place->path);
        packet.size = (int)record->size;
        packet.pts = record->pts;
        packet.dts = record->dts;
        packet.key = (record->flags & PACKET_KEY) != 0;
    }
    bare->packets[bare->count++] = packet;
done:
    return st;
}

/* Packets [start, last] but for those that no frame of [frames, frames + count) needs. */
static ls_status add_segment(struct bare_decode *bare, const struct dataset_place *place,
                             int64_t video, const struct frame_record *frames, int count,
                             uint32_t start, uint32_t last)
{
    ls_status st = LS_OK;
    for (uint32_t p = start; p <= last; p++) {
        struct packet_record record;
        uint8_t row[PACKET_ROW_BYTES];
        bool wanted = false;
        LS_TRY(dataset_read_rows(&record, row, place, &record_packet_layout,
                                 place->shard->packets_at, place->video.first_packet + p, 1));
        for (int i = 0; i < count; i++)
            wanted |= frames[i].packet == p;
        if (wanted || !(record.flags & PACKET_SKIPPABLE))
            LS_TRY(add_packet(bare, place, video, &record));
    }
    LS_TRY(add_packet(bare, place, video, NULL));
done:
    return st;
}

ls_status bare_decode_add(struct bare_decode *bare, int64_t video, const int64_t *numbers,
                          int count)
{
    ls_status st = LS_OK;
    struct dataset_place place;
    struct frame_record *frames = NULL;
    LS_TRY(core_alloc(&frames, count));
    LS_TRY(dataset_place(&place, bare->dataset, video));
    if (bare->decoders[video] == NULL)
        LS_TRY(open_decoder(bare, video, &place));
    for (int i = 0; i < count; i++) {
        uint8_t row[FRAME_ROW_BYTES];
        LS_TRY(dataset_read_rows(&frames[i], row, &place, &record_frame_layout,
                                 place.shard->frames_at,
                                 place.video.first_frame + (uint64_t)numbers[i], 1));
    }
    for (int first = 0, end = 0; first < count; first = end) {
        uint32_t start = frames[first].start;
        uint32_t last = frames[first].last;
        for (end = first + 1; end < count && frames[end].start <= last; end++) {
            start = frames[end].start < start ? frames[end].start : start;
            last = frames[end].last > last ? frames[end].last : last;
        }
        LS_TRY(add_segment(bare, &place, video, frames + first, end - first, start, last));
    }
done:
    free(frames);
    return st;
}

static int64_t receive_all(AVCodecContext *decoder, AVFrame *frame)
{
    int64_t count = 0;
    while (avcodec_receive_frame(decoder, frame) >= 0)
        count++;
    return count;
}

ls_status bare_decode_run(struct bare_decode *bare, int64_t *frames, int64_t *packets)
{
    ls_status st = LS_OK;
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    *frames = 0;
    *packets = 0;
    if (packet == NULL || frame == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory");
        goto done;
    }
    for (size_t i = 0; i < bare->count; i++) {
        const struct packet *from = &bare->packets[i];
        AVCodecContext *decoder = bare->decoders[from->video];
        packet->data = from->data;
        packet->size = from->size;
        packet->pts = from->pts;
        packet->dts = from->dts;
        packet->flags = from->key ? AV_PKT_FLAG_KEY : 0;
        if (avcodec_send_packet(decoder, from->data != NULL ? packet : NULL) < 0) {
            st = LS_FAIL(LS_DATA, "a packet is refused");
            goto done;
        }
        *packets += from->data != NULL;
        *frames += receive_all(decoder, frame);
        if (from->data == NULL)
            avcodec_flush_buffers(decoder);
    }
done:
    av_packet_free(&packet);
    av_frame_free(&frame);
    return st;
}
