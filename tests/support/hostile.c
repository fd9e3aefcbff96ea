/* Inputs become files in memory, which are opened by way of /proc/self/fd. */
#include "tests/support/hostile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/files.h"
#include "data/dataset_internal.h"
#include "data/footer.h"
#include "data/list.h"
#include "data/part.h"
#include "data/shard.h"
#include "data/transform.h"

enum { HEAD_BYTES = 48, HEAD_NUMBERS = 6, SIDE = 32, CLIP_FRAMES = 6 };

const struct hostile_target hostile_targets[HOSTILE_TARGETS] = {
    {"list", hostile_list},
    {"index", hostile_index},
    {"shard", hostile_shard},
    {"part", hostile_part},
};

struct memory_file {
    int file;
    char path[32];
};

static void must(int holds, const char *what)
{
    if (!holds) {
        perror(what);
        abort();
    }
}

static struct memory_file open_memory(const uint8_t *data, size_t size, int with_footer)
{
    struct memory_file out = {.file = memfd_create("hostile", 0)};
    must(out.file >= 0, "memfd_create");
    (void)snprintf(out.path, sizeof out.path, "/proc/self/fd/%d", out.file);
    must(files_write_all(out.file, data, size, out.path) == LS_OK, "write");
    if (with_footer) {
        uint8_t text[FOOTER_BYTES];
        struct footer footer = {.content_bytes = size, .hash = hash_buffer(data, size)};
        footer_encode(text, &footer);
        must(files_write_all(out.file, text, sizeof text, out.path) == LS_OK, "write");
    }
    return out;
}

void hostile_list(const uint8_t *data, size_t size)
{
    struct memory_file memory = open_memory(data, size, 0);
    struct list list = {0};
    (void)!list_add_file(&list, memory.path);
    for (size_t i = 0; i < list.count; i++)
        must(strlen(list.entries[i].path) > 0 && list.entries[i].weight > 0, "an entry of a list");
    list_close(&list);
    (void)close(memory.file);
}

void hostile_index(const uint8_t *data, size_t size)
{
    struct memory_file memory = open_memory(data, size, 1);
    struct index_file index = {0};
    if (index_open(&index, memory.path) == LS_OK) {
        for (uint64_t v = 0; v < index.video_count; v++) {
            struct video_record video;
            if (index_video(&video, &index, v) == LS_OK)
                must(strlen((const char *)index.blob + video.name_at) <= video.name_size, "a name");
        }
        index_close(&index);
    }
    (void)close(memory.file);
}

void hostile_shard(const uint8_t *data, size_t size)
{
    struct memory_file memory = open_memory(data, size, 1);
    struct shard shard = {0};
    if (shard_open(&shard, memory.path, 1) == LS_OK) {
        size_t text = 0;
        for (uint64_t v = 0; v < shard.record.videos; v++)
            text += strlen((const char *)shard.blob + shard.videos[v].name_at);
        for (uint64_t s = 0; s < shard.record.skipped; s++)
            text += strlen((const char *)shard.blob + shard.skipped[s].reason_at);
        must(text / (shard.record.videos + shard.record.skipped + 1) <= shard.blob_bytes, "texts");
        shard_close(&shard);
    }
    (void)close(memory.file);
}

/* version, is_video, bytes, packets, frames, blob */
static int read_head(uint64_t *head, const uint8_t *data, size_t size)
{
    if (size < HEAD_BYTES)
        return 0;
    memcpy(head, data + size - HEAD_BYTES, HEAD_BYTES);
    return head[2] <= size && head[3] <= size / PACKET_ROW_BYTES &&
           head[4] <= size / FRAME_ROW_BYTES &&
           head[2] + head[3] * PACKET_ROW_BYTES + head[4] * FRAME_ROW_BYTES <= size - HEAD_BYTES;
}

struct hostile_tables hostile_part_tables(const uint8_t *data, size_t size)
{
    uint64_t head[HEAD_NUMBERS];
    if (!read_head(head, data, size))
        return (struct hostile_tables){0, 0};
    return (struct hostile_tables){(size_t)head[2], size - HEAD_BYTES};
}

