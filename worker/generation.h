/* Staging memory for one save.  Internal to the saver. */
#ifndef LOCKSTEP_WORKER_GENERATION_H
#define LOCKSTEP_WORKER_GENERATION_H

#include <stdint.h>

#include "worker/saver.h"

enum { GENERATION_TEXT_BYTES = 1024 };

enum job { JOB_NONE, JOB_WRITE, JOB_COMMIT };

struct generation {
    float *arrays[SAVER_ARRAYS];
    struct checkpoint_state state;
    int64_t *skipped;
    char *metrics_json;
    char *draws_json;
    struct checkpoint_shard_facts facts;
    double since_s;
    enum job job;
    enum saver_progress progress;
    ls_status status;
    char text[GENERATION_TEXT_BYTES]; /* of a failure */
};

/* Memory for this rank's range of every array, and the state that describes it.  What a failure
 * leaves is for generation_close too.  Local.  Errors: LS_NOMEM. */
ls_status generation_open(struct generation *generation, const struct saver_options *options,
                          const struct parameters *parameters) LS_MUST_CHECK;

/* What the trainer's state points to becomes the generation's own.  Local.  Errors: LS_NOMEM. */
ls_status generation_own_lists(struct generation *generation) LS_MUST_CHECK;

/* Free what it holds.  Local. */
void generation_close(struct generation *generation);

#endif
