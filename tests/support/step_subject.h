/* Models, clips and masks that training steps are measured on: benchmarks/bench_step.c runs them,
 * benchmarks/bench_predict.c says what they should take. */
#ifndef LOCKSTEP_TESTS_SUPPORT_STEP_SUBJECT_H
#define LOCKSTEP_TESTS_SUPPORT_STEP_SUBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "model/jepa.h"
#include "model/ops.h"

enum { STEP_BATCHES_MAX = 4 };

struct step_subject {
    const char *name;
    int dim, depth, heads, hidden;
    int pred_dim, pred_depth, pred_heads;
    int frames, pixels, patch;
    int clips; /* a micro-batch */
};

enum step_subjects {
    STEP_CPU,  /* 2 clips each */
    STEP_CARD, /* as in the public configs */
    STEP_CHECK /* what tests run */
};
/* `*out_count` of them, static. */
const struct step_subject *step_subjects(enum step_subjects which, int *out_count);

/* Whether `name` is NAME-PIXELS or NAME-FRAMESxPIXELS of this one. */
bool step_subject_called(const struct step_subject *subject, const char *name);

/* One from text, DIMxDEPTHxHEADS:FRAMESxPIXELS:CLIPS, patches of 16 pixels, the public predictor.
 * False where the text is no such thing, or the sizes do not fit each other. */
bool step_subject_read(struct step_subject *out, const char *text);

int64_t step_subject_tokens(const struct step_subject *subject); /* of a clip */

/* How jepa_open is called for it: both mask groups of the public configs, uint8 clips. */
struct jepa_options step_subject_options(const struct step_subject *subject, int clips,
                                         enum op_dtype dtype);

/* Micro-batches of one set of random clips with the masks of steps 1, 2 ... */
struct step_batches {
    uint8_t *pixels;
    int32_t *lists;
    struct jepa_batch batches[STEP_BATCHES_MAX];
};

/* Draw `count` micro-batches of `clips` clips.  The caller frees with step_batches_free, after a
 * failure too.  Local.  Errors: LS_NOMEM. */
ls_status step_batches_draw(struct step_batches *out, const struct step_subject *subject, int clips,
                            int count) LS_MUST_CHECK;
void step_batches_free(struct step_batches *batches);

#endif
