/* Frame checksums of a packed video, in both ways of reading it. */
#include "data/framemd5.h"

#include <stdlib.h>

#include "core/files.h"
#include "core/random.h"
#include "data/dataset_internal.h"
#include "data/playback.h"

struct tables {
    struct dataset_place place;
    struct frame_record *frames;
    struct packet_record *packets;
    struct framemd5_line *lines;
};

static void close_tables(struct tables *tables)
{
    free(tables->frames);
    free(tables->packets);
    free(tables->lines);
}

static ls_status open_tables(struct tables *tables, const struct dataset *dataset, int64_t video)
{
    ls_status st = LS_OK;
    uint8_t *rows = NULL;
    LS_TRY(dataset_place(&tables->place, dataset, video));
    const struct video_record *row = &tables->place.video;
    size_t most = row->frames > row->packets ? row->frames : row->packets;
    LS_TRY(core_alloc(&rows, most * PACKET_ROW_BYTES));
    LS_TRY(core_alloc(&tables->frames, row->frames));
    LS_TRY(core_alloc(&tables->packets, row->packets));
    LS_TRY(core_alloc(&tables->lines, row->frames));
    LS_TRY(dataset_read_rows(tables->frames, rows, &tables->place, &record_frame_layout,
                             tables->place.shard->frames_at, row->first_frame, row->frames));
    LS_TRY(dataset_read_rows(tables->packets, rows, &tables->place, &record_packet_layout,
                             tables->place.shard->packets_at, row->first_packet, row->packets));
    for (uint64_t p = 0; p < row->packets; p++)
        LS_TRY(dataset_check_packet(&tables->place, &tables->packets[p], p));
    for (uint64_t n = 0; n < row->frames; n++) {
        struct framemd5_line *line = &tables->lines[n];
        line->time = tables->frames[n].time;
        if (n > 0)
            line[-1].duration = line->time - line[-1].time;
        line->duration = n > 0 ? line[-1].duration : 1;
    }
done:
    free(rows);
    return st;
}

static ls_status fill_line(struct framemd5_line *line, const AVFrame *frame,
                           const struct tables *tables, int64_t number)
{
    ls_status st = LS_OK;
    uint64_t planes;
    line->bytes = planes_bytes(frame);
    line->width = frame->width;
    line->height = frame->height;
    LS_TRY(planes_md5(line->md5, frame));
    LS_TRY(planes_hash(&planes, frame));
    if (planes != tables->frames[number].planes)
        st = LS_FAIL(LS_DATA, "%s: frame %lld of video %llu does not decode as when it was packed",
                     tables->place.path, (long long)number,
                     (unsigned long long)tables->place.video.first_frame);
done:
    return st;
}

static ls_status call_back(const struct tables *tables, framemd5_callback callback, void *context)
{
    ls_status st = LS_OK;
    for (uint64_t n = 0; n < tables->place.video.frames; n++)
        LS_TRY(callback(context, &tables->lines[n]));
done:
    return st;
}

static ls_status decode_all(const struct tables *tables, const struct dataset *dataset)
{
    ls_status st = LS_OK;
    struct playback *playback = NULL;
    const struct video_record *row = &tables->place.video;
    struct playback_source source = {
        .path = tables->place.path,
        .file = tables->place.file,
        .bytes_offset = tables->place.shard->bytes_at,
        .video = row,
        .blob = dataset->index.blob,
        .packets = tables->packets,
        .count = (uint32_t)row->packets,
    };
    LS_TRY(playback_open(&playback));
    playback_source(playback, &source);
    LS_TRY(playback_start(playback, 0));
    for (uint64_t n = 0;; n++) {
        struct playback_frame got;
        st = playback_next(playback, source.count - 1, NULL, &got);
        if ((st == LS_EOF && n < row->frames) || (st == LS_OK && n == row->frames))
            st = LS_FAIL(LS_DATA, "%s: '%.300s' decodes to %s than its %llu frames", source.path,
                         (const char *)source.blob + row->name_at, st == LS_OK ? "more" : "fewer",
                         (unsigned long long)row->frames);
        if (st != LS_OK)
            break;
        LS_TRY(fill_line(&tables->lines[n], got.frame, tables, (int64_t)n));
    }
    if (st == LS_EOF)
        st = LS_OK;
done:
    playback_close(&playback);
    return st;
}

ls_status framemd5_sequential(const struct dataset *dataset, int64_t video,
                              framemd5_callback callback, void *context)
{
    ls_status st = LS_OK;
    struct tables tables = {0};
    LS_TRY(open_tables(&tables, dataset, video));
    LS_TRY(decode_all(&tables, dataset));
    LS_TRY(call_back(&tables, callback, context));
done:
    close_tables(&tables);
    return st;
}

struct single {
    const struct tables *tables;
    int64_t number;
};

static ls_status take_single(void *context, int position, const AVFrame *frame)
{
    const struct single *single = context;
    (void)position;
    return fill_line(&single->tables->lines[single->number], frame, single->tables, single->number);
}

ls_status framemd5_random(const struct dataset *dataset, int64_t video, framemd5_callback callback,
                          void *context)
{
    ls_status st = LS_OK;
    struct tables tables = {0};
    struct clip_reader *reader = NULL;
    struct single single = {.tables = &tables};
    LS_TRY(open_tables(&tables, dataset, video));
    LS_TRY(clip_reader_open(&reader));
    for (uint64_t i = 0; i < tables.place.video.frames; i++) {
        single.number = (int64_t)random_permute(1, 0, tables.place.video.frames, i);
        LS_TRY(clip_reader_read(reader, dataset, video, &single.number, 1, take_single, &single));
    }
    LS_TRY(call_back(&tables, callback, context));
done:
    clip_reader_close(&reader);
    close_tables(&tables);
    return st;
}
