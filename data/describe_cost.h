/* What clips of a dataset cost to decode, as it is stored and otherwise: for `lockstep inspect`. */
#ifndef LOCKSTEP_DATA_DESCRIBE_COST_H
#define LOCKSTEP_DATA_DESCRIBE_COST_H

#include <stdint.h>

#include "core/status.h"
#include "data/clip_cost.h"
#include "data/dataset.h"

/* What a clip of one video costs: reads and checks its tables.  Local, any thread.  Errors: LS_IO,
 * LS_DATA, LS_NOMEM. */
ls_status dataset_clip_cost(struct clip_cost *out, const struct dataset *dataset,
                            int64_t video) LS_MUST_CHECK;

enum { DATASET_COSTS_SAMPLE = 1000 };

/* What is asked: a pack with these options. */
struct dataset_costs_question {
    double gop_s;
    int short_side; /* 0: sizes stay */
    double dear;
    int frame_side;
};

/* Means over the videos that were looked at, each counted once. */
struct dataset_costs {
    int64_t looked_at;        /* at most DATASET_COSTS_SAMPLE, evenly spread over the dataset */
    struct clip_cost stored;  /* as it is */
    struct clip_cost packed;  /* with all videos' packets as the sources had them */
    struct clip_cost encoded; /* with what is dear encoded again; at most so much */
    double dear_share;        /* of the videos, by the sources' packets */
    int64_t dearest;          /* the video that costs most as it is stored, */
    struct clip_cost dearest_cost;
    double frames_bytes; /* of all shown frames, by `pack --store frames`; of the whole dataset */
};

/* Local.  Errors: as above. */
ls_status dataset_costs(struct dataset_costs *out, const struct dataset *dataset,
                        const struct dataset_costs_question *question) LS_MUST_CHECK;

#endif
