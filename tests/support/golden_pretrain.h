/* Runs a golden pretrain_*.h5 on the model and reports every quantity: outputs, losses, gradients,
 * and the change of the state after all steps. */
#ifndef LOCKSTEP_TESTS_SUPPORT_GOLDEN_PRETRAIN_H
#define LOCKSTEP_TESTS_SUPPORT_GOLDEN_PRETRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "model/ops.h"
#include "tests/support/golden.h"
#include "tests/support/golden_report.h"

struct golden_run {
    const struct op_table *table;
    struct op_device *device;
    enum op_dtype dtype;
    bool activation_checkpointing;
    int bucket_tokens; /* as in struct jepa_options */
    /* Models in this process that the micro-batches are dealt to; their gradients are summed. */
    int workers;
    /* Ranks that the micro-batches are dealt to first, and the sum over them in place; 0, 1 and
     * NULL without MPI.  Every rank calls golden_pretrain; every rank reports the same. */
    int rank, size;
    ls_status (*sum_floats)(void *context, float *values, int64_t count);
    ls_status (*sum_doubles)(void *context, double *values, int64_t count);
    void *context;
};

/* Whether the file is one of this kind. */
bool golden_is_pretrain(const struct golden *golden);

/* Local, or collective over the ranks that `run` names.  Errors: those of the file and the model; a
 * missed bound is no error but is in the report. */
ls_status golden_pretrain(struct golden_report *report, const struct golden *golden,
                          const struct golden_run *run) LS_MUST_CHECK;

#endif
