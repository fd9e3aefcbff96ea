/* Parts: [packet bytes][packet rows][frame rows][blob][video or skipped row][head row][footer]. */
#include "data/part.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files.h"
#include "data/footer.h"

enum { HEAD_ROW_BYTES = 48, BUFFER_BYTES = 1 << 18, BLOB_BYTES_MAX = 64 << 20 };

struct part_head {
    uint64_t version, is_video, bytes, packets, frames, blob;
};
#define HEAD(member)                                                                               \
    {                                                                                              \
#member, TABLE_U64, offsetof(struct part_head, member)                                     \
    }
static const struct table_column head_columns[] = {HEAD(version), HEAD(is_video), HEAD(bytes),
                                                   HEAD(packets), HEAD(frames),   HEAD(blob)};
static const struct table_layout head_layout = {"head", head_columns, 6, HEAD_ROW_BYTES,
                                                sizeof(struct part_head)};

struct part_writer {
    char *path, *beside;
    int file;
    uint64_t written; /* through write(2) */
    uint8_t *buffer;
    size_t buffered;
    struct hash_stream *hash;
};

ls_status part_writer_open(struct part_writer **out, const char *path)
{
    ls_status st = LS_OK;
    struct part_writer *writer = NULL;
    LS_TRY(core_alloc(&writer, 1));
    writer->file = -1;
    LS_TRY(core_format(&writer->path, "%s", path));
    LS_TRY(core_format(&writer->beside, "%s.tmp-%ld", path, (long)getpid()));
    LS_TRY(core_alloc(&writer->buffer, BUFFER_BYTES));
    LS_TRY(hash_stream_open(&writer->hash));
    writer->file = open(writer->beside, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (writer->file < 0) {
        st = LS_FAIL(LS_IO, "%s: cannot create: %s", writer->beside, strerror(errno));
        goto done;
    }
    *out = writer;
    writer = NULL;
done:
    part_writer_close(&writer);
    return st;
}

void part_writer_close(struct part_writer **writer)
{
    struct part_writer *closing = *writer;
    if (closing == NULL)
        return;
    if (closing->file >= 0) {
        (void)close(closing->file);
        (void)unlink(closing->beside);
    }
    hash_stream_close(&closing->hash);
    free(closing->buffer);
    free(closing->beside);
    free(closing->path);
    free(closing);
    *writer = NULL;
}

static ls_status flush(struct part_writer *writer)
{
    ls_status st = LS_OK;
    LS_TRY(files_write_all(writer->file, writer->buffer, writer->buffered, writer->path));
    hash_stream_add(writer->hash, writer->buffer, writer->buffered);
    writer->written += writer->buffered;
    writer->buffered = 0;
done:
    return st;
}

ls_status part_writer_bytes(struct part_writer *writer, const void *data, size_t bytes,
                            uint64_t *at)
{
    ls_status st = LS_OK;
    const uint8_t *next = data;
    *at = writer->written + writer->buffered;
    while (bytes > 0) {
        size_t room = BUFFER_BYTES - writer->buffered;
        size_t count = bytes < room ? bytes : room;
        memcpy(writer->buffer + writer->buffered, next, count);
        writer->buffered += count;
        next += count;
        bytes -= count;
        if (writer->buffered == BUFFER_BYTES)
            LS_TRY(flush(writer));
    }
done:
    return st;
}

ls_status part_writer_file(struct part_writer *writer, int *out)
{
    ls_status st = LS_OK;
    LS_TRY(flush(writer));
    *out = writer->file;
done:
    return st;
}

ls_status part_writer_aim(struct part_writer *writer, const char *path)
{
    ls_status st = LS_OK;
    char *aimed = NULL;
    LS_TRY(core_format(&aimed, "%s", path));
    free(writer->path);
    writer->path = aimed;
done:
    return st;
}

static ls_status write_rows(struct part_writer *writer, const struct table_layout *layout,
                            const void *records, uint64_t count)
{
    ls_status st = LS_OK;
    uint8_t row[VIDEO_ROW_BYTES];
    uint64_t at;
    for (uint64_t i = 0; i < count; i++) {
        table_encode(layout, row, (const uint8_t *)records + i * layout->record_bytes, 1);
        LS_TRY(part_writer_bytes(writer, row, layout->row_bytes, &at));
    }
done:
    return st;
}

/* The head and the footer, then into place.  Parts are not synced: a torn one is found by its
 * footer and made again. */
static ls_status commit(struct part_writer *writer, const struct part_head *head)
{
    ls_status st = LS_OK;
    uint8_t text[FOOTER_BYTES];
    LS_TRY(write_rows(writer, &head_layout, head, 1));
    LS_TRY(flush(writer));
    struct footer footer = {.content_bytes = writer->written,
                            .hash = hash_stream_value(writer->hash)};
    footer_encode(text, &footer);
    LS_TRY(files_write_all(writer->file, text, sizeof text, writer->path));
    int closed = close(writer->file);
    writer->file = -1;
    if (closed != 0 || rename(writer->beside, writer->path) != 0) {
        st = LS_FAIL(LS_IO, "%s: cannot put in place: %s", writer->path, strerror(errno));
        (void)unlink(writer->beside);
    }
done:
    return st;
}

ls_status part_writer_commit_video(struct part_writer *writer, const struct video_record *video,
                                   const struct packet_record *packets,
                                   const struct frame_record *frames,
                                   const struct record_blob *blob)
{
    ls_status st = LS_OK;
    uint64_t at;
    LS_TRY(write_rows(writer, &record_packet_layout, packets, video->packets));
    LS_TRY(write_rows(writer, &record_frame_layout, frames, video->frames));
    LS_TRY(part_writer_bytes(writer, blob->data, blob->size, &at));
    LS_TRY(write_rows(writer, &record_video_layout, video, 1));
    LS_TRY(commit(writer, &(struct part_head){.version = RECORD_FORMAT_VERSION,
                                              .is_video = 1,
                                              .bytes = video->bytes_size,
                                              .packets = video->packets,
                                              .frames = video->frames,
                                              .blob = blob->size}));
done:
    return st;
}

ls_status part_write_skipped(const char *path, const struct skipped_record *skipped,
                             const struct record_blob *blob)
{
    ls_status st = LS_OK;
    uint64_t at;
    struct part_writer *writer = NULL;
    LS_TRY(part_writer_open(&writer, path));
    LS_TRY(part_writer_bytes(writer, blob->data, blob->size, &at));
    LS_TRY(write_rows(writer, &record_skipped_layout, skipped, 1));
    LS_TRY(
        commit(writer, &(struct part_head){.version = RECORD_FORMAT_VERSION, .blob = blob->size}));
done:
    part_writer_close(&writer);
    return st;
}

static ls_status read_head(struct part_head *head, const struct part *part, uint64_t content)
{
    ls_status st = LS_OK;
    uint8_t row[HEAD_ROW_BYTES];
    if (content < sizeof row) {
        st = LS_FAIL(LS_DATA, "%s: truncated", part->path);
        goto done;
    }
    LS_TRY(files_read_at(part->file, row, sizeof row, content - sizeof row, part->path));
    table_decode(&head_layout, head, row, 1);
    uint64_t last = head->is_video ? VIDEO_ROW_BYTES : SKIPPED_ROW_BYTES;
    if (head->version != RECORD_FORMAT_VERSION || head->packets > UINT32_MAX ||
        head->frames > UINT32_MAX || head->blob > BLOB_BYTES_MAX || head->bytes > content ||
        head->bytes + head->packets * PACKET_ROW_BYTES + head->frames * FRAME_ROW_BYTES +
                head->blob + last + sizeof row !=
            content)
        st = LS_FAIL(LS_DATA, "%s: not a part of this program's version", part->path);
done:
    return st;
}

static ls_status read_rest(struct part *part, const struct part_head *head)
{
    ls_status st = LS_OK;
    uint8_t row[VIDEO_ROW_BYTES];
    uint64_t at = head->bytes + head->packets * PACKET_ROW_BYTES + head->frames * FRAME_ROW_BYTES;
    part->is_video = head->is_video != 0;
    part->bytes = head->bytes;
    part->packet_count = head->packets;
    part->frame_count = head->frames;
    part->blob_bytes = head->blob;
    LS_TRY(core_alloc(&part->blob, head->blob));
    LS_TRY(files_read_at(part->file, part->blob, head->blob, at, part->path));
    size_t bytes = part->is_video ? VIDEO_ROW_BYTES : SKIPPED_ROW_BYTES;
    LS_TRY(files_read_at(part->file, row, bytes, at + head->blob, part->path));
    if (part->is_video)
        table_decode(&record_video_layout, &part->video, row, 1);
    else
        table_decode(&record_skipped_layout, &part->skipped, row, 1);
done:
    return st;
}

ls_status part_open(struct part *out, const char *path, bool check)
{
    ls_status st = LS_OK;
    struct part part = {.file = -1};
    struct stat info;
    struct footer footer;
    struct part_head head;
    LS_TRY(core_format(&part.path, "%s", path));
    part.file = open(path, O_RDONLY | O_CLOEXEC);
    if (part.file < 0 || fstat(part.file, &info) != 0) {
        st = LS_FAIL(LS_IO, "%s: cannot open: %s", path, strerror(errno));
        goto done;
    }
    LS_TRY(footer_read(&footer, part.file, (uint64_t)info.st_size, path));
    if (check) {
        struct hash128 hash;
        LS_TRY(footer_hash_content(&hash, part.file, footer.content_bytes, path));
        if (!hash_equal(hash, footer.hash)) {
            st = LS_FAIL(LS_DATA, "%s: damaged", path);
            goto done;
        }
    }
    LS_TRY(read_head(&head, &part, footer.content_bytes));
    LS_TRY(read_rest(&part, &head));
    *out = part;
    part = (struct part){.file = -1};
done:
    part_close(&part);
    return st;
}

void part_close(struct part *part)
{
    if (part->file >= 0)
        (void)close(part->file);
    free(part->path);
    free(part->blob);
    *part = (struct part){.file = -1};
}
