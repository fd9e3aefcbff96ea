/* The source's packets are decoded a second time and encoded; the result is analysed like any other
 * video and then compared with the source's tables. */
#include "data/pack_encode.h"

#include <libavutil/pixdesc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/clip_cost.h"
#include "data/colour.h"
#include "data/encoder.h"
#include "data/pack_analyse.h"
#include "data/pack_frames.h"
#include "data/planes.h"
#include "data/side.h"
#include "data/store_note.h"

/* Below this share of the cost a second encoding, which loses quality, is worth it. */
static const double worth_share = 0.9;

static const double unknown_fps = 25;

struct encoding {
    struct pack_work *from;
    struct pack_work to;
    struct encoder *encoder;
    AVFrame *first; /* of the source */
    int width, height;
    size_t key; /* the last frame that was to be a key frame */
    struct store_note note;
};

static double rate_of(const struct video_record *video)
{
    return video->average_fps > 0 && video->average_fps < 1e6 ? video->average_fps : unknown_fps;
}

static struct clip_cost cost_of(const struct pack_work *work)
{
    return clip_cost_measure(work->frames, work->frame_count, work->packets,
                             work->video.average_fps);
}

static void choose_size(struct encoding *e, const AVPixFmtDescriptor *format)
{
    const int side = e->from->source->encoding.short_side;
    e->width = (int)e->from->frames[0].width;
    e->height = (int)e->from->frames[0].height;
    if (side == 0 || (e->width <= side || e->height <= side))
        return;
    pack_frames_size(&e->width, &e->height, side);
    e->width -= format->log2_chroma_w > 0 ? e->width % 2 : 0;
    e->height -= format->log2_chroma_h > 0 ? e->height % 2 : 0;
}

/* Why a video cannot be encoded, whatever its size; "" when it can. */
static void find_obstacle(char *out, size_t bytes, const struct pack_work *from,
                          const AVPixFmtDescriptor *format)
{
    const uint32_t flags = from->video.flags;
    out[0] = '\0';
    if (flags & VIDEO_STILL)
        (void)snprintf(out, bytes, "a still");
    else if (flags & VIDEO_SIZE_CHANGES)
        (void)snprintf(out, bytes, "its frames change their size");
    else if (flags & VIDEO_INTERLACED)
        (void)snprintf(out, bytes, "interlaced");
    else if (!encoder_takes((enum AVPixelFormat)from->format))
        (void)snprintf(out, bytes, "libx264 does not take pixel format %s",
                       format != NULL ? format->name : "unknown");
}

/* Why it is not to be encoded; chooses the size. */
static void find_reason(char *out, size_t bytes, struct encoding *e)
{
    const struct pack_work *from = e->from;
    const struct video_record *video = &from->video;
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(from->format);
    const double gop_frames = fmax(1, rint(from->source->encoding.gop_s * rate_of(video)));
    find_obstacle(out, bytes, from, format);
    if (out[0] != '\0' || format == NULL)
        return;
    choose_size(e, format);
    const struct clip_cost predicted =
        clip_cost_predict(from->frame_count, (double)e->width * e->height,
                          (uint32_t)fmin(gop_frames, 1e9), video->average_fps);
    if ((format->log2_chroma_w > 0 && e->width % 2 != 0) ||
        (format->log2_chroma_h > 0 && e->height % 2 != 0))
        (void)snprintf(out, bytes, "libx264 takes no odd size (%dx%d) of %s", e->width, e->height,
                       format->name);
    else if (predicted.pixels > worth_share * e->note.before.pixels)
        (void)snprintf(out, bytes, "encoding it again would not make its clips much cheaper");
}

/* Time of a frame by number, also of those before the first (decoding times are). */
static int64_t time_of(const struct pack_work *from, int64_t number)
{
    const int64_t first = from->frames[0].time;
    int64_t step = 1;
    int64_t time;
    if (number >= (int64_t)from->frame_count)
        return RECORD_NO_TIME;
    if (number >= 0)
        return from->frames[number].time;
    if (from->frame_count > 1 && __builtin_sub_overflow(from->frames[1].time, first, &step))
        return RECORD_NO_TIME;
    if (__builtin_mul_overflow(number, step, &time) || __builtin_add_overflow(first, time, &time))
        return RECORD_NO_TIME;
    return time;
}

