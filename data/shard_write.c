/* Writing a shard from parts.  First all parts are opened and their rows rebased (numbers of rows
 * and bytes run through the shard), so that every dataset's size is known; then the tables are
 * written and the bytes copied. */
#include <stdlib.h>
#include <unistd.h>

#include "core/files.h"
#include "data/footer.h"
#include "data/h5.h"
#include "data/part.h"
#include "data/shard.h"

enum { CHUNK_BYTES = 1 << 20 };

struct plan {
    const char *const *part_paths;
    int64_t part_count;
    uint32_t number;
    uint64_t videos, skipped, packets, frames, bytes;
    uint8_t *video_rows, *skipped_rows, *packet_rows, *frame_rows;
    struct record_blob blob;
};

static void close_plan(struct plan *plan)
{
    free(plan->video_rows);
    free(plan->skipped_rows);
    free(plan->packet_rows);
    free(plan->frame_rows);
    record_blob_close(&plan->blob);
}

/* Open a part whose content was hashed when it was made or found.  A damaged one is removed. */
static ls_status open_part(struct part *out, const char *path, bool check)
{
    ls_status st = part_open(out, path, check);
    if (st == LS_DATA)
        (void)unlink(path);
    return st;
}

static ls_status count_parts(struct plan *plan)
{
    ls_status st = LS_OK;
    struct part part = {.file = -1};
    for (int64_t i = 0; i < plan->part_count; i++) {
        LS_TRY(open_part(&part, plan->part_paths[i], true));
        plan->videos += part.is_video;
        plan->skipped += !part.is_video;
        plan->packets += part.packet_count;
        plan->frames += part.frame_count;
        plan->bytes += part.bytes;
        part_close(&part);
    }
    LS_TRY(core_alloc(&plan->video_rows, plan->videos * VIDEO_ROW_BYTES));
    LS_TRY(core_alloc(&plan->skipped_rows, plan->skipped * SKIPPED_ROW_BYTES));
    LS_TRY(core_alloc(&plan->packet_rows, plan->packets * PACKET_ROW_BYTES));
    LS_TRY(core_alloc(&plan->frame_rows, plan->frames * FRAME_ROW_BYTES));
done:
    part_close(&part);
    return st;
}

/* Move a reference from the part's blob to the shard's. */
static ls_status move_reference(struct plan *plan, const struct part *part, uint64_t *at,
                                uint64_t *size)
{
    if (!record_reference_fits(*at, *size, part->blob_bytes))
        return LS_FAIL(LS_DATA, "%s: a text lies outside its blob", part->path);
    return record_blob_add(&plan->blob, part->blob + *at, (size_t)*size, at, size);
}

static ls_status plan_video(struct plan *plan, struct part *part, const struct plan *before)
{
    ls_status st = LS_OK;
    struct video_record *video = &part->video;
    uint8_t *packet_rows = plan->packet_rows + before->packets * PACKET_ROW_BYTES;
    LS_TRY(move_reference(plan, part, &video->name_at, &video->name_size));
    LS_TRY(move_reference(plan, part, &video->container_at, &video->container_size));
    LS_TRY(move_reference(plan, part, &video->codec_at, &video->codec_size));
    LS_TRY(move_reference(plan, part, &video->format_at, &video->format_size));
    LS_TRY(move_reference(plan, part, &video->extradata_at, &video->extradata_size));
    LS_TRY(move_reference(plan, part, &video->side_data_at, &video->side_data_size));
    video->shard = plan->number;
    video->first_packet = before->packets;
    video->first_frame = before->frames;
    video->bytes_at = before->bytes;
    table_encode(&record_video_layout, plan->video_rows + before->videos * VIDEO_ROW_BYTES, video,
                 1);
    LS_TRY(files_read_at(part->file, packet_rows, part->packet_count * PACKET_ROW_BYTES,
                         part->bytes, part->path));
    LS_TRY(files_read_at(part->file, plan->frame_rows + before->frames * FRAME_ROW_BYTES,
                         part->frame_count * FRAME_ROW_BYTES,
                         part->bytes + part->packet_count * PACKET_ROW_BYTES, part->path));
    /* Offsets become those of the shard; the check of a row covers its offset. */
    for (uint64_t p = 0; p < part->packet_count; p++) {
        struct packet_record packet;
        uint8_t *row = packet_rows + p * PACKET_ROW_BYTES;
        table_decode(&record_packet_layout, &packet, row, 1);
        uint32_t bytes_check = packet.check ^ record_packet_row_check(&packet);
        packet.offset += before->bytes;
        packet.check = bytes_check ^ record_packet_row_check(&packet);
        table_encode(&record_packet_layout, row, &packet, 1);
    }
done:
    return st;
}

