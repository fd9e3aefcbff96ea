/* Samples from a run's metrics, and points from samples. */
#include <cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "core/median.h"
#include "launcher/scale.h"

enum { METRICS_BYTES_MAX = 64 << 20, FIELDS = 12 };

/* Standard deviation of normal values over their median absolute deviation. */
#define NORMAL_MAD 1.4826

enum column { STEP_S, DATA_WAIT, COMM_WAIT, RANK_WAIT, CLIPS, COLUMNS };

static const char *const column_names[COLUMNS] = {"step_s", "data_wait_s", "comm_wait_s",
                                                  "rank_wait_s", "clips_per_s"};

/* One line of metrics into row `row` of every column; false when it is not whole. */
static bool read_line(double *columns[COLUMNS], int64_t row, const char *line)
{
    bool good = true;
    cJSON *json = cJSON_Parse(line);
    for (int c = 0; c < COLUMNS; c++) {
        const cJSON *number = cJSON_GetObjectItemCaseSensitive(json, column_names[c]);
        good = good && cJSON_IsNumber(number);
        columns[c][row] = good ? number->valuedouble : 0;
    }
    cJSON_Delete(json);
    return good;
}

ls_status scale_read(struct scale_sample *out, const char *run, int64_t warm_up, int64_t steps)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *text = NULL;
    double *columns[COLUMNS] = {NULL};
    int64_t row = 0;
    LS_TRY(core_format(&path, "%s/metrics.jsonl", run));
    LS_TRY(files_read(&text, NULL, path, METRICS_BYTES_MAX));
    for (int c = 0; c < COLUMNS; c++)
        LS_TRY(core_alloc(&columns[c], steps));
    for (char *line = text, *end = NULL; row < steps && (end = strchr(line, '\n')) != NULL;
         line = end + 1) {
        *end = '\0';
        if (warm_up > 0)
            warm_up--;
        else if (read_line(columns, row, line))
            row++;
    }
    if (row < steps) {
        st = LS_FAIL(LS_DATA, "%s: %" PRId64 " measured steps, %" PRId64 " are wanted", path, row,
                     steps);
        goto done;
    }
    for (int64_t i = 0; i < steps; i++)
        columns[CLIPS][i] *= columns[STEP_S][i]; /* of a step: the same in each */
    out->steps = steps;
    out->step_s = median_of(columns[STEP_S], steps);
    out->data_wait_s = median_of(columns[DATA_WAIT], steps);
    out->comm_wait_s = median_of(columns[COMM_WAIT], steps);
    out->rank_wait_s = median_of(columns[RANK_WAIT], steps);
    out->clips = median_of(columns[CLIPS], steps);
    for (int64_t i = 0; i < steps; i++)
        columns[STEP_S][i] = fabs(columns[STEP_S][i] - out->step_s);
    out->scatter = NORMAL_MAD * median_of(columns[STEP_S], steps) / out->step_s;
done:
    for (int c = 0; c < COLUMNS; c++)
        free(columns[c]);
    free(text);
    free(path);
    return st;
}

ls_status scale_load(struct scale_samples *out, const char *folder)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *text = NULL;
    struct scale_samples samples = {0};
    int lines = 0;
    LS_TRY(core_format(&path, "%s/scale.csv", folder));
    LS_TRY(files_read(&text, NULL, path, METRICS_BYTES_MAX));
    for (const char *at = text; *at != '\0'; at++)
        lines += *at == '\n';
    LS_TRY(core_alloc(&samples.list, lines));
    for (const char *line = strchr(text, '\n'); line != NULL && line[1] != '\0';
         line = strchr(line + 1, '\n')) {
        struct scale_sample *s = &samples.list[samples.count++];
        int read =
            sscanf(line + 1, "%d,%d,%d,%" SCNd64 ",%lf,%lf,%*f,%lf,%lf,%lf,%lf,%lf", &s->nodes,
                   &s->workers, &s->repeat, &s->steps, &s->clips, &s->step_s, &s->data_wait_s,
                   &s->comm_wait_s, &s->rank_wait_s, &s->scatter, &s->gradient_bytes);
        if (read != FIELDS - 1 || s->nodes < 1 || s->workers < s->nodes || !(s->step_s > 0)) {
            st = LS_FAIL(LS_DATA, "%s:%d: not a line of `lockstep scale`", path, samples.count + 1);
            goto done;
        }
    }
    if (samples.count == 0) {
        st = LS_FAIL(LS_DATA, "%s: no samples", path);
        goto done;
    }
    *out = samples;
    samples.list = NULL;
done:
    free(samples.list);
    free(text);
    free(path);
    return st;
}

/* The samples of one node count as a point; `values` has room for all samples. */
static void summarize(struct scale_point *out, const struct scale_samples *samples, double *values)
{
    double *rates = values;
    double *steps = values + samples->count;
    double *shares[3] = {steps + samples->count, steps + 2 * (size_t)samples->count,
                         steps + 3 * (size_t)samples->count};
    int count = 0;
    for (int i = 0; i < samples->count; i++) {
        const struct scale_sample *s = &samples->list[i];
        if (s->nodes != out->nodes)
            continue;
        rates[count] = s->clips / s->step_s;
        steps[count] = s->step_s;
        shares[0][count] = s->data_wait_s / s->step_s;
        shares[1][count] = s->comm_wait_s / s->step_s;
        shares[2][count] = s->rank_wait_s / s->step_s;
        out->workers = s->workers;
        out->bytes = 2.0 * s->gradient_bytes * (s->workers - 1) / s->workers;
        count++;
    }
    out->repeats = count;
    out->clips_per_s = median_of(rates, count);
    out->slowest = rates[0];
    out->fastest = rates[count - 1];
    out->step_s = median_of(steps, count);
    out->data_share = median_of(shares[0], count);
    out->comm_share = median_of(shares[1], count);
    out->rank_share = median_of(shares[2], count);
}

static int by_nodes(const void *a, const void *b)
{
    return ((const struct scale_point *)a)->nodes - ((const struct scale_point *)b)->nodes;
}

ls_status scale_points(struct scale_point **out, int *out_count,
                       const struct scale_samples *samples)
{
    ls_status st = LS_OK;
    struct scale_point *points = NULL;
    double *values = NULL;
    int count = 0;
    LS_TRY(core_alloc(&points, samples->count));
    LS_TRY(core_alloc(&values, 5 * (size_t)samples->count));
    for (int i = 0; i < samples->count; i++) {
        int known = 0;
        while (known < count && points[known].nodes != samples->list[i].nodes)
            known++;
        if (known < count)
            continue;
        points[count].nodes = samples->list[i].nodes;
        summarize(&points[count++], samples, values);
    }
    qsort(points, (size_t)count, sizeof *points, by_nodes);
    for (int i = 0; i < count; i++)
        points[i].efficiency =
            points[i].clips_per_s / points[i].nodes / (points[0].clips_per_s / points[0].nodes);
    *out = points;
    *out_count = count;
    points = NULL;
done:
    free(points);
    free(values);
    return st;
}
