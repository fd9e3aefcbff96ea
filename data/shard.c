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
#include "data/h5_locate.h"

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
    enum { VIDEOS, SKIPPED, PACKETS, FRAMES, BYTES, BLOB, TABLES };
    static const struct h5_wanted wanted[TABLES] = {
        [VIDEOS] = {&record_video_layout, NULL},
        [SKIPPED] = {&record_skipped_layout, NULL},
        [PACKETS] = {&record_packet_layout, NULL},
        [FRAMES] = {&record_frame_layout, NULL},
        [BYTES] = {NULL, "bytes"},
        [BLOB] = {NULL, "blob"},
    };
    ls_status st = LS_OK;
    struct h5_extent found[TABLES];
    struct shard_record *record = &shard->record;
    LS_TRY(h5_locate(found, wanted, TABLES, shard->path, SHARD_FORMAT,
                     record->file_bytes - FOOTER_BYTES));
    record->videos = found[VIDEOS].count;
    record->videos_at = found[VIDEOS].offset;
    record->skipped = found[SKIPPED].count;
    record->packets = found[PACKETS].count;
    record->packets_at = found[PACKETS].offset;
    record->frames = found[FRAMES].count;
    record->frames_at = found[FRAMES].offset;
    record->bytes = found[BYTES].count;
    record->bytes_at = found[BYTES].offset;
    record->blob_at = found[BLOB].offset;
    shard->blob_bytes = found[BLOB].count;
    *skipped = found[SKIPPED];
    *blob = found[BLOB];
done:
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
