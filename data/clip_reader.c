/* Reading clips.  The wanted frames fall into segments: a segment is decoded in one go from the
 * latest packet that gives all its frames (data/segment.h).  All tables are read by slices from the
 * shard, and each row and packet is checked against its own checksum before it is used, so that a
 * flipped bit gives an error and never a wrong frame. */
#include <stdlib.h>

#include "core/files.h"
#include "data/colour.h"
#include "data/dataset_internal.h"
#include "data/playback.h"
#include "data/segment.h"

enum { ROWS_AT_ONCE = 2048 }; /* frame rows read in one piece although some are not wanted */

struct clip_reader {
    struct playback *playback;
    uint8_t *rows; /* encoded rows of whatever is being read */
    size_t row_room;
    struct frame_record *frames; /* one for each wanted position */
    size_t frame_room;
    struct frame_record *span;
    size_t span_room;
    struct packet_record *packets;
    size_t packet_room;
    uint8_t *wanted; /* by packet of the segment */
    size_t wanted_room;
};

struct request {
    const struct dataset_place *place;
    const uint8_t *blob;
    const int64_t *numbers;
    int count;
    clip_frame_callback callback;
    void *context;
};

ls_status clip_reader_open(struct clip_reader **out)
{
    ls_status st = LS_OK;
    struct clip_reader *reader = NULL;
    LS_TRY(core_alloc(&reader, 1));
    LS_TRY(playback_open(&reader->playback));
    *out = reader;
    reader = NULL;
done:
    clip_reader_close(&reader);
    return st;
}

void clip_reader_close(struct clip_reader **reader)
{
    struct clip_reader *closing = *reader;
    if (closing == NULL)
        return;
    playback_close(&closing->playback);
    free(closing->rows);
    free(closing->frames);
    free(closing->span);
    free(closing->packets);
    free(closing->wanted);
    free(closing);
    *reader = NULL;
}

/* Room for `count` elements, contents not kept. */
static ls_status make_room(void **array, size_t *room, size_t count, size_t bytes)
{
    if (count <= *room)
        return LS_OK;
    free(*array);
    *array = NULL;
    *room = 0;
    ls_status st = core_alloc_bytes(array, count, bytes);
    if (st == LS_OK)
        *room = count;
    return st;
}

static const char *name_of(const struct request *request)
{
    return (const char *)request->blob + request->place->video.name_at;
}

static ls_status check_frame(const struct request *request, const struct frame_record *frame,
                             int64_t number)
{
    const struct video_record *video = &request->place->video;
    if (record_frame_check(frame) != frame->check || frame->start > frame->packet ||
        frame->packet > frame->last || frame->last >= video->packets)
        return LS_FAIL(LS_DATA, "%s: damaged: the row of frame %lld of '%.300s'",
                       request->place->path, (long long)number, name_of(request));
    if (frame->last - frame->start >= SEGMENT_PACKETS_MAX)
        return LS_FAIL(LS_DATA, "%s: frame %lld of '%.300s' lies %u packets behind its start",
                       request->place->path, (long long)number, name_of(request),
                       frame->last - frame->start);
    return LS_OK;
}

/* Rows [first, first + count) of the video's frames into `out`. */
static ls_status read_frames(struct clip_reader *reader, const struct request *request,
                             struct frame_record *out, int64_t first, size_t count)
{
    ls_status st = LS_OK;
    const struct dataset_place *place = request->place;
    LS_TRY(make_room((void **)&reader->rows, &reader->row_room, count * FRAME_ROW_BYTES, 1));
    LS_TRY(dataset_read_rows(out, reader->rows, place, &record_frame_layout,
                             place->shard->frames_at, place->video.first_frame + (uint64_t)first,
                             count));
done:
    return st;
}

static ls_status load_frames(struct clip_reader *reader, const struct request *request)
{
    ls_status st = LS_OK;
    const int64_t *numbers = request->numbers;
    size_t count = (size_t)request->count;
    size_t span = (size_t)(numbers[count - 1] - numbers[0]) + 1;
    LS_TRY(make_room((void **)&reader->frames, &reader->frame_room, count, sizeof *reader->frames));
    if (span <= ROWS_AT_ONCE) {
        LS_TRY(make_room((void **)&reader->span, &reader->span_room, span, sizeof *reader->span));
        LS_TRY(read_frames(reader, request, reader->span, numbers[0], span));
    }
    for (size_t i = 0; i < count; i++) {
        if (span <= ROWS_AT_ONCE)
            reader->frames[i] = reader->span[numbers[i] - numbers[0]];
        else
            LS_TRY(read_frames(reader, request, &reader->frames[i], numbers[i], 1));
        LS_TRY(check_frame(request, &reader->frames[i], numbers[i]));
    }
done:
    return st;
}

