/* The parts of golden_pretrain: what is read from the file, and what a run holds. */
#ifndef LOCKSTEP_TESTS_SUPPORT_GOLDEN_PRETRAIN_PARTS_H
#define LOCKSTEP_TESTS_SUPPORT_GOLDEN_PRETRAIN_PARTS_H

#include <stdint.h>

#include "model/jepa.h"
#include "tests/support/golden_pretrain.h"

enum { GOLDEN_GROUPS = 2, GOLDEN_WORKERS_MAX = 8, GOLDEN_MICRO_BATCHES_MAX = 16 };

/* Largest errors allowed; 0: not looked at in this dtype. */
struct golden_bounds {
    double output, loss, gradient, gradient_all, one_less_cosine, change, change_all;
};

struct golden_state {
    struct golden_report *report;
    const struct golden *golden;
    const struct golden_run *how;
    const struct golden_bounds *bounds;
    struct jepa_options options;
    int micro_batches, steps;
    int first, last;                         /* this rank's micro-batches [first, last) */
    struct jepa *models[GOLDEN_WORKERS_MAX]; /* all with the same state */
    const struct parameters *parameters;
    float *weights, *ema; /* host copies of the flat state */
};

/* A micro-batch from the file, with what it owns. */
struct golden_batch {
    struct jepa_batch batch;
    float *clips;
    int32_t *lists[2 * GOLDEN_GROUPS];
};

/* The model's shape and options from the file's attributes. */
ls_status golden_run_shape(struct golden_state *run) LS_MUST_CHECK;

/* "encoder" or "predictor". */
const char *golden_run_network(const struct parameter *parameter);

/* WHEN/NETWORK/NAME, checked against the table's shape; the caller frees. */
ls_status golden_run_parameter(float **out, const struct golden_state *run, const char *when,
                               const char *network,
                               const struct parameter *parameter) LS_MUST_CHECK;

/* Whether the file's parameters are the table's, and their initial values in run->weights, ema. */
ls_status golden_run_state(struct golden_state *run) LS_MUST_CHECK;

ls_status golden_batch_read(struct golden_batch *out, const struct golden_state *run, int step,
                            int micro) LS_MUST_CHECK;
void golden_batch_free(struct golden_batch *micro);

#endif
