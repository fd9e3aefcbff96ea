/* Layouts and checks of the dataset's rows.  The order of columns here is the order in the files:
 * append only together with a new format version. */
#include "data/records.h"

#include <stdlib.h>
#include <string.h>

#define COLUMN(record, member, kind)                                                               \
    {                                                                                              \
#member, kind, offsetof(struct record, member)                                             \
    }
#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static const struct table_column packet_columns[] = {
    COLUMN(packet_record, pts, TABLE_I64),      COLUMN(packet_record, dts, TABLE_I64),
    COLUMN(packet_record, duration, TABLE_I64), COLUMN(packet_record, offset, TABLE_U64),
    COLUMN(packet_record, size, TABLE_U32),     COLUMN(packet_record, side_size, TABLE_U32),
    COLUMN(packet_record, flags, TABLE_U32),    COLUMN(packet_record, check, TABLE_U32),
};

static const struct table_column frame_columns[] = {
    COLUMN(frame_record, time, TABLE_I64),   COLUMN(frame_record, planes, TABLE_U64),
    COLUMN(frame_record, start, TABLE_U32),  COLUMN(frame_record, last, TABLE_U32),
    COLUMN(frame_record, packet, TABLE_U32), COLUMN(frame_record, ordinal, TABLE_U32),
    COLUMN(frame_record, width, TABLE_U32),  COLUMN(frame_record, height, TABLE_U32),
    COLUMN(frame_record, flags, TABLE_U32),  COLUMN(frame_record, check, TABLE_U32),
};

#define VIDEO(member, kind) COLUMN(video_record, member, kind)
static const struct table_column video_columns[] = {
    VIDEO(name_at, TABLE_U64),
    VIDEO(name_size, TABLE_U64),
    VIDEO(container_at, TABLE_U64),
    VIDEO(container_size, TABLE_U64),
    VIDEO(codec_at, TABLE_U64),
    VIDEO(codec_size, TABLE_U64),
    VIDEO(format_at, TABLE_U64),
    VIDEO(format_size, TABLE_U64),
    VIDEO(extradata_at, TABLE_U64),
    VIDEO(extradata_size, TABLE_U64),
    VIDEO(side_data_at, TABLE_U64),
    VIDEO(side_data_size, TABLE_U64),
    VIDEO(label, TABLE_I64),
    VIDEO(weight, TABLE_F64),
    VIDEO(source_bytes, TABLE_U64),
    VIDEO(first_packet, TABLE_U64),
    VIDEO(packets, TABLE_U64),
    VIDEO(first_frame, TABLE_U64),
    VIDEO(frames, TABLE_U64),
    VIDEO(bytes_at, TABLE_U64),
    VIDEO(bytes_size, TABLE_U64),
    VIDEO(bytes_hash_low, TABLE_U64),
    VIDEO(bytes_hash_high, TABLE_U64),
    VIDEO(start_time, TABLE_I64),
    VIDEO(duration, TABLE_I64),
    VIDEO(bit_rate, TABLE_I64),
    VIDEO(bad_frames, TABLE_U64),
    VIDEO(decode_errors, TABLE_U64),
    VIDEO(average_fps, TABLE_F64),
    VIDEO(access_packets, TABLE_F64),
    VIDEO(time_base_num, TABLE_I32),
    VIDEO(time_base_den, TABLE_I32),
    VIDEO(average_rate_num, TABLE_I32),
    VIDEO(average_rate_den, TABLE_I32),
    VIDEO(real_rate_num, TABLE_I32),
    VIDEO(real_rate_den, TABLE_I32),
    VIDEO(flags, TABLE_U32),
    VIDEO(width, TABLE_I32),
    VIDEO(height, TABLE_I32),
    VIDEO(quarter_turns, TABLE_I32),
    VIDEO(flip_horizontal, TABLE_I32),
    VIDEO(shard, TABLE_U32),
    VIDEO(codec_id, TABLE_U32),
    VIDEO(codec_tag, TABLE_U32),
    VIDEO(coded_format, TABLE_I32),
    VIDEO(bits_per_coded_sample, TABLE_I32),
    VIDEO(bits_per_raw_sample, TABLE_I32),
    VIDEO(profile, TABLE_I32),
    VIDEO(level, TABLE_I32),
    VIDEO(coded_width, TABLE_I32),
    VIDEO(coded_height, TABLE_I32),
    VIDEO(sample_aspect_num, TABLE_I32),
    VIDEO(sample_aspect_den, TABLE_I32),
    VIDEO(field_order, TABLE_I32),
    VIDEO(color_range, TABLE_I32),
    VIDEO(color_primaries, TABLE_I32),
    VIDEO(color_transfer, TABLE_I32),
    VIDEO(color_space, TABLE_I32),
    VIDEO(chroma_location, TABLE_I32),
    VIDEO(video_delay, TABLE_I32),
};

static const struct table_column skipped_columns[] = {
    COLUMN(skipped_record, name_at, TABLE_U64),
    COLUMN(skipped_record, name_size, TABLE_U64),
    COLUMN(skipped_record, reason_at, TABLE_U64),
    COLUMN(skipped_record, reason_size, TABLE_U64),
    COLUMN(skipped_record, source_bytes, TABLE_U64),
    COLUMN(skipped_record, source_mtime_ns, TABLE_I64),
    COLUMN(skipped_record, label, TABLE_I64),
};