static ls_status load_packets(struct clip_reader *reader, const struct request *request,
                              const struct segment *segment)
{
    ls_status st = LS_OK;
    const struct dataset_place *place = request->place;
    const struct video_record *video = &place->video;
    size_t count = (size_t)(segment->last - segment->start) + 1;
    LS_TRY(make_room((void **)&reader->rows, &reader->row_room, count * PACKET_ROW_BYTES, 1));
    LS_TRY(
        make_room((void **)&reader->packets, &reader->packet_room, count, sizeof *reader->packets));
    LS_TRY(make_room((void **)&reader->wanted, &reader->wanted_room, count, 1));
    LS_TRY(dataset_read_rows(reader->packets, reader->rows, place, &record_packet_layout,
                             place->shard->packets_at, video->first_packet + segment->start,
                             count));
    for (size_t i = 0; i < count; i++) {
        LS_TRY(dataset_check_packet(place, &reader->packets[i], segment->start + i));
        reader->wanted[i] = 0;
    }
    for (int i = segment->first; i < segment->end; i++)
        reader->wanted[reader->frames[i].packet - segment->start] = 1;
done:
    return st;
}

/* Hand a decoded frame to all positions that list it; `*next` moves behind them. */
static ls_status deliver(const struct clip_reader *reader, const struct request *request,
                         const struct segment *segment, const struct AVFrame *frame, int *next)
{
    ls_status st = LS_OK;
    const struct frame_record *row = &reader->frames[*next];
    const struct picture shown = colour_picture(frame);
    if ((uint32_t)shown.width != row->width || (uint32_t)shown.height != row->height) {
        st = LS_FAIL(LS_DATA, "%s: frame %lld of '%.300s' decodes to %dx%d, not %ux%u",
                     request->place->path, (long long)request->numbers[*next], name_of(request),
                     shown.width, shown.height, row->width, row->height);
        goto done;
    }
    for (int64_t number = request->numbers[*next];
         *next < segment->end && request->numbers[*next] == number; (*next)++)
        LS_TRY(request->callback(request->context, *next, frame));
done:
    return st;
}

/* Decode until all frames from `*next` on are delivered; LS_EOF when one does not come out.
 * `wanted` as in playback_next. */
static ls_status decode_segment(struct clip_reader *reader, const struct request *request,
                                const struct segment *segment, const uint8_t *wanted, int *next)
{
    ls_status st = LS_OK;
    struct playback_frame got;
    LS_TRY(playback_start(reader->playback, segment->start));
    while (*next < segment->end) {
        LS_TRY(playback_next(reader->playback, segment->last, wanted, &got));
        const struct frame_record *row = &reader->frames[*next];
        if (got.packet == row->packet && got.ordinal == row->ordinal)
            LS_TRY(deliver(reader, request, segment, got.frame, next));
    }
done:
    return st;
}

/* Packets that the clip does not need are left out at first.  Should a decoder not bear that here,
 * all are fed: that has been proven for every frame. */
static ls_status read_segment(struct clip_reader *reader, const struct request *request,
                              const struct segment *segment)
{
    ls_status st = LS_OK;
    int next = segment->first;
    LS_TRY(load_packets(reader, request, segment));
    struct playback_source source = {
        .path = request->place->path,
        .file = request->place->file,
        .bytes_offset = request->place->shard->bytes_at,
        .video = &request->place->video,
        .blob = request->blob,
        .packets = reader->packets,
        .first = segment->start,
        .count = segment->last - segment->start + 1,
    };
    playback_source(reader->playback, &source);
    st = decode_segment(reader, request, segment, reader->wanted, &next);
    if (st == LS_EOF)
        st = decode_segment(reader, request, segment, NULL, &next);
    if (st == LS_EOF)
        st = LS_FAIL(LS_DATA, "%s: frame %lld of '%.300s' cannot be decoded", request->place->path,
                     (long long)request->numbers[next], name_of(request));
done:
    return st;
}

ls_status clip_reader_read(struct clip_reader *reader, const struct dataset *dataset, int64_t video,
                           const int64_t *frames, int count, clip_frame_callback callback,
                           void *context)
{
    ls_status st = LS_OK;
    struct dataset_place place;
    if (video < 0 || video >= dataset_video_count(dataset) || count < 1) {
        st = LS_FAIL(LS_USAGE, "%s: no video %lld, or no frame of it asked for", dataset->path,
                     (long long)video);
        goto done;
    }
    LS_TRY(dataset_place(&place, dataset, video));
    struct request request = {
        .place = &place,
        .blob = dataset->index.blob,
        .numbers = frames,
        .count = count,
        .callback = callback,
        .context = context,
    };
    for (int i = 0; i < count; i++) {
        if (frames[i] < (i > 0 ? frames[i - 1] : 0) || frames[i] >= (int64_t)place.video.frames) {
            st = LS_FAIL(LS_USAGE, "%s: frame %lld of '%.300s' is out of order or does not exist",
                         place.path, (long long)frames[i], name_of(&request));
            goto done;
        }
    }
    LS_TRY(load_frames(reader, &request));
    for (int first = 0; first < count;) {
        struct segment segment = segment_find(reader->frames, count, first);
        LS_TRY(read_segment(reader, &request, &segment));
        first = segment.end;
    }
done:
    return st;
}
