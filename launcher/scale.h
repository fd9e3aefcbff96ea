/* The scaling benchmark: the same step at several node counts. */
#ifndef LOCKSTEP_LAUNCHER_SCALE_H
#define LOCKSTEP_LAUNCHER_SCALE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/config.h"
#include "core/status.h"

/* One run of `steps` steps: medians over the steps after the warm-up. */
struct scale_sample {
    int nodes, workers, repeat;
    int64_t steps;         /* measured ones */
    double clips;          /* of a step */
    double step_s;         /* and of that: */
    double data_wait_s;    /* for data, the rank that waits most */
    double comm_wait_s;    /* for the network, the rank that waits least */
    double rank_wait_s;    /* for slower ranks, mean over ranks */
    double scatter;        /* of step times: robust standard deviation over the median */
    double gradient_bytes; /* that are summed over ranks, once a step */
};

struct scale_samples {
    struct scale_sample *list;
    int count;
};

/* What stands for one node count: medians over the repeats, and their spread. */
struct scale_point {
    int nodes, workers, repeats;
    double clips_per_s, slowest, fastest;
    double efficiency; /* clips/s a node against the smallest count's */
    double step_s, data_share, comm_share, rank_share;
    double bytes; /* that a rank sends, and receives, a step */
};

/* The samples of `run`, a run folder, from its metrics; the first `warm_up` steps are left out.
 * Local.  Errors: LS_DATA naming the file when it has too few steps. */
ls_status scale_read(struct scale_sample *out, const char *run, int64_t warm_up,
                     int64_t steps) LS_MUST_CHECK;

/* The samples of FOLDER/scale.csv; owned by the caller (free list).  Local.  Errors: LS_IO,
 * LS_DATA.
 */
ls_status scale_load(struct scale_samples *out, const char *folder) LS_MUST_CHECK;

/* Points of all node counts, ascending, from samples; owned by the caller.  Local.  Errors:
 * LS_NOMEM. */
ls_status scale_points(struct scale_point **out, int *out_count,
                       const struct scale_samples *samples) LS_MUST_CHECK;

/* FOLDER/scale.csv (every sample), scale.txt (the table, also to stdout) and, where gnuplot is,
 * scale.png and scale.svg.  Local.  Errors: LS_IO. */
ls_status scale_report(const char *folder, const char *title,
                       const struct scale_samples *samples) LS_MUST_CHECK;

/* Submit `command`, words for a shell, as one SLURM job with the config's settings on `nodes`
 * nodes, and print its number and where its results in `folder` will be.  Local.  Errors: what
 * sbatch says.
 */
ls_status scale_submit(const struct config *config, int nodes, const char *command,
                       const char *folder) LS_MUST_CHECK;

#endif
