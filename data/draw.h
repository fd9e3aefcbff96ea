/* Which video a sample takes: a pure function of (seed, step, micro-batch, sample).
 *
 * With weights (of datasets or of single videos) videos are drawn with replacement.  Without, all
 * videos of all datasets form one sequence that every epoch permutes anew by a key, so that each is
 * taken once an epoch and no list is kept; the sequence wraps around: a micro-batch at an epoch's
 * end goes on with the next epoch's first videos and nothing is dropped.
 *
 * A micro-batch holds clips of one length.  Where `dataset_fpcs` has several values, each
 * micro-batch first takes one of these groups, then only datasets of the group: with weights at
 * random by the groups' total weight, without in a fixed even alternation by the groups' numbers of
 * videos, each group with an epoch of its own. */
#ifndef LOCKSTEP_DATA_DRAW_H
#define LOCKSTEP_DATA_DRAW_H

#include <stdbool.h>
#include <stdint.h>

#include "core/random.h"
#include "core/status.h"

/* What drawing needs of a dataset. */
struct draw_dataset {
    int64_t videos;
    const double *video_weights; /* [videos], >= 0; NULL: all alike.  Borrowed for draw_open */
    double weight;               /* of the dataset; ignored when not `weighted` */
    int frames;                  /* frames per clip: datasets with the same value form a group */
};

struct draw;

/* Prepare drawing.
 *
 *   datasets        [count]  read during the call only
 *   weighted        the config gives dataset weights.  When it does not but a dataset has video
 *                   weights, every video of all datasets is drawn by its weight
 *   micro_batches   M: micro-batches of a step, of all ranks together
 *   batch_size      clips of a micro-batch
 *
 * Local.  Errors: LS_USAGE when there is nothing to draw from; LS_NOMEM. */
ls_status draw_open(struct draw **out, const struct draw_dataset *datasets, int count,
                    bool weighted, uint64_t seed, int micro_batches, int batch_size) LS_MUST_CHECK;
void draw_close(struct draw **draw);

/* Distinct frames-per-clip values, in the order in which the config names them, and the length of
 * one.  Local. */
int draw_group_count(const struct draw *draw);
int draw_group_frames(const struct draw *draw, int group);

/* The group of a micro-batch.  Local, pure. */
int draw_group(const struct draw *draw, int64_t step, int micro_batch);

/* One sample's draws: its first video, then its replacements. */
struct draw_sample {
    struct random_stream stream;
    int64_t step;
    int micro_batch, sample, group;
    int taken; /* draws already made */
};

void draw_sample_open(struct draw_sample *out, const struct draw *draw, int64_t step,
                      int micro_batch, int sample);

/* The next draw of a sample.  The first is what the rules above give; each further one (for a video
 * that could not be decoded) is drawn from the sample's own generator: by the weights, or uniformly
 * over the group's videos where there are none.  Local, pure. */
void draw_sample_next(int *dataset, int64_t *video, struct draw_sample *sample,
                      const struct draw *draw);

#endif
