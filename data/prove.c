/* Proof of random access.  Key packets are tried from the last to the first; a run decodes from one
 * of them until every frame that still lacks a proof and is coded behind it has come out.  With
 * closed GOPs that decodes the video once; open GOPs add the leading frames.  What fails three
 * times stays with packet 0, and so does the rest when the budget of three decodes of the video is
 * spent: no file can make this quadratic. */
#include "data/prove.h"

#include <stdlib.h>

#include "core/files.h"
#include "data/planes.h"

enum { TRIES_MAX = 3, BUDGET_FACTOR = 3, BUDGET_EXTRA = 256 };

struct proof {
    struct playback *playback;
    const struct playback_source *source;
    struct frame_record *frames;
    uint32_t frame_count;
    uint32_t *first_of_packet; /* [packets + 1] into by_packet */
    uint32_t *by_packet;       /* frame numbers by (packet, ordinal) */
    uint8_t *tries;            /* failed runs; PROVEN when done */
    uint64_t budget;           /* frames that may still be decoded */
    const struct prove_progress *progress;
};
enum { PROVEN = 255 };

static ls_status sort_frames(struct proof *proof)
{
    ls_status st = LS_OK;
    uint32_t packets = proof->source->count;
    uint32_t *next = NULL;
    LS_TRY(core_alloc(&proof->first_of_packet, (size_t)packets + 1));
    LS_TRY(core_alloc(&proof->by_packet, proof->frame_count));
    LS_TRY(core_alloc(&proof->tries, proof->frame_count));
    LS_TRY(core_alloc(&next, packets));
    for (uint32_t n = 0; n < proof->frame_count; n++)
        proof->first_of_packet[proof->frames[n].packet + 1]++;
    for (uint32_t p = 0; p < packets; p++)
        proof->first_of_packet[p + 1] += proof->first_of_packet[p];
    for (uint32_t p = 0; p < packets; p++)
        next[p] = proof->first_of_packet[p];
    for (uint32_t n = 0; n < proof->frame_count; n++)
        proof->by_packet[next[proof->frames[n].packet]++] = n;
done:
    free(next);
    return st;
}

/* The frame that a packet's `ordinal`-th output is; frame_count when there is none such. */
static uint32_t find_frame(const struct proof *proof, uint32_t packet, uint32_t ordinal)
{
    if (packet >= proof->source->count)
        return proof->frame_count;
    uint32_t first = proof->first_of_packet[packet];
    if (ordinal >= proof->first_of_packet[packet + 1] - first)
        return proof->frame_count;
    return proof->by_packet[first + ordinal];
}

static int lacks_proof(const struct proof *proof, uint32_t n, uint32_t start)
{
    return proof->tries[n] < TRIES_MAX && proof->frames[n].packet >= start;
}

/* The last frame that a run from `start` could prove; frame_count when there is none.  Frames with
 * larger numbers are proven or given up, from `*scan` on; it only moves down. */
static uint32_t last_unproven(const struct proof *proof, uint32_t *scan, uint32_t start)
{
    while (*scan > 0 && proof->tries[*scan - 1] >= TRIES_MAX)
        (*scan)--;
    for (uint32_t n = *scan; n > 0 && proof->frames[n - 1].last >= start; n--)
        if (lacks_proof(proof, n - 1, start))
            return n - 1;
    return proof->frame_count;
}

static ls_status take_frame(struct proof *proof, const struct playback_frame *got, uint32_t start,
                            uint32_t n)
{
    ls_status st = LS_OK;
    uint64_t planes;
    struct frame_record *frame = &proof->frames[n];
    if (!lacks_proof(proof, n, start))
        return LS_OK;
    LS_TRY(planes_hash(&planes, got->frame));
    if (planes == frame->planes && (uint32_t)got->frame->width == frame->width &&
        (uint32_t)got->frame->height == frame->height) {
        frame->start = start;
        frame->last = got->fed;
        proof->tries[n] = PROVEN;
    }
done:
    return st;
}

/* Decode from `start` until frame `limit` is out.  `last` grows with the frame number and is never
 * below the frame's own packet, so the frames coded behind `start` end at the first smaller one. */
static ls_status run_from(struct proof *proof, uint32_t start, uint32_t limit)
{
    ls_status st = LS_OK;
    struct playback_frame got;
    LS_TRY(playback_start(proof->playback, start));
    while (proof->budget > 0) {
        st = playback_next(proof->playback, proof->source->count - 1, NULL, &got);
        if (st != LS_OK)
            break;
        proof->budget--;
        proof->progress->alive(proof->progress->context);
        uint32_t n = find_frame(proof, got.packet, got.ordinal);
        if (n == proof->frame_count)
            continue;
        LS_TRY(take_frame(proof, &got, start, n));
        if (n >= limit)
            break;
    }
    if (st == LS_EOF)
        st = LS_OK;
    if (st != LS_OK)
        goto done;
    for (uint32_t n = limit + 1; n > 0 && proof->frames[n - 1].last >= start; n--)
        if (lacks_proof(proof, n - 1, start))
            proof->tries[n - 1]++;
done:
    return st;
}

ls_status prove_starts(struct playback *playback, const struct playback_source *source,
                       struct frame_record *frames, uint32_t frame_count,
                       const struct prove_progress *progress)
{
    ls_status st = LS_OK;
    struct proof proof = {
        .playback = playback,
        .source = source,
        .frames = frames,
        .frame_count = frame_count,
        .progress = progress,
        .budget = (uint64_t)BUDGET_FACTOR * frame_count + BUDGET_EXTRA,
    };
    uint32_t scan = frame_count;
    LS_TRY(sort_frames(&proof));
    playback_source(playback, source);
    for (uint32_t start = source->count - 1; start > 0 && proof.budget > 0; start--) {
        if (!(source->packets[start].flags & PACKET_KEY))
            continue;
        uint32_t limit = last_unproven(&proof, &scan, start);
        if (limit < frame_count)
            LS_TRY(run_from(&proof, start, limit));
    }
done:
    free(proof.first_of_packet);
    free(proof.by_packet);
    free(proof.tries);
    return st;
}
