/* Reading a shard's tables.  What the footer vouches for is checked first; then every number that
 * is used as a size or an offset. */
#include "data/shard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files.h"
#include "data/footer.h"
#include "data/h5.h"

static ls_status check_footer(struct shard *shard, int file, int check)
{
    ls_status st = LS_OK;
    struct stat info;
    struct footer footer;
    if (fstat(file, &info) != 0) {
        st = LS_FAIL(LS_IO, "%s: cannot look at: %s", shard->path, strerror(errno));
        goto done;
    }
    LS_TRY(footer_read(&footer, file, (uint64_t)info.st_size, shard->path));
    if (check) {
        struct hash128 hash;
        LS_TRY(footer_hash_content(&hash, file, footer.content_bytes, shard->path));
        if (!hash_equal(hash, footer.hash)) {
            st = LS_FAIL(LS_DATA, "%s: damaged: its content does not match its checksum",
                         shard->path);
            goto done;
        }
    }
    shard->record.file_bytes = (uint64_t)info.st_size;
    shard->record.hash_low = footer.hash.low;
    shard->record.hash_high = footer.hash.high;
done:
    return st;
}

static ls_status find_tables(struct shard *shard, struct h5_extent *skipped, struct h5_extent *blob)
{
    ls_status st = LS_OK;
    hid_t file = -1;
    struct h5_extent found;
    struct shard_record *record = &shard->record;
    uint64_t content = record->file_bytes - FOOTER_BYTES;
    const char *path = shard->path;
    LS_TRY(h5_open_file(&file, path));
    LS_TRY(h5_check_format(file, path, SHARD_FORMAT, RECORD_FORMAT_VERSION));
    LS_TRY(h5_find_table(&found, file, path, &record_video_layout, content));
    record->videos = found.count;
    record->videos_at = found.offset;
    LS_TRY(h5_find_table(skipped, file, path, &record_skipped_layout, content));
    record->skipped = skipped->count;
    LS_TRY(h5_find_table(&found, file, path, &record_packet_layout, content));
    record->packets = found.count;
    record->packets_at = found.offset;
    LS_TRY(h5_find_table(&found, file, path, &record_frame_layout, content));
    record->frames = found.count;
    record->frames_at = found.offset;
    LS_TRY(h5_find_bytes(&found, file, path, "bytes", content));
    record->bytes = found.count;
    record->bytes_at = found.offset;
    LS_TRY(h5_find_bytes(blob, file, path, "blob", content));
    shard->blob_bytes = blob->count;
    record->blob_at = blob->offset;
    LS_TRY(h5_close_file(&file, path));
done:
    if (file >= 0)
        (void)H5Fclose(file);
    return st;
}

static ls_status read_rows(void **out, const struct table_layout *layout, int file,
                           const struct h5_extent *extent, const char *path)
{
    ls_status st = LS_OK;
    uint8_t *rows = NULL;
    void *records = NULL;
    LS_TRY(core_alloc(&rows, extent->count * layout->row_bytes));
    LS_TRY(core_alloc_bytes(&records, extent->count, layout->record_bytes));
    LS_TRY(files_read_at(file, rows, extent->count * layout->row_bytes, extent->offset, path));
    table_decode(layout, records, rows, extent->count);
    *out = records;
    records = NULL;
done:
    free(rows);
    free(records);
    return st;
}

static ls_status check_rows(const struct shard *shard)
{
    ls_status st = LS_OK;
    for (uint64_t v = 0; v < shard->record.videos; v++)
        LS_TRY(
            record_video_check(&shard->videos[v], shard->blob_bytes, &shard->record, shard->path));
    for (uint64_t s = 0; s < shard->record.skipped; s++) {
        const struct skipped_record *row = &shard->skipped[s];
        if (!record_reference_fits(row->name_at, row->name_size, shard->blob_bytes) ||
            !record_reference_fits(row->reason_at, row->reason_size, shard->blob_bytes)) {
            st = LS_FAIL(LS_DATA, "%s: damaged: a skipped file's text lies outside the blob",
                         shard->path);
            goto done;
        }
    }
done:
    return st;
}

ls_status shard_open(struct shard *out, const char *path, int check)
{
    ls_status st = LS_OK;
    struct shard shard = {0};
    struct h5_extent skipped;
    struct h5_extent blob;
    int file = -1;
    LS_TRY(core_format(&shard.path, "%s", path));
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        st = LS_FAIL(LS_IO, "%s: cannot open: %s", path, strerror(errno));
        goto done;
    }
    LS_TRY(check_footer(&shard, file, check));
    LS_TRY(find_tables(&shard, &skipped, &blob));
    struct h5_extent videos = {.offset = shard.record.videos_at, .count = shard.record.videos};
    LS_TRY(read_rows((void **)&shard.videos, &record_video_layout, file, &videos, path));
    LS_TRY(read_rows((void **)&shard.skipped, &record_skipped_layout, file, &skipped, path));
    LS_TRY(core_alloc(&shard.blob, shard.blob_bytes + 1));
    LS_TRY(files_read_at(file, shard.blob, shard.blob_bytes, blob.offset, path));
    LS_TRY(check_rows(&shard));
    shard.record.number = shard.record.videos > 0 ? shard.videos[0].shard : 0;
    *out = shard;
    shard = (struct shard){0};
done:
    if (file >= 0)
        (void)close(file);
    shard_close(&shard);
    return st;
}

void shard_close(struct shard *shard)
{
    free(shard->path);
    free(shard->videos);
    free(shard->skipped);
    free(shard->blob);
    *shard = (struct shard){0};
}
