/* The loader: micro-batches of uint8 clips and mask lists, in order, decoded ahead by threads.
 *
 * What a micro-batch holds is a pure function of (config, datasets, step, micro-batch): see
 * data/draw.h, data/mask.h and data/clip.h.  The loader only does it early and in parallel, so the
 * thread count changes nothing. */
#ifndef LOCKSTEP_DATA_LOADER_H
#define LOCKSTEP_DATA_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/config.h"
#include "core/hash.h"
#include "core/status.h"
#include "data/crop.h"
#include "data/dataset.h"
#include "data/reasons.h"

struct loader;

/* Token lists of one mask group: B rows of `count` token numbers in time, row, column order. */
struct loader_tokens {
    int count;       /* K: the same for all clips of the micro-batch */
    int32_t *tokens; /* [B, K], each row ascending */
};

struct loader_clip_source { /* which draw gave a clip: for logs and tests */
    int dataset;
    int64_t video;
    int64_t first_frame, last_frame;
    int64_t frame_step;       /* 0: frames are chosen by time */
    struct crop_box box;      /* of its first frame, in shown pixels of the video's nominal size */
    struct crop_box last_box; /* of its last: another one with `motion_shift` */
    bool flip;
    int replaced; /* failed draws before this one */
};

struct loader_batch {
    int64_t step;
    int micro_batch; /* global number, 0 .. M-1 */
    int clips;       /* B */
    int frames;      /* T of this micro-batch */
    int frames_group; /* index of T in the config's distinct frames-per-clip values: selects the mask token */
    uint8_t *pixels; /* [B, T, H, W, 3] RGB */
    int group_count; /* mask groups */
    struct loader_tokens context[CONFIG_MASK_GROUPS_MAX];
    struct loader_tokens predicted[CONFIG_MASK_GROUPS_MAX];
    struct loader_clip_source *sources; /* [B] */
    const int64_t *bad_draws; /* [datasets] draws that failed and were replaced; those that did not
                               * are in `sources` */
    const struct bad_videos *bad_videos; /* whose they were */
    struct hash128 draw_hash; /* of pixels and mask lists, bound to the micro-batch number: sum over
                               * a step's micro-batches (hash_add) is the step's draw_hash */
};

struct loader_counters {
    double wait_s; /* time the rank waited in loader_next since the last call of loader_counters */
    struct reasons reasons; /* why draws failed, of the micro-batches delivered since open */
};

/* Refuse a config that the loader cannot serve whatever the data: keys that are not implemented,
 * masks that can leave no context, clips without tokens.  For a launcher, before workers start;
 * loader_open asks the same.  Local.  Errors: LS_USAGE naming the key. */
ls_status loader_check(const struct config *config) LS_MUST_CHECK;

/* Start loading.  `datasets[i]` belongs to config->data.datasets[i]; both borrowed for the loader's
 * life. The rank takes micro-batches [micro_first, micro_first + micro_count) of every step from
 * `first_step` (counted from 0) on. `skip` lists steps whose draws a rollback decided to pass over
 * (ascending, copied): step s then uses the draws of the s-th step number not in the list.
 *
 * Local.  Errors: LS_USAGE for a config the data cannot serve, LS_NOMEM. */
ls_status loader_open(struct loader **out, const struct config *config,
                      struct dataset *const *datasets, int64_t first_step, int micro_first,
                      int micro_count, const int64_t *skip, int skip_count) LS_MUST_CHECK;

/* Stop the threads and free all; batches not released die too. */
void loader_close(struct loader **loader);

/* The next micro-batch in (step, micro-batch) order.  Blocks until it is there, at most
 * `timeout_s`.  `*out` is lent until loader_release; config->run.prefetch + 1 batches exist, so
 * each further one that is lent is one less decoded ahead.  One thread.
 *
 * A video that cannot be decoded is replaced by the sample's next draw and told of
 * in the batch; whether a run has too many of them is its caller's to say (clip_bad_limit).  Local.
 * Errors: LS_DATA when too many draws of a sample failed in a row (names the dataset); LS_IO;
 * LS_TIMEOUT naming the videos waited for; LS_USAGE when all batches are lent.  After an error the
 * loader can only be closed. */
ls_status loader_next(struct loader *loader, struct loader_batch **out,
                      double timeout_s) LS_MUST_CHECK;
void loader_release(struct loader *loader, struct loader_batch *batch);

/* Whether loader_next would succeed at once.  Local; the thread that calls loader_next. */
bool loader_ready(struct loader *loader);

/* Memory of the pixels of the loader's batches, for who wants to copy from it fast: buffer `index`
 * from 0 on; false when there is none.  Lives as long as the loader.  Local. */
bool loader_pixels(const struct loader *loader, int index, void **out, size_t *bytes);

struct loader_counters loader_counters(struct loader *loader);

#endif
