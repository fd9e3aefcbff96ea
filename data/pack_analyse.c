/* The one decode from the beginning, the proof of random access, and what both say of a video. */
#include "data/pack_analyse.h"

#include <inttypes.h>
#include <libavutil/avutil.h>
#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/av.h"
#include "data/exif.h"
#include "data/orientation.h"
#include "data/planes.h"
#include "data/side.h"

enum { FRAMES_MAX = 1 << 22 };

/* No file may decode to more pixels than this: 33,000 frames of 1080p and, beyond, what no real
 * encoder reaches (a still screen is above a byte for 65,536 pixels). */
static const uint64_t pixels_free = (uint64_t)1 << 36;
static const uint64_t pixels_per_byte = 65536;

/* How a video faces: the display matrix of its first frame or stream, else EXIF. */
static struct video_orientation find_orientation(const struct pack_work *work, const AVFrame *frame)
{
    const struct video_record *video = &work->video;
    const AVFrameSideData *side = av_frame_get_side_data(frame, AV_FRAME_DATA_DISPLAYMATRIX);
    const uint8_t *matrix = side != NULL ? side->data : NULL;
    size_t size = side != NULL ? side->size : 0;
    if (matrix == NULL)
        matrix = side_find(work->blob.data + video->side_data_at, (size_t)video->side_data_size,
                           SIDE_DISPLAY_MATRIX, &size);
    int32_t numbers[9];
    if (matrix != NULL && size >= sizeof numbers) {
        memcpy(numbers, matrix, sizeof numbers);
        return orientation_of_matrix(numbers);
    }
    const AVDictionaryEntry *text = av_dict_get(frame->metadata, "Orientation", NULL, 0);
    return exif_orientation(text != NULL ? (int)strtol(text->value, NULL, 10) : work->exif);
}

/* The shown size, format and orientation are those of the first frame. */
static void describe_first_frame(struct pack_work *work, const AVFrame *frame)
{
    struct video_record *video = &work->video;
    const AVPixFmtDescriptor *descriptor = av_pix_fmt_desc_get(frame->format);
    const struct video_orientation orientation = find_orientation(work, frame);
    bool swap = orientation.quarter_turns % 2 == 1;
    video->quarter_turns = orientation.quarter_turns;
    video->flip_horizontal = orientation.flip_horizontal;
    video->width = swap ? frame->height : frame->width;
    video->height = swap ? frame->width : frame->height;
    if (descriptor != NULL && (descriptor->flags & AV_PIX_FMT_FLAG_ALPHA))
        video->flags |= VIDEO_ALPHA;
    if (frame->color_trc == AVCOL_TRC_SMPTE2084 || frame->color_trc == AVCOL_TRC_ARIB_STD_B67)
        video->flags |= VIDEO_HDR;
    work->format = frame->format;
}

static ls_status spend_budget(struct pack_work *work, const AVFrame *frame)
{
    work->pixels += (uint64_t)frame->width * (uint64_t)frame->height;
    if (work->frame_count == FRAMES_MAX)
        return LS_FAIL(LS_DATA, "%s: more than %d frames", work->source->path, FRAMES_MAX);
    if (work->pixels > pixels_free + pixels_per_byte * work->source->bytes)
        return LS_FAIL(LS_DATA, "%s: decodes to more pixels than its size allows",
                       work->source->path);
    return LS_OK;
}

static ls_status store_frame(struct pack_work *work, const struct playback_frame *got)
{
    ls_status st = LS_OK;
    const AVFrame *frame = got->frame;
    struct frame_record record = {
        .time = frame->best_effort_timestamp,
        .last = got->fed,
        .packet = got->packet,
        .ordinal = got->ordinal,
        .width = (uint32_t)frame->width,
        .height = (uint32_t)frame->height,
    };
    LS_TRY(spend_budget(work, frame));
    if (got->packet == UINT32_MAX) {
        st = LS_FAIL(LS_DATA, "%s: the decoder does not tell which packet a frame comes from",
                     work->source->path);
        goto done;
    }
    LS_TRY(planes_hash(&record.planes, frame));
    if (work->frame_count == 0)
        describe_first_frame(work, frame);
    if ((frame->flags & AV_FRAME_FLAG_CORRUPT) || frame->decode_error_flags != 0) {
        record.flags |= FRAME_BAD;
        work->video.bad_frames++;
    }
    if (frame->interlaced_frame)
        work->video.flags |= VIDEO_INTERLACED;
    LS_TRY(table_grow((void **)&work->frames, &work->frame_room, work->frame_count,
                      sizeof *work->frames));
    work->frames[work->frame_count++] = record;
    if (work->frame_count % PACK_ALIVE_EVERY == 0)
        work->progress->alive(work->progress->context);
done:
    return st;
}

static ls_status decode_all(struct pack_work *work, struct playback *playback,
                            const struct playback_source *source)
{
    ls_status st = LS_OK;
    struct playback_frame got;
    playback_source(playback, source);
    LS_TRY(playback_start(playback, 0));
    for (;;) {
        st = playback_next(playback, source->count - 1, NULL, &got);
        if (st == LS_EOF)
            break;
        if (st != LS_OK)
            goto done;
        LS_TRY(store_frame(work, &got));
    }
    st = LS_OK;
    work->video.decode_errors = playback_errors(playback);
    if (work->frame_count == 0)
        st = LS_FAIL(LS_DATA, "%s: no frame can be decoded%s%s%s", work->source->path,
                     av_log_first()[0] != '\0' ? ": " : "", av_log_first(),
                     av_log_hint(av_log_first()));
    else if (work->video.bad_frames > work->frame_count / 2)
        st = LS_FAIL(LS_DATA, "%s: %" PRIu64 " of %zu frames are damaged", work->source->path,
                     work->video.bad_frames, work->frame_count);
done:
    return st;
}

