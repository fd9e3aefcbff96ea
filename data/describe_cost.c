#include "data/describe_cost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/dataset_internal.h"
#include "data/store_note.h"

static ls_status check_frames(const struct dataset_place *place, const struct frame_record *frames,
                              const char *name)
{
    for (uint64_t n = 0; n < place->video.frames; n++)
        if (record_frame_check(&frames[n]) != frames[n].check ||
            frames[n].start > frames[n].packet || frames[n].packet > frames[n].last ||
            frames[n].last >= place->video.packets)
            return LS_FAIL(LS_DATA, "%s: damaged: the row of frame %llu of '%.300s'", place->path,
                           (unsigned long long)n, name);
    return LS_OK;
}

ls_status dataset_clip_cost(struct clip_cost *out, const struct dataset *dataset, int64_t video)
{
    ls_status st = LS_OK;
    struct dataset_place place;
    struct frame_record *frames = NULL;
    struct packet_record *packets = NULL;
    uint8_t *rows = NULL;
    LS_TRY(dataset_place(&place, dataset, video));
    const struct video_record *row = &place.video;
    const uint64_t most = row->frames > row->packets ? row->frames : row->packets;
    LS_TRY(core_alloc(&frames, row->frames));
    LS_TRY(core_alloc(&packets, row->packets));
    LS_TRY(core_alloc(&rows, most * PACKET_ROW_BYTES));
    LS_TRY(dataset_read_rows(frames, rows, &place, &record_frame_layout, place.shard->frames_at,
                             row->first_frame, row->frames));
    LS_TRY(dataset_read_rows(packets, rows, &place, &record_packet_layout, place.shard->packets_at,
                             row->first_packet, row->packets));
    LS_TRY(check_frames(&place, frames, (const char *)dataset->index.blob + row->name_at));
    *out = clip_cost_measure(frames, (size_t)row->frames, packets, row->average_fps);
done:
    free(frames);
    free(packets);
    free(rows);
    return st;
}

/* The shown size of a video whose shorter side is made at most `side` (0: as it is). */
static double area_of(const struct dataset_video *video, int side)
{
    const double shorter = fmin(video->width, video->height);
    const double factor = side > 0 && shorter > side ? side / shorter : 1;
    return factor * factor * video->width * video->height;
}

static void add(struct clip_cost *sum, struct clip_cost cost)
{
    sum->decoded += cost.decoded;
    sum->pixels += cost.pixels;
    sum->bytes += cost.bytes;
    sum->work += cost.work;
}

static ls_status add_video(struct dataset_costs *out, const struct dataset *dataset, int64_t number,
                           const struct dataset_costs_question *question)
{
    ls_status st = LS_OK;
    struct clip_cost cost;
    struct store_note note;
    struct dataset_place place;
    const struct dataset_video video = dataset_video(dataset, number);
    LS_TRY(dataset_clip_cost(&cost, dataset, number));
    LS_TRY(dataset_place(&place, dataset, number));
    const uint8_t *side = dataset->index.blob + place.video.side_data_at;
    const bool encoded = (place.video.flags & VIDEO_ENCODED) &&
                         store_note_find(&note, side, (size_t)place.video.side_data_size);
    const struct clip_cost packed = encoded ? note.before : cost;
    struct clip_cost best = cost;
    if (!encoded && !video.still && packed.work > question->dear) {
        const double fps = video.average_fps > 0 ? video.average_fps : 25;
        const double gop_frames = fmin(fmax(1, rint(question->gop_s * fps)), 1e9);
        const struct clip_cost predicted =
            clip_cost_predict((size_t)video.frames, area_of(&video, question->short_side),
                              (uint32_t)gop_frames, video.average_fps);
        best = predicted.pixels < cost.pixels ? predicted : cost;
        /* The bytes of an encoding are not known beforehand. */
        best.bytes = cost.bytes;
        best.work = best.pixels + CLIP_COST_BYTE * best.bytes;
    }
    out->dear_share += packed.work > question->dear;
    add(&out->stored, cost);
    add(&out->packed, packed);
    add(&out->encoded, best);
    if (cost.work > out->dearest_cost.work) {
        out->dearest = number;
        out->dearest_cost = cost;
    }
    out->looked_at++;
done:
    return st;
}

ls_status dataset_costs(struct dataset_costs *out, const struct dataset *dataset,
                        const struct dataset_costs_question *question)
{
    ls_status st = LS_OK;
    const int64_t count = dataset_video_count(dataset);
    const int64_t sample = count < DATASET_COSTS_SAMPLE ? count : DATASET_COSTS_SAMPLE;
    *out = (struct dataset_costs){0};
    for (int64_t v = 0; v < count; v++) {
        const struct dataset_video video = dataset_video(dataset, v);
        out->frames_bytes += 3 * area_of(&video, question->frame_side) * (double)video.frames;
    }
    for (int64_t i = 0; i < sample; i++)
        LS_TRY(add_video(out, dataset, i * count / sample, question));
    const double share = 1 / (double)sample;
    struct clip_cost *const means[3] = {&out->stored, &out->packed, &out->encoded};
    for (size_t i = 0; i < 3; i++) {
        means[i]->decoded *= share;
        means[i]->pixels *= share;
        means[i]->bytes *= share;
        means[i]->work *= share;
    }
    out->dear_share *= share;
done:
    return st;
}
