/* Playback.  Frames are told apart by the packet they are coded in, which FFmpeg carries through
 * reordering, and not by time stamps (files without them, or with doubles, are common) or by count
 * (a decoder that starts in mid-stream drops leading frames). */
#include "data/playback.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/av.h"
#include "data/decoder.h"
#include "data/side.h"

enum {
    WINDOW_BYTES = 8 << 20,
    FRAMES_PER_PACKET_MAX = 1024,
};

struct playback {
    struct playback_source source;
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *frame;
    uint32_t next; /* packet to feed next */
    bool drained;
    int frames_since_fed;
    uint64_t errors;
    uint8_t *window; /* bytes of the file, [window_at, window_at + window_bytes) */
    size_t window_room;
    uint64_t window_at;
    size_t window_bytes;
    uint16_t *ordinals; /* by packet since playback_start, from source.first */
    size_t ordinal_room;
};

/* An assertion of FFmpeg does not hold. */
static ls_status break_off(const struct playback *playback)
{
    const struct playback_source *source = &playback->source;
    return LS_FAIL(LS_DATA, "%s: FFmpeg broke off at packet %u of '%.300s': %s", source->path,
                   playback->next, (const char *)source->blob + source->video->name_at,
                   av_log_first());
}

ls_status playback_open(struct playback **out)
{
    ls_status st = LS_OK;
    struct playback *playback = NULL;
    av_log_capture();
    LS_TRY(core_alloc(&playback, 1));
    playback->packet = av_packet_alloc();
    playback->frame = av_frame_alloc();
    if (playback->packet == NULL || playback->frame == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for a decoder");
        goto done;
    }
    *out = playback;
    playback = NULL;
done:
    playback_close(&playback);
    return st;
}

void playback_close(struct playback **playback)
{
    struct playback *closing = *playback;
    if (closing == NULL)
        return;
    decoder_close(&closing->decoder);
    av_packet_free(&closing->packet);
    av_frame_free(&closing->frame);
    free(closing->window);
    free(closing->ordinals);
    free(closing);
    *playback = NULL;
}

void playback_source(struct playback *playback, const struct playback_source *source)
{
    playback->source = *source;
    playback->window_bytes = 0;
    decoder_close(&playback->decoder);
}

ls_status playback_start(struct playback *playback, uint32_t packet)
{
    ls_status st = LS_OK;
    const struct playback_source *source = &playback->source;
    LS_TRY(decoder_open(&playback->decoder, source->video, source->blob, source->path));
    if (source->count > playback->ordinal_room) {
        free(playback->ordinals);
        playback->ordinals = NULL;
        playback->ordinal_room = 0;
        LS_TRY(core_alloc(&playback->ordinals, source->count));
        playback->ordinal_room = source->count;
    }
    memset(playback->ordinals, 0, source->count * sizeof *playback->ordinals);
    playback->next = packet;
    playback->drained = false;
    playback->frames_since_fed = 0;
    playback->errors = 0;
done:
    return st;
}

void playback_pass_unreferenced(struct playback *playback)
{
    playback->decoder->skip_frame = AVDISCARD_NONREF;
}

/* Bytes [at, at + size) of the file: from the window, or by one pread that takes all packets up to
 * `last` along, as far as the window reaches. */
static ls_status read_window(struct playback *playback, const uint8_t **out, uint64_t at,
                             size_t size, uint32_t last)
{
    ls_status st = LS_OK;
    const struct playback_source *source = &playback->source;
    if (playback->window_bytes > 0 && at >= playback->window_at &&
        at - playback->window_at <= playback->window_bytes &&
        size <= playback->window_bytes - (size_t)(at - playback->window_at)) {
        *out = playback->window + (at - playback->window_at);
        return LS_OK;
    }
    const struct packet_record *end = &source->packets[last - source->first];
    uint64_t wanted = source->bytes_offset + end->offset + end->size + end->side_size;
    size_t bytes = wanted > at && wanted - at < WINDOW_BYTES ? (size_t)(wanted - at) : WINDOW_BYTES;
    if (wanted <= at || bytes < size)
        bytes = size;
    playback->window_bytes = 0;
    if (playback->window == NULL || bytes > playback->window_room) {
        free(playback->window);
        playback->window = NULL;
        playback->window_room = 0;
        LS_TRY(core_alloc(&playback->window, bytes));
        playback->window_room = bytes;
    }
    LS_TRY(files_read_at(source->file, playback->window, bytes, at, source->path));
    playback->window_at = at;
    playback->window_bytes = bytes;
    *out = playback->window;
done:
    return st;
}

/* AVFrame.pkt_pos carries our packet number through the decoder. */
#if LIBAVUTIL_VERSION_MAJOR >= 60
#error "FFmpeg 8 has no AVFrame.pkt_pos: carry the packet number in AVPacket.opaque instead"
#endif