static ls_status plan_rows(struct plan *plan)
{
    ls_status st = LS_OK;
    struct part part = {.file = -1};
    struct plan before = {0}; /* counts of the parts before this one */
    for (int64_t i = 0; i < plan->part_count; i++) {
        LS_TRY(open_part(&part, plan->part_paths[i], false));
        if (part.is_video) {
            LS_TRY(plan_video(plan, &part, &before));
        } else {
            struct skipped_record *skipped = &part.skipped;
            LS_TRY(move_reference(plan, &part, &skipped->name_at, &skipped->name_size));
            LS_TRY(move_reference(plan, &part, &skipped->reason_at, &skipped->reason_size));
            table_encode(&record_skipped_layout,
                         plan->skipped_rows + before.skipped * SKIPPED_ROW_BYTES, skipped, 1);
        }
        before.videos += part.is_video;
        before.skipped += !part.is_video;
        before.packets += part.packet_count;
        before.frames += part.frame_count;
        before.bytes += part.bytes;
        part_close(&part);
    }
done:
    part_close(&part);
    return st;
}

static ls_status write_chunk(hid_t dataset, const char *path, uint64_t at, const uint8_t *data,
                             size_t count)
{
    ls_status st = LS_OK;
    hsize_t start = at;
    hsize_t size = count;
    hid_t memory = H5Screate_simple(1, &size, NULL);
    hid_t space = H5Dget_space(dataset);
    H5_TRY(LS_IO, memory, path, "make a data space");
    H5_TRY(LS_IO, space, path, "make a data space");
    H5_TRY(LS_IO, H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, NULL, &size, NULL), path,
           "select bytes");
    H5_TRY(LS_IO, H5Dwrite(dataset, H5T_STD_U8LE, memory, space, H5P_DEFAULT, data), path, "write");
done:
    if (space >= 0)
        (void)H5Sclose(space);
    if (memory >= 0)
        (void)H5Sclose(memory);
    return st;
}

static ls_status copy_bytes(const struct plan *plan, hid_t file, const char *path)
{
    ls_status st = LS_OK;
    struct part part = {.file = -1};
    uint8_t *chunk = NULL;
    hid_t dataset = -1;
    uint64_t at = 0;
    LS_TRY(core_alloc(&chunk, CHUNK_BYTES));
    LS_TRY(h5_create_dataset(&dataset, file, path, "bytes", H5T_STD_U8LE, plan->bytes));
    for (int64_t i = 0; i < plan->part_count; i++) {
        LS_TRY(open_part(&part, plan->part_paths[i], false));
        for (uint64_t done = 0; done < part.bytes;) {
            uint64_t left = part.bytes - done;
            size_t count = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
            LS_TRY(files_read_at(part.file, chunk, count, done, part.path));
            LS_TRY(write_chunk(dataset, path, at, chunk, count));
            done += count;
            at += count;
        }
        part_close(&part);
    }
done:
    if (dataset >= 0)
        (void)H5Dclose(dataset);
    free(chunk);
    part_close(&part);
    return st;
}

static ls_status write_file(const struct plan *plan, const char *path)
{
    ls_status st = LS_OK;
    hid_t file = -1;
    LS_TRY(h5_create_file(&file, path));
    LS_TRY(h5_write_format(file, path, SHARD_FORMAT, RECORD_FORMAT_VERSION));
    LS_TRY(h5_write_table(file, path, &record_video_layout, plan->video_rows, plan->videos));
    LS_TRY(h5_write_table(file, path, &record_skipped_layout, plan->skipped_rows, plan->skipped));
    LS_TRY(h5_write_table(file, path, &record_packet_layout, plan->packet_rows, plan->packets));
    LS_TRY(h5_write_table(file, path, &record_frame_layout, plan->frame_rows, plan->frames));
    LS_TRY(h5_write_bytes(file, path, "blob", plan->blob.data, plan->blob.size));
    LS_TRY(copy_bytes(plan, file, path));
    LS_TRY(h5_close_file(&file, path));
done:
    if (file >= 0)
        (void)H5Fclose(file);
    return st;
}

ls_status shard_write(const char *path, uint32_t number, const char *const *part_paths,
                      int64_t part_count)
{
    ls_status st = LS_OK;
    char *beside = NULL;
    struct footer footer;
    struct plan plan = {.part_paths = part_paths, .part_count = part_count, .number = number};
    LS_TRY(core_format(&beside, "%s.tmp-%ld", path, (long)getpid()));
    LS_TRY(count_parts(&plan));
    LS_TRY(plan_rows(&plan));
    LS_TRY(write_file(&plan, beside));
    LS_TRY(footer_append(&footer, beside));
    LS_TRY(files_sync(beside));
    LS_TRY(files_rename(beside, path));
done:
    if (st != LS_OK && beside != NULL)
        (void)unlink(beside);
    free(beside);
    close_plan(&plan);
    return st;
}
