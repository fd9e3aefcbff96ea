/* Errors against golden files: one line a quantity, and what was worst. */
#ifndef LOCKSTEP_TESTS_SUPPORT_GOLDEN_REPORT_H
#define LOCKSTEP_TESTS_SUPPORT_GOLDEN_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/status.h"

struct golden_report {
    FILE *out; /* NULL: only the misses, to stderr */
    int checked, missed;
    double worst; /* largest error / bound */
    char worst_name[160];
};

/* One quantity: prints "NAME error BOUND ok|MISS".  An error that is not a number is a miss.
 * Local. */
void golden_report_check(struct golden_report *report, const char *name, double error,
                         double bound);

/* One quantity that must be exactly as it is: prints "NAME exact ok|MISS".  Local. */
void golden_report_exact(struct golden_report *report, const char *name, bool same);

/* ||a - b|| / ||b||, summed in double; the plain norm of a where b is all zero. */
double golden_error(const float *got, const float *wanted, int64_t count);

/* Sums over several arrays, for the error over all together and the cosine. */
struct golden_sums {
    double difference, wanted, got, product; /* squares and products */
};
void golden_sums_add(struct golden_sums *sums, const float *got, const float *wanted,
                     const float *base, int64_t count);
double golden_sums_error(const struct golden_sums *sums);
double golden_sums_cosine(const struct golden_sums *sums);

#endif
