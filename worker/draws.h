/* How many draws of each dataset a run has made and how many of them failed, and when that is too
 * many: data.max_bad_share. */
#ifndef LOCKSTEP_WORKER_DRAWS_H
#define LOCKSTEP_WORKER_DRAWS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/hash.h"
#include "core/status.h"
#include "data/loader.h"

struct draws;

struct draw_count {
    int64_t drawn; /* the failed ones too */
    int64_t bad;
};

/* Nothing drawn.  The datasets are looked at during the call only.  Local.  Errors: LS_NOMEM. */
ls_status draws_open(struct draws **out, struct dataset *const *datasets, int count) LS_MUST_CHECK;
void draws_close(struct draws **draws);

/* This rank's draws of a step: none, then those of a micro-batch more.  Local. */
void draws_begin_step(struct draws *draws);
void draws_take(struct draws *draws, const struct loader_batch *batch);

/* This rank's draws of the step, to be summed over ranks: 2 numbers a dataset.  Local. */
void draws_put(double *out, const struct draws *draws);

/* Count the step with these sums; returns how many of its draws failed.  Local; the same on all
 * ranks. */
int64_t draws_add(struct draws *draws, const double *sums);

/* Bad videos of this rank's draws of the step; and whether a video is named for the first time.
 * Local. */
const struct bad_videos *draws_bad_videos(const struct draws *draws);
bool draws_name(struct draws *draws, const struct bad_video *video);

struct draw_count draws_of(const struct draws *draws, int dataset);

/* The dataset of which so many draws failed that its share of bad ones must be above
 * `max_bad_share` (clip_bad_limit), the worst where there are several; -1: none.  Local, pure. */
int draws_worst(const struct draws *draws, double max_bad_share);

/* LS_DATA in one line: which dataset (`path`), how many of how many, why (of all ranks). */
ls_status draws_refuse(const struct draws *draws, int dataset, const char *path,
                       double max_bad_share, const struct reasons *reasons) LS_MUST_CHECK;

/* The counts as the JSON that a checkpoint holds, owned by the caller; `datasets` is the hash of
 * their fingerprints.  Local.  Errors: LS_NOMEM. */
ls_status draws_write(char **out, const struct draws *draws, struct hash128 datasets) LS_MUST_CHECK;

/* Go on from such counts.  False, and nothing is taken, when they are of other datasets (somebody
 * may have mended one), of an older program or damaged: counting begins anew.  Local. */
bool draws_read(struct draws *draws, const char *text, struct hash128 datasets);

#endif
