/* Reading metrics.jsonl back.  Lines are looked through for a few keys, not parsed: a long run has
 * hundreds of thousands of them, and they are our own. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "worker/metrics.h"

/* The number behind "KEY": in a line; NaN when there is none or it is null. */
static double number(const char *line, const char *key)
{
    const char *at = strstr(line, key);
    char *end = NULL;
    if (at == NULL)
        return NAN;
    at += strlen(key);
    double value = strtod(at, &end);
    return end != at ? value : NAN;
}

static double number_or_zero(const char *line, const char *key)
{
    double value = number(line, key);
    return isfinite(value) ? value : 0;
}

static void read_line(struct step_metrics *out, const char *line)
{
    double rank = number(line, "\"target_rank\":");
    *out =
        (struct step_metrics){.step = (int64_t)number_or_zero(line, "{\"step\":"),
                              .loss = number(line, "\"loss\":"),
                              .lr = number_or_zero(line, "\"lr\":"),
                              .target_std = number_or_zero(line, "\"target_std\":"),
                              .prediction_cosine = number_or_zero(line, "\"prediction_cosine\":"),
                              .has_rank = isfinite(rank),
                              .target_rank = isfinite(rank) ? rank : 0,
                              .step_s = number_or_zero(line, "\"step_s\":"),
                              .data_wait_s = number_or_zero(line, "\"data_wait_s\":"),
                              .skipped = strstr(line, "\"skipped\":true") != NULL};
    out->skipped = out->skipped || !isfinite(out->loss);
}

ls_status metrics_replay(const char *run,
                         void (*take)(void *context, const struct step_metrics *step),
                         void *context)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *line = NULL;
    size_t room = 0;
    FILE *file = NULL;
    LS_TRY(core_format(&path, "%s/metrics.jsonl", run));
    file = fopen(path, "re");
    if (file == NULL) {
        if (errno != ENOENT)
            st = LS_FAIL(LS_IO, "%s: cannot open: %s", path, strerror(errno));
        goto done;
    }
    while (getline(&line, &room, file) >= 0) {
        struct step_metrics step;
        read_line(&step, line);
        if (step.step > 0)
            take(context, &step);
    }
    if (ferror(file) != 0)
        st = LS_FAIL(LS_IO, "%s: cannot read: %s", path, strerror(errno));
done:
    free(line);
    if (file != NULL)
        (void)fclose(file);
    free(path);
    return st;
}

double metrics_rounded(double loss)
{
    char text[64];
    (void)snprintf(text, sizeof text, "%.10g", loss);
    return strtod(text, NULL);
}
