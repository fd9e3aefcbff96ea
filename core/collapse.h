/* Whether the features of a run collapse: the one rule of the warning, the report and the probe's
 * table.
 *
 * The target is the model's own, so that the loss also falls when its features lose their spread or
 * their directions.  What is looked at is how the spread (target_std) and the directions
 * (target_rank) stand against those of the first steps: a mean over the last 20 steps against the
 * largest of the first 20 (a collapse can be under way at the tenth), a mean over the last three
 * target_rank against the first one.  Nothing is said before the warm-up is over and both windows
 * are filled.  Likeness of the predictions (prediction_cosine) does not decide: healthy runs have
 * it near 1 for their first thousand steps, too.  The usual limits are lockstep.collapse_std_share
 * and collapse_rank_share; collapse.c has where they come from. */
#ifndef LOCKSTEP_CORE_COLLAPSE_H
#define LOCKSTEP_CORE_COLLAPSE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { COLLAPSE_EARLY = 20, COLLAPSE_RECENT = 20, COLLAPSE_RANKS = 3 };

enum collapse_state {
    COLLAPSE_UNKNOWN, /* no figures yet */
    COLLAPSE_NONE,
    COLLAPSE_NEAR, /* not far above a limit */
    COLLAPSE_FULL  /* under it: what the warning speaks of */
};

struct collapse_limits {
    double std_share, rank_share; /* of the early value; 0: not looked at */
    int64_t warmup_steps;         /* of the run, or of its stage */
};

/* NaN where a figure is not known. */
struct collapse_signs {
    double early_std, std;   /* at the start; now */
    double early_rank, rank; /* the same of target_rank */
};

/* The windows of a run, or of a stage of it. */
struct collapse_track {
    int64_t steps; /* the last one taken, counted from the begin of the run or stage */
    int early_count, std_count, std_next, rank_count, rank_next;
    double early_std, early_rank;
    double std[COLLAPSE_RECENT], rank[COLLAPSE_RANKS];
};

/* Begin; take step `step` (from 1), which changed something; `target_rank` NaN where it was not
 * made.  Local. */
void collapse_begin(struct collapse_track *track);
void collapse_take(struct collapse_track *track, int64_t step, double target_std,
                   double target_rank);

/* The figures that may be judged: NaN while it is too early.  Local, pure. */
struct collapse_signs collapse_signs(const struct collapse_track *track,
                                     const struct collapse_limits *limits);

/* Judge them.  `*reason` is the sign that decided, as it is called in the metrics ("target_std",
 * "target_rank"); NULL where none did.  Local, pure. */
enum collapse_state collapse_judge(const char **reason, const struct collapse_signs *signs,
                                   const struct collapse_limits *limits);

#ifdef __cplusplus
}
#endif
#endif