/* "x264 - core 164 r3095 baee400" out of the settings that the library writes into its stream. */
static void note_encoder(struct store_note *note, const uint8_t *data, size_t size)
{
    static const char begin[] = "x264 - core";
    static const char end[] = " - H.264";
    (void)snprintf(note->encoder, sizeof note->encoder, "libx264");
    const char *found = memmem(data, size, begin, sizeof begin - 1);
    if (found == NULL)
        return;
    const size_t left = size - (size_t)((const uint8_t *)found - data);
    const char *stop = memmem(found, left, end, sizeof end - 1);
    if (stop != NULL)
        (void)snprintf(note->encoder, sizeof note->encoder, "%.*s", (int)(stop - found), found);
}

static ls_status store_packet(struct encoding *e, const AVPacket *packet)
{
    ls_status st = LS_OK;
    struct pack_work *to = &e->to;
    if (to->packet_count == 0)
        note_encoder(&e->note, packet->data, (size_t)packet->size);
    LS_TRY(
        table_grow((void **)&to->packets, &to->packet_room, to->packet_count, sizeof *to->packets));
    struct packet_record record = {
        .pts = time_of(e->from, packet->pts),
        .dts = time_of(e->from, packet->dts),
        .size = (uint32_t)packet->size,
        .flags = packet->flags & AV_PKT_FLAG_KEY ? (uint32_t)PACKET_KEY : 0,
    };
    const int64_t next = time_of(e->from, packet->pts + 1);
    if (next == RECORD_NO_TIME || record.pts == RECORD_NO_TIME ||
        __builtin_sub_overflow(next, record.pts, &record.duration))
        record.duration = 0;
    st = part_writer_bytes(to->part, packet->data, (size_t)packet->size, &record.offset);
    to->part_status = st;
    if (st != LS_OK)
        goto done;
    hash_stream_add(to->hash, packet->data, (size_t)packet->size);
    to->video.bytes_size += (uint64_t)packet->size;
    to->packets[to->packet_count++] = record;
done:
    return st;
}

static ls_status store_packets(struct encoding *e)
{
    ls_status st = LS_OK;
    const AVPacket *packet;
    while ((st = encoder_receive(e->encoder, &packet)) == LS_OK)
        LS_TRY(store_packet(e, packet));
    if (st == LS_EOF)
        st = LS_OK;
done:
    return st;
}

static ls_status open_encoder(struct encoding *e, const AVFrame *first)
{
    ls_status st = LS_OK;
    const struct video_record *video = &e->from->video;
    e->first = av_frame_clone(first);
    if (e->first == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for a frame");
        goto done;
    }
    LS_TRY(encoder_open(&e->encoder,
                        &(struct encoder_setup){
                            .width = e->width,
                            .height = e->height,
                            .rate = av_d2q(rate_of(video), 1 << 20),
                            .sample_aspect = {video->sample_aspect_num, video->sample_aspect_den},
                            .name = e->from->source->path,
                        },
                        first));
done:
    return st;
}

static ls_status check_frame(const struct encoding *e, size_t n, const AVFrame *frame)
{
    ls_status st = LS_OK;
    uint64_t planes;
    LS_TRY(planes_hash(&planes, frame));
    if (planes != e->from->frames[n].planes)
        st = LS_FAIL(LS_DATA, "%s: frame %zu decodes differently a second time",
                     e->from->source->path, n);
    else if (frame->format != e->first->format || !colour_is_alike(frame, e->first))
        st = LS_FAIL(LS_DATA, "%s: its colours change at frame %zu", e->from->source->path, n);
done:
    return st;
}

static double seconds_between(const struct pack_work *work, size_t a, size_t b)
{
    const struct video_record *video = &work->video;
    if (video->flags & VIDEO_RATE_GIVEN)
        return (double)(b - a) / video->average_fps;
    return ((double)work->frames[b].time - (double)work->frames[a].time) * video->time_base_num /
           video->time_base_den;
}