#define SHARD(member) COLUMN(shard_record, member, TABLE_U64)
static const struct table_column shard_columns[] = {
    SHARD(number),     SHARD(file_bytes), SHARD(hash_low), SHARD(hash_high), SHARD(first_video),
    SHARD(videos),     SHARD(packets),    SHARD(frames),   SHARD(bytes),     SHARD(skipped),
    SHARD(packets_at), SHARD(frames_at),  SHARD(bytes_at), SHARD(videos_at), SHARD(blob_at),
};

const struct table_layout record_packet_layout = {"packets", packet_columns, COUNT(packet_columns),
                                                  PACKET_ROW_BYTES, sizeof(struct packet_record)};
const struct table_layout record_frame_layout = {"frames", frame_columns, COUNT(frame_columns),
                                                 FRAME_ROW_BYTES, sizeof(struct frame_record)};
const struct table_layout record_video_layout = {"videos", video_columns, COUNT(video_columns),
                                                 VIDEO_ROW_BYTES, sizeof(struct video_record)};
const struct table_layout record_skipped_layout = {"skipped", skipped_columns,
                                                   COUNT(skipped_columns), SKIPPED_ROW_BYTES,
                                                   sizeof(struct skipped_record)};
const struct table_layout record_shard_layout = {"shards", shard_columns, COUNT(shard_columns),
                                                 SHARD_ROW_BYTES, sizeof(struct shard_record)};

uint32_t record_packet_row_check(const struct packet_record *packet)
{
    uint8_t row[PACKET_ROW_BYTES];
    table_encode(&record_packet_layout, row, packet, 1);
    return (uint32_t)hash_buffer(row, sizeof row - 4).low;
}

uint32_t record_packet_check(const struct packet_record *packet, const void *data)
{
    size_t bytes = (size_t)packet->size + packet->side_size;
    return record_packet_row_check(packet) ^ (uint32_t)hash_buffer(data, bytes).low;
}

uint32_t record_frame_check(const struct frame_record *frame)
{
    uint8_t row[FRAME_ROW_BYTES];
    table_encode(&record_frame_layout, row, frame, 1);
    return (uint32_t)hash_buffer(row, sizeof row - 4).low;
}

bool record_reference_fits(uint64_t at, uint64_t size, uint64_t blob_bytes)
{
    /* The closing 0 is part of the blob. */
    return at < blob_bytes && size < blob_bytes - at;
}

static bool range_fits(uint64_t first, uint64_t count, uint64_t total)
{
    return first <= total && count <= total - first;
}

ls_status record_video_check(const struct video_record *video, uint64_t blob_bytes,
                             const struct shard_record *shard, const char *what)
{
    const uint64_t references[][2] = {
        {video->name_at, video->name_size},           {video->container_at, video->container_size},
        {video->codec_at, video->codec_size},         {video->format_at, video->format_size},
        {video->extradata_at, video->extradata_size}, {video->side_data_at, video->side_data_size},
    };
    for (int i = 0; i < COUNT(references); i++)
        if (!record_reference_fits(references[i][0], references[i][1], blob_bytes))
            return LS_FAIL(LS_DATA, "%s: damaged: a video's text lies outside the blob", what);
    if (!range_fits(video->first_packet, video->packets, shard->packets) ||
        !range_fits(video->first_frame, video->frames, shard->frames) ||
        !range_fits(video->bytes_at, video->bytes_size, shard->bytes) || video->packets == 0 ||
        video->frames == 0 || video->packets > UINT32_MAX || video->frames > UINT32_MAX)
        return LS_FAIL(LS_DATA, "%s: damaged: a video's rows lie outside the tables", what);
    if (video->time_base_num <= 0 || video->time_base_den <= 0 || video->width <= 0 ||
        video->height <= 0 || video->quarter_turns < 0 || video->quarter_turns > 3 ||
        video->video_delay < 0 || video->video_delay > VIDEO_DELAY_MAX)
        return LS_FAIL(LS_DATA, "%s: damaged: a video's row is out of range", what);
    return LS_OK;
}

ls_status record_blob_add(struct record_blob *blob, const void *data, size_t size, uint64_t *at,
                          uint64_t *out_size)
{
    if (size > SIZE_MAX / 4 - blob->size)
        return LS_FAIL(LS_NOMEM, "out of memory: a text of %zu bytes", size);
    if (blob->room - blob->size < size + 1) {
        size_t larger = 2 * (blob->size + size + 64);
        uint8_t *grown = realloc(blob->data, larger);
        if (grown == NULL)
            return LS_FAIL(LS_NOMEM, "out of memory: %zu bytes of texts", larger);
        blob->data = grown;
        blob->room = larger;
    }
    if (size > 0)
        memcpy(blob->data + blob->size, data, size);
    blob->data[blob->size + size] = 0;
    *at = blob->size;
    *out_size = size;
    blob->size += size + 1;
    return LS_OK;
}

void record_blob_close(struct record_blob *blob)
{
    free(blob->data);
    *blob = (struct record_blob){0};
}
