/* Which packets may be left out.  A clip takes every n-th frame, and often half of a video's frames
 * are ones that no other frame refers to: not feeding their packets saves their decoding.  FFmpeg's
 * own flag finds the candidates in one run; a second run without their packets is the proof. */
#include <libavcodec/avcodec.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "data/planes.h"
#include "data/prove.h"

/* In VP9 and AV1 even an unreferenced frame may hand its entropy state on. */
static bool codec_allows(const char *name)
{
    static const char *const names[] = {"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

struct skipping {
    struct playback *playback;
    const struct playback_source *source;
    const struct frame_record *frames;
    uint32_t frame_count;
    const struct prove_progress *progress;
};

/* Play the video; `came[n]` is set for frames that come out.  `*same` says whether each has the
 * planes it should have and all of them are in order. */
static ls_status play(const struct skipping *skipping, const uint8_t *wanted, uint8_t *came,
                      bool *same)
{
    ls_status st = LS_OK;
    const struct frame_record *frames = skipping->frames;
    struct playback_frame got;
    uint32_t n = 0;
    uint64_t planes;
    *same = true;
    while (*same) {
        st = playback_next(skipping->playback, skipping->source->count - 1, wanted, &got);
        if (st == LS_EOF)
            break;
        if (st != LS_OK)
            goto done;
        while (n < skipping->frame_count &&
               (frames[n].packet != got.packet || frames[n].ordinal != got.ordinal))
            n++;
        LS_TRY(planes_hash(&planes, got.frame));
        *same = n < skipping->frame_count && planes == frames[n].planes;
        if (*same)
            came[n++] = 1;
        skipping->progress->alive(skipping->progress->context);
    }
    st = LS_OK;
done:
    return st;
}

ls_status prove_skippable(struct playback *playback, const struct playback_source *source,
                          struct packet_record *packets, const struct frame_record *frames,
                          uint32_t frame_count, const struct prove_progress *progress)
{
    ls_status st = LS_OK;
    const struct skipping skipping = {playback, source, frames, frame_count, progress};
    uint8_t *came = NULL;
    uint8_t *again = NULL;
    uint8_t *wanted = NULL;
    uint32_t candidates = 0;
    bool same = true;
    if (!codec_allows((const char *)source->blob + source->video->codec_at))
        return LS_OK;
    LS_TRY(core_alloc(&came, frame_count));
    LS_TRY(core_alloc(&again, frame_count));
    LS_TRY(core_alloc(&wanted, source->count));
    playback_source(playback, source);
    LS_TRY(playback_start(playback, 0));
    playback_pass_unreferenced(playback);
    LS_TRY(play(&skipping, NULL, came, &same));
    for (uint32_t n = 0; same && n < frame_count; n++) {
        if (came[n] || frames[n].ordinal > 0 || (packets[frames[n].packet].flags & PACKET_KEY))
            continue;
        packets[frames[n].packet].flags |= PACKET_SKIPPABLE;
        candidates++;
    }
    if (candidates == 0)
        goto done;
    LS_TRY(playback_start(playback, 0));
    LS_TRY(play(&skipping, wanted, again, &same));
    for (uint32_t n = 0; n < frame_count; n++) {
        bool skipped = (packets[frames[n].packet].flags & PACKET_SKIPPABLE) != 0;
        same = same && (again[n] != 0) != skipped;
    }
    for (uint32_t p = 0; !same && p < source->count; p++)
        packets[p].flags &= ~(uint32_t)PACKET_SKIPPABLE;
done:
    free(came);
    free(again);
    free(wanted);
    return st;
}
