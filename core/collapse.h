/* Whether the features of a run collapse: the rule that the warning and the report share.
 *
 * The target is the model's own, so that the loss also falls when its features lose their spread or
 * their directions.  What is looked at is how the spread (target_std) and the directions
 * (target_rank) stand against those of the first steps.  Likeness of the predictions
 * (prediction_cosine) does not decide: healthy runs have it near 1 for their first thousand steps,
 * too.  Thresholds, and where they come from, are in collapse.c. */
#ifndef LOCKSTEP_CORE_COLLAPSE_H
#define LOCKSTEP_CORE_COLLAPSE_H

#ifdef __cplusplus
extern "C" {
#endif

enum collapse_state {
    COLLAPSE_UNKNOWN, /* no figures yet */
    COLLAPSE_NONE,
    COLLAPSE_NEAR, /* features have lost much of what they had */
    COLLAPSE_FULL
};

/* NaN where a figure is not known. */
struct collapse_signs {
    double early_std, std;   /* at the start; now, over enough steps to be steady */
    double early_rank, rank; /* the same of target_rank */
};

/* Judge them.  `*reason` is the sign that decided, as it is called in the metrics ("target_std",
 * "target_rank"); NULL where none did.  Local. */
enum collapse_state collapse_judge(const char **reason, const struct collapse_signs *signs);

#ifdef __cplusplus
}
#endif
#endif