static ls_status encode_frames(struct encoding *e, struct playback *playback)
{
    ls_status st = LS_OK;
    struct pack_work *from = e->from;
    const double gop_s = from->source->encoding.gop_s * (1 - 1e-9);
    struct playback_frame got;
    LS_TRY(playback_start(playback, 0));
    for (size_t n = 0; n < from->frame_count; n++) {
        st = playback_next(playback, (uint32_t)from->packet_count - 1, NULL, &got);
        if (st == LS_EOF)
            st = LS_FAIL(LS_DATA, "%s: frame %zu does not come out a second time",
                         from->source->path, n);
        if (st != LS_OK)
            goto done;
        if (n == 0)
            LS_TRY(open_encoder(e, got.frame));
        LS_TRY(check_frame(e, n, got.frame));
        const bool key = n == 0 || seconds_between(from, e->key, n) >= gop_s;
        if (key)
            e->key = n;
        LS_TRY(encoder_send(e->encoder, got.frame, key));
        LS_TRY(store_packets(e));
        from->progress->alive(from->progress->context);
    }
    LS_TRY(encoder_send(e->encoder, NULL, false));
    LS_TRY(store_packets(e));
done:
    return st;
}

/* A text or binary value of the source, into the new blob. */
static ls_status carry(struct encoding *e, uint64_t *at, uint64_t *size)
{
    return record_blob_add(&e->to.blob, e->from->blob.data + *at, (size_t)*size, at, size);
}

/* The stream's side data and the note behind it. */
static ls_status add_note(struct pack_work *to, const struct pack_work *from,
                          const struct store_note *note)
{
    ls_status st = LS_OK;
    struct record_blob block = {0};
    uint64_t at;
    uint64_t size;
    const uint8_t *side = from->blob.data + from->video.side_data_at;
    if (from->video.side_data_size > 0) {
        LS_TRY(record_blob_add(&block, side, (size_t)from->video.side_data_size, &at, &size));
        block.size--; /* a block has no closing 0 */
    }
    LS_TRY(store_note_add(&block, note));
    LS_TRY(record_blob_add(&to->blob, block.data, block.size, &to->video.side_data_at,
                           &to->video.side_data_size));
done:
    record_blob_close(&block);
    return st;
}

static void complete_note(struct encoding *e)
{
    const struct pack_work *from = e->from;
    const struct video_record *video = &from->video;
    struct store_note *note = &e->note;
    const char *texts = (const char *)from->blob.data;
    note->encoded = true;
    note->gop_s = from->source->encoding.gop_s;
    note->short_side = from->source->encoding.short_side;
    note->dear = from->source->encoding.dear;
    (void)snprintf(note->options, sizeof note->options, "%s", ENCODER_OPTIONS);
    (void)snprintf(note->source_codec, sizeof note->source_codec, "%s", texts + video->codec_at);
    (void)snprintf(note->source_format, sizeof note->source_format, "%s", texts + video->format_at);
    note->source_width = (int)from->frames[0].width;
    note->source_height = (int)from->frames[0].height;
    note->source_packet_bytes = video->bytes_size;
}

/* The row of the new video: the stream is the encoder's, all else the source's. */
static ls_status describe(struct encoding *e)
{
    ls_status st = LS_OK;
    static const char codec[] = "h264";
    struct video_record *video = &e->to.video;
    const uint64_t bytes = video->bytes_size;
    AVCodecParameters *parameters = avcodec_parameters_alloc();
    if (parameters == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for an encoder");
        goto done;
    }
    LS_TRY(encoder_parameters(e->encoder, parameters));
    *video = e->from->video;
    pack_describe_parameters(video, parameters);
    video->bytes_size = bytes;
    video->flags = 0;
    video->bad_frames = video->decode_errors = 0;
    video->access_packets = 0;
    LS_TRY(carry(e, &video->name_at, &video->name_size));
    LS_TRY(carry(e, &video->container_at, &video->container_size));
    LS_TRY(record_blob_add(&e->to.blob, codec, sizeof codec - 1, &video->codec_at,
                           &video->codec_size));
    LS_TRY(record_blob_add(&e->to.blob, parameters->extradata, (size_t)parameters->extradata_size,
                           &video->extradata_at, &video->extradata_size));
    complete_note(e);
    LS_TRY(add_note(&e->to, e->from, &e->note));
done:
    avcodec_parameters_free(&parameters);
    return st;
}

