/* The report, RFC 4180: fields with a comma, a quote or a line break are quoted, quotes doubled. */
#include "data/pack_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files.h"
#include "data/index.h"
#include "data/shard.h"
#include "data/skips.h"
#include "data/store_note.h"

static void write_field(FILE *file, const char *text)
{
    if (strpbrk(text, ",\"\r\n") == NULL) {
        (void)fputs(text, file);
        return;
    }
    (void)fputc('"', file);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            (void)fputc('"', file);
        (void)fputc(*text, file);
    }
    (void)fputc('"', file);
}

/* Of a dear video: what was done with it. */
static void write_note(FILE *file, const struct shard *shard, const struct video_record *video)
{
    struct store_note note;
    char text[2 * STORE_NOTE_TEXT_BYTES];
    if (!(video->flags & (VIDEO_ENCODED | VIDEO_KEPT)) ||
        !store_note_find(&note, shard->blob + video->side_data_at, (size_t)video->side_data_size))
        return;
    const double millions = note.before.work * 1e-6;
    if (note.encoded)
        (void)snprintf(text, sizeof text, "encoded again: a clip cost %.0f million, from %s %dx%d",
                       millions, note.source_codec, note.source_width, note.source_height);
    else
        (void)snprintf(text, sizeof text, "kept, though a clip costs %.0f million: %s", millions,
                       note.why);
    write_field(file, text);
}

static void write_video(FILE *file, const struct shard *shard, const struct video_record *video)
{
    const char *blob = (const char *)shard->blob;
    write_field(file, blob + video->name_at);
    (void)fputs(",ok,", file);
    write_note(file, shard, video);
    (void)fprintf(file, ",%" PRIu64 ",%d,%d,%.6g,", video->frames, video->width, video->height,
                  video->average_fps);
    write_field(file, blob + video->codec_at);
    (void)fputc(',', file);
    write_field(file, blob + video->format_at);
    (void)fprintf(file, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",", video->source_bytes,
                  video->bytes_size, video->bad_frames);
    if (video->label >= 0)
        (void)fprintf(file, "%" PRId64, video->label);
    (void)fprintf(file, ",%u\r\n", video->shard);
}

static void write_skipped(FILE *file, const char *name, const char *reason, uint64_t bytes,
                          int64_t label)
{
    write_field(file, name);
    (void)fputs(",skipped,", file);
    write_field(file, reason);
    (void)fprintf(file, ",0,,,,,,%" PRIu64 ",0,0,", bytes);
    if (label >= 0)
        (void)fprintf(file, "%" PRId64, label);
    (void)fputs(",\r\n", file);
}

static ls_status write_shard(FILE *file, struct pack_summary *sum, const char *path,
                             const struct skips *skips, uint64_t number)
{
    ls_status st = LS_OK;
    struct shard shard = {0};
    LS_TRY(shard_open(&shard, path, 0));
    for (uint64_t v = 0; v < shard.record.videos; v++) {
        write_video(file, &shard, &shard.videos[v]);
        sum->frames += (int64_t)shard.videos[v].frames;
        sum->encoded += (shard.videos[v].flags & VIDEO_ENCODED) != 0;
        sum->kept += (shard.videos[v].flags & VIDEO_KEPT) != 0;
    }
    for (uint64_t s = 0; s < shard.record.skipped; s++) {
        const struct skipped_record *skipped = &shard.skipped[s];
        const char *name = (const char *)shard.blob + skipped->name_at;
        if (!skips_stands(skips, name, number, s))
            continue;
        const char *reason = (const char *)shard.blob + skipped->reason_at;
        if (sum->skipped++ == 0)
            (void)snprintf(sum->first_reason, sizeof sum->first_reason, "%s", reason);
        write_skipped(file, name, reason, skipped->source_bytes, skipped->label);
    }
    sum->videos += (int64_t)shard.record.videos;
    sum->bytes += shard.record.bytes;
    sum->shards++;
done:
    shard_close(&shard);
    return st;
}

static ls_status write_rows(FILE *file, struct pack_summary *sum, const char *folder,
                            const struct pack_plan *plan)
{
    ls_status st = LS_OK;
    char *path = NULL;
    int64_t *numbers = NULL;
    size_t count = 0;
    struct skips skips = {0};
    LS_TRY(skips_read(&skips, folder));
    (void)fputs("file,status,reason,frames,width,height,fps,codec,pixel_format,source_bytes,"
                "packed_bytes,bad_frames,label,shard\r\n",
                file);
    LS_TRY(index_list_shards(&numbers, &count, folder));
    for (size_t i = 0; i < count; i++) {
        LS_TRY(index_shard_path(&path, folder, (uint64_t)numbers[i]));
        LS_TRY(write_shard(file, sum, path, &skips, (uint64_t)numbers[i]));
        free(path);
        path = NULL;
    }
    for (size_t i = 0; i < plan->duplicate_count; i++) {
        const struct list_entry *entry = &plan->list.entries[plan->duplicates[i]];
        write_skipped(file, entry->path, "listed more than once: packed once", 0, entry->label);
    }
done:
    skips_close(&skips);
    free(path);
    free(numbers);
    return st;
}

ls_status pack_report_write(struct pack_summary *out, const char *folder,
                            const struct pack_plan *plan)
{
    ls_status st = LS_OK;
    struct pack_summary sum = {.duplicates = (int64_t)plan->duplicate_count};
    char *path = NULL;
    char *beside = NULL;
    FILE *file = NULL;
    LS_TRY(core_format(&path, "%s/%s", folder, PACK_REPORT_NAME));
    LS_TRY(core_format(&beside, "%s.tmp-%ld", path, (long)getpid()));
    file = fopen(beside, "we");
    if (file == NULL) {
        st = LS_FAIL(LS_IO, "%s: cannot create: %s", beside, strerror(errno));
        goto done;
    }
    LS_TRY(write_rows(file, &sum, folder, plan));
    int failed = ferror(file);
    failed |= fclose(file) != 0;
    file = NULL;
    if (failed) {
        st = LS_FAIL(LS_IO, "%s: cannot write: %s", beside, strerror(errno));
        goto done;
    }
    LS_TRY(files_sync(beside));
    LS_TRY(files_rename(beside, path));
    *out = sum;
done:
    if (file != NULL)
        (void)fclose(file);
    if (st != LS_OK && beside != NULL)
        (void)unlink(beside);
    free(path);
    free(beside);
    return st;
}
