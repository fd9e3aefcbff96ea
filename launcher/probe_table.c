/* Reads the results' files rather than the workers' words: what is printed is what was stored. */
#include "launcher/probe_table.h"

#include <cJSON.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"

enum { RESULT_BYTES_MAX = 1 << 28, INITS = 2, CLASSES_SHOWN = 24 };

static ls_status read_result(cJSON **out, const char *folder, const char *tag, const char *init)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *text = NULL;
    size_t bytes = 0;
    LS_TRY(core_format(&path, "%s/%s-%s.json", folder, tag, init));
    if (!files_exists(path))
        goto done;
    LS_TRY(files_read(&text, &bytes, path, RESULT_BYTES_MAX));
    *out = cJSON_ParseWithLength(text, bytes);
    if (*out == NULL)
        st = LS_FAIL(LS_DATA, "%s: is no JSON", path);
done:
    free(path);
    free(text);
    return st;
}

/* The number at a path of one or two names; NaN where there is none. */
static double number(const cJSON *result, const char *name, const char *inner)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(result, name);
    if (inner != NULL)
        item = cJSON_GetObjectItemCaseSensitive(item, inner);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static const char *text_of(const cJSON *result, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(result, name));
    return text != NULL ? text : "?";
}

static void print_cell(double value)
{
    if (isfinite(value))
        (void)printf("%14.3f", value);
    else
        (void)printf("%14s", "-");
}

static void print_row(const char *title, const double *values, bool difference)
{
    (void)printf("%-28s", title);
    for (int i = 0; i < INITS; i++)
        print_cell(values[i]);
    if (difference && isfinite(values[0]) && isfinite(values[1]))
        (void)printf("%+14.3f", values[0] - values[1]);
    (void)printf("\n");
}

static void print_figure(const char *title, cJSON *const *results, const char *name,
                         const char *inner)
{
    const double values[INITS] = {number(results[0], name, inner), number(results[1], name, inner)};
    if (isfinite(values[0]) || isfinite(values[1]))
        print_row(title, values, strcmp(name, "top1_interval95") != 0);
}

static void print_head(const cJSON *result)
{
    const int best = (int)number(result, "best_head", NULL);
    const cJSON *heads = cJSON_GetObjectItemCaseSensitive(result, "heads");
    const cJSON *head = cJSON_GetArrayItem(heads, best);
    (void)printf("%-10s best of %d classifiers: lr %g, weight decay %g\n", text_of(result, "init"),
                 cJSON_GetArraySize(heads), number(head, "lr", NULL),
                 number(head, "weight_decay", NULL));
}

static void print_classes(cJSON *const *results, const cJSON *any)
{
    const int classes = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(any, "per_class"));
    for (int c = 0; c < classes && classes <= CLASSES_SHOWN; c++) {
        char title[40];
        double values[INITS];
        for (int i = 0; i < INITS; i++)
            values[i] = number(
                cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(results[i], "per_class"), c),
                "top1", NULL);
        (void)snprintf(title, sizeof title, "  class %d", c);
        print_row(title, values, true);
    }
}

static void print_all(cJSON *const *results)
{
    const cJSON *any = results[0] != NULL ? results[0] : results[1];
    char title[64];
    (void)printf("encoder  %s of %s, step %.0f\n", text_of(any, "network"),
                 text_of(any, "checkpoint"), number(any, "step", NULL));
    (void)printf("videos   %.0f with labels to train on, %.0f to test on, %.0f classes; always the "
                 "most frequent one: %.3f\n\n",
                 number(any, "train", "videos"), number(any, "test", "videos"),
                 number(any, "classes", NULL), number(any, "chance", NULL));
    (void)printf("%-28s%14s%14s%14s\n", "", "pretrained", "random init", "difference");
    print_figure("attentive probe, top-1", results, "top1", NULL);
    print_figure("  +- (95 %, test videos)", results, "top1_interval95", NULL);
    print_figure("attentive probe, top-5", results, "top5", NULL);
    (void)snprintf(title, sizeof title, "%.0f nearest neighbours, top-1", number(any, "knn", "k"));
    print_figure(title, results, "knn", "top1");
    print_classes(results, any);
    (void)printf("\n");
    for (int i = 0; i < INITS; i++)
        if (results[i] != NULL)
            print_head(results[i]);
}

ls_status probe_table_print(const char *folder, const char *tag)
{
    ls_status st = LS_OK;
    cJSON *results[INITS] = {NULL, NULL};
    LS_TRY(read_result(&results[0], folder, tag, "pretrained"));
    LS_TRY(read_result(&results[1], folder, tag, "random"));
    if (results[0] == NULL && results[1] == NULL) {
        st = LS_FAIL(LS_IO, "%s: no results of %s", folder, tag);
        goto done;
    }
    print_all(results);
done:
    for (int i = 0; i < INITS; i++)
        cJSON_Delete(results[i]);
    return st;
}
