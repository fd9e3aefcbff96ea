/* RUN/probe/: what `lockstep probe` found, read back. */
#ifndef LOCKSTEP_LAUNCHER_PROBE_RESULTS_H
#define LOCKSTEP_LAUNCHER_PROBE_RESULTS_H

#include <cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

/* One file.  NaN and "" where it does not say. */
struct probe_result {
    const char *tag;
    bool random;               /* the untrained encoder with the same budget */
    int64_t step;              /* of the checkpoint */
    double top1, top5, chance; /* shares */
    double interval;           /* half of 95 % around top1 */
    double knn;
    int knn_k;
    int64_t videos; /* of the test */
    cJSON *json;    /* the whole file; texts above are its */
};

struct probe_results {
    struct probe_result *list; /* by file name: pretrained before random */
    int count;
};

/* Read all files of the format; others are passed over.  Close with probe_results_close.  Local.
 * Errors: LS_NOMEM. */
ls_status probe_results_open(struct probe_results *out, const char *run) LS_MUST_CHECK;
void probe_results_close(struct probe_results *results);

/* The random encoder's result that belongs to `result`; NULL: none.  Local. */
const struct probe_result *probe_results_random(const struct probe_results *results,
                                                const struct probe_result *result);

#endif