/* Checks of rows and packets as they would be if these had been written. */
static void set_checks(uint8_t *data, size_t size)
{
    uint64_t head[HEAD_NUMBERS];
    if (!read_head(head, data, size))
        return;
    uint8_t *row = data + head[2];
    for (uint64_t p = 0; p < head[3]; p++, row += PACKET_ROW_BYTES) {
        struct packet_record packet;
        table_decode(&record_packet_layout, &packet, row, 1);
        uint64_t bytes = (uint64_t)packet.size + packet.side_size;
        if (packet.offset <= head[2] && bytes <= head[2] - packet.offset)
            packet.check = record_packet_check(&packet, data + packet.offset);
        table_encode(&record_packet_layout, row, &packet, 1);
    }
    for (uint64_t n = 0; n < head[4]; n++, row += FRAME_ROW_BYTES) {
        struct frame_record frame;
        table_decode(&record_frame_layout, &frame, row, 1);
        frame.check = record_frame_check(&frame);
        table_encode(&record_frame_layout, row, &frame, 1);
    }
}

struct looking {
    struct transform *transform;
    struct transform_view view;
    uint8_t *pixels;
};

static ls_status look(void *context, int position, const struct AVFrame *frame)
{
    struct looking *looking = context;
    (void)position;
    return transform_frame(looking->transform, looking->pixels, frame, &looking->view);
}

static void read_clips(const struct dataset *dataset)
{
    ls_status st = LS_OK;
    struct clip_reader *reader = NULL;
    struct looking looking = {0};
    const struct dataset_video video = dataset_video(dataset, 0);
    int64_t numbers[CLIP_FRAMES];
    LS_TRY(clip_reader_open(&reader));
    LS_TRY(transform_open(&looking.transform));
    LS_TRY(core_alloc(&looking.pixels, SIDE * SIDE * 3));
    looking.view = (struct transform_view){
        .orientation = dataset_video_orientation(dataset, 0),
        .shown_width = video.width,
        .shown_height = video.height,
        .box = {video.width / 4, video.height / 4, (video.width + 1) / 2, (video.height + 1) / 2},
        .flip = true,
        .width = SIDE,
        .height = SIDE,
    };
    for (int i = 0; i < CLIP_FRAMES; i++)
        numbers[i] = (video.frames - 1) * i / (CLIP_FRAMES - 1);
    /* Together, then one from the middle: a decoder is reused. */
    (void)!clip_reader_read(reader, dataset, 0, numbers, CLIP_FRAMES, look, &looking);
    (void)!clip_reader_read(reader, dataset, 0, numbers + CLIP_FRAMES / 2, 1, look, &looking);
done:
    must(st == LS_OK, "a reader");
    clip_reader_close(&reader);
    transform_close(&looking.transform);
    free(looking.pixels);
}

static void read_as_dataset(const struct part *part, const struct memory_file *memory)
{
    struct footer footer;
    uint8_t row[VIDEO_ROW_BYTES];
    uint64_t bytes = 0;
    struct video_record video = part->video;
    video.shard = 0;
    table_encode(&record_video_layout, row, &video, 1);
    must(files_size(&bytes, memory->path) == LS_OK &&
             footer_read(&footer, memory->file, bytes, memory->path) == LS_OK,
         "its own footer");
    struct shard_record record = {
        .file_bytes = bytes,
        .hash_low = footer.hash.low,
        .hash_high = footer.hash.high,
        .videos = 1,
        .packets = part->packet_count,
        .frames = part->frame_count,
        .bytes = part->bytes,
        .packets_at = part->bytes,
        .frames_at = part->bytes + part->packet_count * PACKET_ROW_BYTES,
    };
    char path[sizeof memory->path];
    memcpy(path, memory->path, sizeof path);
    struct dataset_shard shard = {.path = path};
    atomic_init(&shard.file, -1);
    struct dataset dataset = {
        .path = path,
        .index = {.path = path,
                  .shards = &record,
                  .shard_count = 1,
                  .video_count = 1,
                  .video_rows = row,
                  .blob = part->blob,
                  .blob_bytes = part->blob_bytes},
        .shards = &shard,
    };
    if (index_video(&video, &dataset.index, 0) == LS_OK)
        read_clips(&dataset);
    if (atomic_load(&shard.file) >= 0)
        (void)close(atomic_load(&shard.file));
}

void hostile_part(const uint8_t *data, size_t size)
{
    struct part part = {.file = -1};
    uint8_t *copy = malloc(size + 1);
    must(copy != NULL, "memory");
    memcpy(copy, data, size);
    set_checks(copy, size);
    struct memory_file memory = open_memory(copy, size, 1);
    free(copy);
    if (part_open(&part, memory.path, true) == LS_OK && part.is_video)
        read_as_dataset(&part, &memory);
    part_close(&part);
    (void)close(memory.file);
}
