/* One source file to one part.  The packets go into the part as they are read; everything after
 * that reads them back from there, through the same code that will read the shard, so what is
 * proven is what was stored. */
#include "data/pack_video.h"

#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/pack_analyse.h"
#include "data/pack_encode.h"
#include "data/pack_frames.h"
#include "data/pack_work.h"
#include "data/playback.h"

/* Whether the video's part is there already: one of its own, of frames or encoded again. */
static ls_status analyse(bool *stored, struct pack_work *work, const char *part_path)
{
    ls_status st = LS_OK;
    struct playback *playback = NULL;
    struct video_record *video = &work->video;
    const char *name = work->source->name;
    *stored = false;
    LS_TRY(record_blob_add(&work->blob, name, strlen(name), &video->name_at, &video->name_size));
    LS_TRY(pack_read(work));
    LS_TRY(playback_open(&playback));
    LS_TRY(pack_analyse(work, playback));
    if (work->source->frame_side > 0) {
        LS_TRY(pack_frames(work, playback, part_path));
        *stored = true;
    } else if (work->source->encoding.gop_s > 0) {
        LS_TRY(pack_encode(stored, work, playback, part_path));
    }
done:
    playback_close(&playback);
    return st;
}

void pack_work_close(struct pack_work *work)
{
    part_writer_close(&work->part);
    record_blob_close(&work->blob);
    record_blob_close(&work->carried);
    hash_stream_close(&work->hash);
    free(work->packets);
    free(work->frames);
}

const char *pack_reason(const struct pack_source *source, const char *message)
{
    const size_t prefix = strlen(source->path);
    if (strncmp(message, source->path, prefix) == 0 && strncmp(message + prefix, ": ", 2) == 0)
        return message + prefix + 2;
    return message;
}

ls_status pack_skip(const char *part_path, const struct pack_source *source, const char *reason)
{
    ls_status st = LS_OK;
    struct record_blob blob = {0};
    struct skipped_record skipped = {
        .source_bytes = source->bytes, .source_mtime_ns = source->mtime_ns, .label = source->label};
    reason = pack_reason(source, reason);
    LS_TRY(record_blob_add(&blob, source->name, strlen(source->name), &skipped.name_at,
                           &skipped.name_size));
    LS_TRY(
        record_blob_add(&blob, reason, strlen(reason), &skipped.reason_at, &skipped.reason_size));
    LS_TRY(part_write_skipped(part_path, &skipped, &blob));
done:
    record_blob_close(&blob);
    return st;
}

ls_status pack_video(bool *skipped, const char *part_path, const struct pack_source *source,
                     const struct prove_progress *progress)
{
    ls_status st = LS_OK;
    struct pack_work work = {.source = source, .progress = progress, .part_status = LS_OK};
    char *packets_path = NULL;
    bool stored = false;
    /* These packets may be kept only until they have been decoded. */
    const bool passing = source->frame_side > 0 || source->encoding.gop_s > 0;
    *skipped = false;
    LS_TRY(core_format(&packets_path, "%s%s", part_path, passing ? ".packets" : ""));
    LS_TRY(part_writer_open(&work.part, packets_path));
    LS_TRY(hash_stream_open(&work.hash));
    st = analyse(&stored, &work, part_path);
    if (work.part_status != LS_OK || st == LS_NOMEM)
        goto done;
    if (st != LS_OK) {
        *skipped = true;
        char *reason = NULL;
        LS_TRY(core_format(&reason, "%s", status_message()));
        st = pack_skip(part_path, source, reason);
        free(reason);
        goto done;
    }
    if (!stored) {
        LS_TRY(part_writer_aim(work.part, part_path));
        LS_TRY(part_writer_commit_video(work.part, &work.video, work.packets, work.frames,
                                        &work.blob));
    }
done:
    free(packets_path);
    pack_work_close(&work);
    return st;
}