static ls_status feed(struct playback *playback, uint32_t last)
{
    ls_status st = LS_OK;
    const struct playback_source *source = &playback->source;
    const struct packet_record *record = &source->packets[playback->next - source->first];
    AVPacket *packet = playback->packet;
    const uint8_t *data = NULL;
    int result = 0;
    LS_TRY(read_window(playback, &data, source->bytes_offset + record->offset,
                       (size_t)record->size + record->side_size, last));
    if (!source->unchecked && record_packet_check(record, data) != record->check) {
        st = LS_FAIL(LS_DATA, "%s: damaged: packet %u of '%.300s'", source->path, playback->next,
                     (const char *)source->blob + source->video->name_at);
        goto done;
    }
    /* The packet is lent, not counted: FFmpeg copies it and adds the padding that decoders need. */
    packet->data = (uint8_t *)(uintptr_t)data;
    packet->size = (int)record->size;
    packet->pts = record->pts;
    packet->dts = record->dts;
    packet->duration = record->duration;
    packet->pos = playback->next;
    packet->flags = (record->flags & PACKET_KEY ? AV_PKT_FLAG_KEY : 0) |
                    (record->flags & PACKET_CORRUPT ? AV_PKT_FLAG_CORRUPT : 0) |
                    (record->flags & PACKET_DISCARD ? AV_PKT_FLAG_DISCARD : 0);
    LS_TRY(side_attach(packet, data + record->size, record->side_size));
    if (!decoder_send(&result, &playback->decoder, packet)) {
        st = break_off(playback);
        goto done;
    }
    if (result == AVERROR(ENOMEM)) {
        st = LS_FAIL(LS_NOMEM, "%s: out of memory while decoding", source->path);
        goto done;
    }
    if (result < 0)
        playback->errors++;
    playback->next++;
    playback->frames_since_fed = 0;
done:
    av_packet_unref(packet);
    return st;
}

static void pass_unwanted(struct playback *playback, uint32_t last, const uint8_t *wanted)
{
    const struct playback_source *source = &playback->source;
    while (playback->next <= last &&
           (source->packets[playback->next - source->first].flags & PACKET_SKIPPABLE) &&
           !wanted[playback->next - source->first])
        playback->next++;
}

/* A frame out of the decoder: LS_OK, or LS_EOF when it wants more packets or has none left. */
static ls_status receive(struct playback *playback, struct playback_frame *out)
{
    const struct playback_source *source = &playback->source;
    for (;;) {
        int result = 0;
        if (!decoder_receive(&result, &playback->decoder, playback->frame))
            return break_off(playback);
        if (result == AVERROR(EAGAIN) || result == AVERROR_EOF)
            return LS_EOF;
        if (result == AVERROR(ENOMEM))
            return LS_FAIL(LS_NOMEM, "%s: out of memory while decoding", source->path);
        if (++playback->frames_since_fed > FRAMES_PER_PACKET_MAX)
            return LS_FAIL(LS_DATA, "%s: packet %u decodes without end", source->path,
                           playback->next);
        if (result < 0) {
            playback->errors++;
            continue;
        }
        int64_t packet = playback->frame->pkt_pos;
        bool known = packet >= source->first && packet < (int64_t)source->first + source->count;
        *out = (struct playback_frame){
            .frame = playback->frame,
            .packet = known ? (uint32_t)packet : UINT32_MAX,
            .fed = playback->next - 1,
        };
        if (known)
            out->ordinal = playback->ordinals[packet - source->first]++;
        return LS_OK;
    }
}

ls_status playback_next(struct playback *playback, uint32_t last, const uint8_t *wanted,
                        struct playback_frame *out)
{
    ls_status st = LS_OK;
    int result = 0;
    if (playback->decoder == NULL)
        return LS_FAIL(LS_DATA, "%s: the decoder is gone", playback->source.path);
    for (;;) {
        st = receive(playback, out);
        if (st != LS_EOF)
            return st;
        if (wanted != NULL)
            pass_unwanted(playback, last, wanted);
        if (playback->next <= last) {
            LS_TRY(feed(playback, last));
            continue;
        }
        if (playback->drained ||
            (playback->next < playback->source.video->packets && wanted == NULL))
            return LS_EOF;
        playback->drained = true;
        if (!decoder_send(&result, &playback->decoder, NULL))
            return break_off(playback);
        if (result < 0)
            return LS_EOF;
    }
done:
    return st;
}

uint32_t playback_position(const struct playback *playback)
{
    return playback->next;
}

uint64_t playback_errors(const struct playback *playback)
{
    return playback->errors;
}
