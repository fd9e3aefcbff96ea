/* An error that is NaN compares false with every bound, so that it counts as a miss. */
#include "tests/support/golden_report.h"

#include <math.h>
#include <string.h>

void golden_report_check(struct golden_report *report, const char *name, double error, double bound)
{
    const double ratio = error / bound;
    const int good = error <= bound;
    FILE *out = report->out != NULL ? report->out : stderr;
    report->checked++;
    if (!good)
        report->missed++;
    if (!(ratio <= report->worst)) {
        report->worst = isnan(ratio) ? INFINITY : ratio;
        (void)snprintf(report->worst_name, sizeof report->worst_name, "%s", name);
    }
    if (report->out != NULL || !good)
        (void)fprintf(out, "%-66s error %9.2e  bound %8.1e  %s\n", name, error, bound,
                      good ? "ok" : "MISS");
}

void golden_report_exact(struct golden_report *report, const char *name, bool same)
{
    FILE *out = report->out != NULL ? report->out : stderr;
    report->checked++;
    if (!same)
        report->missed++;
    if (report->out != NULL || !same)
        (void)fprintf(out, "%-66s exact                             %s\n", name,
                      same ? "ok" : "MISS");
}

void golden_sums_add(struct golden_sums *sums, const float *got, const float *wanted,
                     const float *base, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const double zero = base != NULL ? (double)base[i] : 0.0;
        const double g = (double)got[i] - zero;
        const double w = (double)wanted[i] - zero;
        sums->difference += (g - w) * (g - w);
        sums->wanted += w * w;
        sums->got += g * g;
        sums->product += g * w;
    }
}

double golden_sums_error(const struct golden_sums *sums)
{
    return sums->wanted > 0.0 ? sqrt(sums->difference / sums->wanted) : sqrt(sums->got);
}

double golden_sums_cosine(const struct golden_sums *sums)
{
    return sums->product / sqrt(sums->got * sums->wanted);
}

double golden_error(const float *got, const float *wanted, int64_t count)
{
    struct golden_sums sums;
    memset(&sums, 0, sizeof sums);
    golden_sums_add(&sums, got, wanted, NULL, count);
    return golden_sums_error(&sums);
}
