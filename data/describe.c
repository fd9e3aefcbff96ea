/* Totals over the index and details of one video. */
#include "data/describe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/dataset_internal.h"
#include "data/describe_cost.h"

static void count_codec(struct dataset_totals *out, const char *name)
{
    for (int i = 0; i < out->codec_count; i++) {
        if (strncmp(out->codecs[i].name, name, DESCRIBE_NAME_BYTES - 1) == 0) {
            out->codecs[i].videos++;
            return;
        }
    }
    if (out->codec_count == DESCRIBE_CODECS_MAX)
        return;
    struct describe_codec *codec = &out->codecs[out->codec_count++];
    (void)snprintf(codec->name, sizeof codec->name, "%s", name);
    codec->videos = 1;
}

static void count_flags(struct dataset_totals *out, const struct video_record *row)
{
    out->stills += (row->flags & VIDEO_STILL) != 0;
    out->size_changes += (row->flags & VIDEO_SIZE_CHANGES) != 0;
    out->variable_rate += (row->flags & VIDEO_VARIABLE_RATE) != 0;
    out->estimated_times += (row->flags & VIDEO_TIME_ESTIMATED) != 0;
    out->hdr += (row->flags & VIDEO_HDR) != 0;
    out->alpha += (row->flags & VIDEO_ALPHA) != 0;
    out->interlaced += (row->flags & VIDEO_INTERLACED) != 0;
    out->damaged += (row->flags & VIDEO_SOURCE_DAMAGED) != 0;
    out->turned += row->quarter_turns != 0 || row->flip_horizontal != 0;
}

static void count_video(struct dataset_totals *out, const struct video_record *row, bool first)
{
    out->frames += (int64_t)row->frames;
    out->packets += (int64_t)row->packets;
    out->bad_frames += (int64_t)row->bad_frames;
    out->access_packets += row->access_packets * (double)row->frames;
    if (row->average_fps > 0 && !(row->flags & VIDEO_STILL))
        out->seconds += (double)row->frames / row->average_fps;
    if (row->label >= 0) {
        bool only = out->labelled++ == 0;
        out->label_low = only || row->label < out->label_low ? row->label : out->label_low;
        out->label_high = only || row->label > out->label_high ? row->label : out->label_high;
    }
    out->width_low = first || row->width < out->width_low ? row->width : out->width_low;
    out->width_high = row->width > out->width_high ? row->width : out->width_high;
    out->height_low = first || row->height < out->height_low ? row->height : out->height_low;
    out->height_high = row->height > out->height_high ? row->height : out->height_high;
    count_flags(out, row);
}

static int compare_codecs(const void *a, const void *b)
{
    const struct describe_codec *x = a;
    const struct describe_codec *y = b;
    if (x->videos != y->videos)
        return x->videos < y->videos ? 1 : -1;
    return strcmp(x->name, y->name);
}

void dataset_totals(struct dataset_totals *out, const struct dataset *dataset)
{
    const struct index_file *index = &dataset->index;
    *out = (struct dataset_totals){.shards = (int64_t)index->shard_count,
                                   .videos = (int64_t)index->video_count,
                                   .file_bytes = index->map_bytes};
    for (uint64_t s = 0; s < index->shard_count; s++) {
        out->packet_bytes += index->shards[s].bytes;
        out->file_bytes += index->shards[s].file_bytes;
        out->skipped += (int64_t)index->shards[s].skipped;
    }
    for (uint64_t v = 0; v < index->video_count; v++) {
        struct video_record row;
        table_decode(&record_video_layout, &row, index->video_rows + v * VIDEO_ROW_BYTES, 1);
        count_video(out, &row, v == 0);
        count_codec(out, (const char *)index->blob + row.codec_at);
    }
    if (out->frames > 0)
        out->access_packets /= (double)out->frames;
    qsort(out->codecs, (size_t)out->codec_count, sizeof *out->codecs, compare_codecs);
}

static bool is_end_of(const char *name, const char *end)
{
    size_t length = strlen(name);
    size_t tail = strlen(end);
    return length > tail && name[length - tail - 1] == '/' &&
           strcmp(name + length - tail, end) == 0;
}

ls_status dataset_find(int64_t *out, const struct dataset *dataset, const char *name)
{
    int64_t count = dataset_video_count(dataset);
    int64_t found = -1;
    int64_t ends = 0;
    char *end = NULL;
    if (name[0] == '#' && name[1] >= '0' && name[1] <= '9') {
        long long number = strtoll(name + 1, &end, 10);
        if (*end == '\0' && number < count) {
            *out = number;
            return LS_OK;
        }
    }
    for (int64_t v = 0; v < count; v++) {
        const char *listed = dataset_video(dataset, v).name;
        if (strcmp(listed, name) == 0) {
            *out = v;
            return LS_OK;
        }
        if (is_end_of(listed, name)) {
            found = v;
            ends++;
        }
    }
    if (ends == 0)
        return LS_FAIL(LS_USAGE, "%s: holds no video '%s': its %s lists what it holds",
                       dataset->path, name, "pack-report.csv");
    if (ends > 1)
        return LS_FAIL(LS_USAGE, "%s: %lld videos are named '%s': give more of the path",
                       dataset->path, (long long)ends, name);
    *out = found;
    return LS_OK;
}

static ls_status count_tables(struct video_detail *out, const struct dataset_place *place)
{
    ls_status st = LS_OK;
    uint8_t row[PACKET_ROW_BYTES];
    uint8_t *started = NULL; /* by packet */
    LS_TRY(core_alloc(&started, out->row.packets));
    for (uint64_t n = 0; n < out->row.frames; n++) {
        struct frame_record frame;
        LS_TRY(dataset_read_rows(&frame, row, place, &record_frame_layout, place->shard->frames_at,
                                 out->row.first_frame + n, 1));
        if (frame.start >= out->row.packets) {
            st = LS_FAIL(LS_DATA, "%s: damaged: a frame row of '%.300s'", place->path, out->name);
            goto done;
        }
        out->starts += !started[frame.start];
        started[frame.start] = 1;
    }
    for (uint64_t p = 0; p < out->row.packets; p++) {
        struct packet_record packet;
        LS_TRY(dataset_read_rows(&packet, row, place, &record_packet_layout,
                                 place->shard->packets_at, out->row.first_packet + p, 1));
        out->keys += (packet.flags & PACKET_KEY) != 0;
        out->skippable += (packet.flags & PACKET_SKIPPABLE) != 0;
        out->discarded += (packet.flags & PACKET_DISCARD) != 0;
    }
done:
    free(started);
    return st;
}

ls_status dataset_detail(struct video_detail *out, const struct dataset *dataset, int64_t video)
{
    ls_status st = LS_OK;
    struct dataset_place place;
    const char *blob = (const char *)dataset->index.blob;
    LS_TRY(dataset_place(&place, dataset, video));
    *out = (struct video_detail){
        .row = place.video,
        .name = blob + place.video.name_at,
        .container = blob + place.video.container_at,
        .codec = blob + place.video.codec_at,
        .pixel_format = blob + place.video.format_at,
        .shard_path = place.path,
    };
    out->has_note = store_note_find(&out->note, dataset->index.blob + place.video.side_data_at,
                                    (size_t)place.video.side_data_size);
    LS_TRY(count_tables(out, &place));
    LS_TRY(dataset_clip_cost(&out->cost, dataset, video));
done:
    return st;
}
