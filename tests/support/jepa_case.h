/* Small models with random weights, clips and masks, for tests of model/. */
#ifndef LOCKSTEP_TESTS_SUPPORT_JEPA_CASE_H
#define LOCKSTEP_TESTS_SUPPORT_JEPA_CASE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "model/jepa.h"
#include "model/ops.h"

enum { JEPA_CASE_GROUPS_MAX = 3 };

/* What a case is made of; all else follows from it and the seed. */
struct jepa_case_shape {
    const char *name;
    struct model_shape model;
    int clips, groups;
    int grid[3]; /* time, rows, columns, in tokens */
    int context[JEPA_CASE_GROUPS_MAX], predicted[JEPA_CASE_GROUPS_MAX];
    int mask_token;
    double exponent;
};

struct jepa_case {
    const struct jepa_case_shape *shape;
    struct jepa_options options; /* float clips, float32 */
    struct jepa_batch batch;
    int64_t pixel_count;
    float *pixels;
    int32_t *lists; /* all mask lists, one after another */
    /* The initial state, the same in every model of the case. */
    struct parameters *parameters;
    float *weights, *ema; /* [flat_count] each */
};

/* Odd sizes of every kind: head widths that turn some, none and all but two of their channels,
 * unequal groups, depth 1, exponent 2.  `*out_count` shapes, static. */
const struct jepa_case_shape *jepa_case_shapes(int *out_count);

/* Local.  Errors: LS_NOMEM. */
ls_status jepa_case_open(struct jepa_case *out, const struct jepa_case_shape *shape,
                         uint64_t seed) LS_MUST_CHECK;
void jepa_case_close(struct jepa_case *it);

/* A model of the case on `table`, with the case's state.  `options` may be changed before.  Local.
 */
ls_status jepa_case_model(struct jepa **out, const struct jepa_case *it,
                          const struct op_table *table, struct op_device *device) LS_MUST_CHECK;

/* One step without update: the case's batch, weight 1; loss out (may be NULL).  Local. */
ls_status jepa_case_step(struct jepa *jepa, const struct jepa_case *it,
                         struct jepa_result *out) LS_MUST_CHECK;

/* A ready callback that does nothing. */
ls_status jepa_case_ignore(void *context, int64_t offset, int64_t count);

/* A copy that the caller frees; aborts when memory runs out. */
float *jepa_case_copy(const float *values, int64_t count);

bool jepa_case_same_bits(const float *a, const float *b, int64_t count);

/* ||a - b|| / ||b||. */
double jepa_case_difference(const float *a, const float *b, int64_t count);

#endif