/* What came out shows the same frames at the same times in the same colours. */
static ls_status compare(const struct encoding *e, struct playback *playback)
{
    ls_status st = LS_OK;
    const struct pack_work *from = e->from;
    const struct pack_work *to = &e->to;
    const char *path = from->source->path;
    struct playback_frame got;
    if (to->frame_count != from->frame_count) {
        st = LS_FAIL(LS_DATA, "%s: %zu frames encoded, %zu decoded", path, from->frame_count,
                     to->frame_count);
        goto done;
    }
    for (size_t n = 0; n < from->frame_count; n++) {
        if (to->frames[n].time != from->frames[n].time ||
            to->frames[n].width != (uint32_t)e->width ||
            to->frames[n].height != (uint32_t)e->height) {
            st = LS_FAIL(LS_DATA, "%s: frame %zu has another time or size once encoded", path, n);
            goto done;
        }
    }
    LS_TRY(playback_start(playback, 0));
    LS_TRY(playback_next(playback, (uint32_t)to->packet_count - 1, NULL, &got));
    if (!colour_is_alike(got.frame, e->first) || got.frame->color_trc != e->first->color_trc ||
        got.frame->color_primaries != e->first->color_primaries)
        st = LS_FAIL(LS_DATA, "%s: H.264 does not carry its colours", path);
    else if (cost_of(to).work >= e->note.before.work)
        st = LS_FAIL(LS_DATA, "%s: encoded again its clips cost no less", path);
done:
    return st;
}

/* What is known of the source holds for what it became. */
static void take_over(struct encoding *e)
{
    const struct video_record *from = &e->from->video;
    struct video_record *video = &e->to.video;
    const bool swap = from->quarter_turns % 2 == 1;
    video->flags = (from->flags & ~(uint32_t)VIDEO_ALPHA) | VIDEO_ENCODED;
    video->bad_frames = from->bad_frames;
    video->decode_errors = from->decode_errors;
    video->average_fps = from->average_fps;
    video->quarter_turns = from->quarter_turns;
    video->flip_horizontal = from->flip_horizontal;
    video->width = swap ? e->height : e->width;
    video->height = swap ? e->width : e->height;
    for (size_t n = 0; n < e->to.frame_count; n++) {
        struct frame_record *frame = &e->to.frames[n];
        frame->flags = e->from->frames[n].flags;
        frame->check = record_frame_check(frame);
    }
}

static ls_status encode(struct encoding *e, struct playback *playback, const char *part_path)
{
    ls_status st = LS_OK;
    e->to.source = e->from->source;
    e->to.progress = e->from->progress;
    st = part_writer_open(&e->to.part, part_path);
    e->to.part_status = st;
    if (st != LS_OK)
        goto done;
    LS_TRY(hash_stream_open(&e->to.hash));
    LS_TRY(encode_frames(e, playback));
    LS_TRY(describe(e));
    LS_TRY(pack_analyse(&e->to, playback));
    LS_TRY(compare(e, playback));
    take_over(e);
    st = part_writer_commit_video(e->to.part, &e->to.video, e->to.packets, e->to.frames,
                                  &e->to.blob);
    e->to.part_status = st;
done:
    return st;
}

static ls_status keep(struct pack_work *work, const struct store_note *note)
{
    work->video.flags |= VIDEO_KEPT;
    return add_note(work, work, note);
}

ls_status pack_encode(bool *encoded, struct pack_work *work, struct playback *playback,
                      const char *part_path)
{
    ls_status st = LS_OK;
    struct encoding e = {.from = work, .note.before = cost_of(work)};
    char *why = e.note.why;
    *encoded = false;
    if (e.note.before.work <= work->source->encoding.dear)
        return LS_OK;
    find_reason(why, sizeof e.note.why, &e);
    if (why[0] == '\0') {
        st = encode(&e, playback, part_path);
        work->part_status = e.to.part_status;
        *encoded = st == LS_OK;
    }
    if (st == LS_DATA && e.to.part_status == LS_OK) {
        (void)snprintf(why, sizeof e.note.why, "%s", pack_reason(work->source, status_message()));
        status_clear();
        st = LS_OK;
    }
    if (st == LS_OK && !*encoded) {
        e.note.encoded = false;
        LS_TRY(keep(work, &e.note));
    }
done:
    encoder_close(&e.encoder);
    av_frame_free(&e.first);
    pack_work_close(&e.to);
    return st;
}