/* The distance of frames where times do not tell: from the average rate, else one tick. */
static int64_t usual_step(const struct video_record *video)
{
    AVRational rate = {video->average_rate_num, video->average_rate_den};
    AVRational base = {video->time_base_num, video->time_base_den};
    if (rate.num <= 0 || rate.den <= 0)
        rate = (AVRational){video->real_rate_num, video->real_rate_den};
    if (rate.num <= 0 || rate.den <= 0)
        return 1;
    int64_t step = av_rescale_q(1, av_inv_q(rate), base);
    return step > 0 ? step : 1;
}

/* Times grow from frame to frame, as presentation order says; what is missing or goes back is
 * estimated and marked. */
static void settle_times(struct pack_work *work)
{
    struct video_record *video = &work->video;
    int64_t step = usual_step(video);
    int64_t shortest = INT64_MAX;
    int64_t longest = 0;
    for (size_t n = 0; n < work->frame_count; n++) {
        struct frame_record *frame = &work->frames[n];
        int64_t before = n > 0 ? work->frames[n - 1].time : 0;
        if (frame->time == AV_NOPTS_VALUE || (n > 0 && frame->time <= before)) {
            frame->time = n > 0 ? before + step : 0;
            frame->flags |= FRAME_TIME_ESTIMATED;
            video->flags |= VIDEO_TIME_ESTIMATED;
        }
        if (n > 0) {
            int64_t distance = frame->time - before;
            shortest = distance < shortest ? distance : shortest;
            longest = distance > longest ? distance : longest;
        }
        if (frame->width != work->frames[0].width || frame->height != work->frames[0].height)
            video->flags |= VIDEO_SIZE_CHANGES;
    }
    if (work->frame_count > 1 && longest - shortest > 1)
        video->flags |= VIDEO_VARIABLE_RATE;
}

static double average_fps(const struct pack_work *work)
{
    const struct video_record *video = &work->video;
    if (work->source->rate > 0)
        return work->source->rate;
    if (video->average_rate_num > 0 && video->average_rate_den > 0)
        return (double)video->average_rate_num / video->average_rate_den;
    size_t count = work->frame_count;
    if (count > 1 && !(video->flags & VIDEO_TIME_ESTIMATED))
        return (double)(count - 1) * video->time_base_den /
               ((double)(work->frames[count - 1].time - work->frames[0].time) *
                video->time_base_num);
    if (video->real_rate_num > 0 && video->real_rate_den > 0)
        return (double)video->real_rate_num / video->real_rate_den;
    return 0;
}

static ls_status finish_records(struct pack_work *work)
{
    ls_status st = LS_OK;
    struct video_record *video = &work->video;
    const char *format = av_get_pix_fmt_name(work->format);
    struct hash128 hash = hash_stream_value(work->hash);
    settle_times(work);
    video->packets = work->packet_count;
    video->frames = work->frame_count;
    video->average_fps = average_fps(work);
    video->label = work->source->label;
    video->weight = work->source->weight;
    video->source_bytes = work->source->bytes;
    video->bytes_hash_low = hash.low;
    video->bytes_hash_high = hash.high;
    if (work->frame_count == 1)
        video->flags |= VIDEO_STILL;
    if (work->source->rate > 0)
        video->flags |= VIDEO_RATE_GIVEN;
    for (size_t n = 0; n < work->frame_count; n++)
        video->access_packets += work->frames[n].last - work->frames[n].start + 1;
    video->access_packets /= (double)work->frame_count;
    for (size_t n = 0; n < work->frame_count; n++)
        work->frames[n].check = record_frame_check(&work->frames[n]);
    if (format == NULL)
        format = "unknown";
    LS_TRY(record_blob_add(&work->blob, format, strlen(format), &video->format_at,
                           &video->format_size));
done:
    return st;
}

/* Checks of packets: their bytes are read back once. */
static ls_status check_packets(struct pack_work *work, int file)
{
    ls_status st = LS_OK;
    uint8_t *data = NULL;
    size_t room = 0;
    for (size_t p = 0; p < work->packet_count; p++) {
        struct packet_record *packet = &work->packets[p];
        size_t bytes = (size_t)packet->size + packet->side_size;
        if (bytes > room || data == NULL) {
            free(data);
            data = NULL;
            room = 2 * bytes + 4096;
            LS_TRY(core_alloc(&data, room));
        }
        LS_TRY(files_read_at(file, data, bytes, packet->offset, "part"));
        packet->check = record_packet_check(packet, data);
    }
done:
    free(data);
    return st;
}

ls_status pack_analyse(struct pack_work *work, struct playback *playback)
{
    ls_status st = LS_OK;
    struct video_record *video = &work->video;
    int file;
    st = part_writer_file(work->part, &file);
    work->part_status = st;
    if (st != LS_OK)
        goto done;
    video->packets = work->packet_count;
    struct playback_source source = {
        .path = work->source->path,
        .file = file,
        .video = video,
        .blob = work->blob.data,
        .packets = work->packets,
        .count = (uint32_t)work->packet_count,
        .unchecked = true,
    };
    LS_TRY(decode_all(work, playback, &source));
    LS_TRY(
        prove_starts(playback, &source, work->frames, (uint32_t)work->frame_count, work->progress));
    if (video->bad_frames == 0 && video->decode_errors == 0)
        LS_TRY(prove_skippable(playback, &source, work->packets, work->frames,
                               (uint32_t)work->frame_count, work->progress));
    LS_TRY(check_packets(work, file));
    LS_TRY(finish_records(work));
    source.blob = work->blob.data; /* it has grown */
    playback_source(playback, &source);
done:
    return st;
}
