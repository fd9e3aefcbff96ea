#include "launcher/probe_results.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"

enum { FILE_BYTES_MAX = 64 << 20 };

static const cJSON *in(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static double number_in(const cJSON *object, const char *key)
{
    const cJSON *item = in(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static int64_t count_in(const cJSON *object, const char *key)
{
    double value = number_in(object, key);
    return value >= 0 && value < 1e15 ? (int64_t)value : -1;
}

static const char *text_in(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(in(object, key));
    return text != NULL ? text : "";
}

/* Takes `json` over when it is a probe's. */
static bool take(struct probe_result *out, cJSON *json)
{
    if (strcmp(text_in(json, "format"), "lockstep-probe") != 0)
        return false;
    const cJSON *knn = in(json, "knn");
    int64_t k = count_in(knn, "k");
    *out = (struct probe_result){
        .tag = text_in(json, "tag"),
        .random = strcmp(text_in(json, "init"), "random") == 0,
        .step = count_in(json, "step"),
        .top1 = number_in(json, "top1"),
        .top5 = number_in(json, "top5"),
        .chance = number_in(json, "chance"),
        .interval = number_in(json, "top1_interval95"),
        .knn = number_in(knn, "top1"),
        .knn_k = k > 0 && k < 1000000 ? (int)k : 0,
        .videos = count_in(in(json, "test"), "videos"),
        .json = json,
    };
    return true;
}

static void take_file(struct probe_results *out, const char *folder, const char *name)
{
    char *path = NULL;
    char *text = NULL;
    cJSON *json = NULL;
    size_t length = strlen(name);
    if (length > 5 && strcmp(name + length - 5, ".json") == 0 &&
        core_format(&path, "%s/%s", folder, name) == LS_OK &&
        files_read(&text, NULL, path, FILE_BYTES_MAX) == LS_OK)
        json = cJSON_Parse(text);
    status_clear();
    if (take(&out->list[out->count], json))
        out->count++;
    else
        cJSON_Delete(json);
    free(text);
    free(path);
}

ls_status probe_results_open(struct probe_results *out, const char *run)
{
    ls_status st = LS_OK;
    char *folder = NULL;
    char **names = NULL;
    size_t count = 0;
    *out = (struct probe_results){0};
    LS_TRY(core_format(&folder, "%s/probe", run));
    if (files_is_folder(folder) && files_list(&names, &count, folder) != LS_OK)
        status_clear();
    LS_TRY(core_alloc(&out->list, count));
    for (size_t i = 0; i < count; i++)
        take_file(out, folder, names[i]);
done:
    files_list_free(&names, count);
    free(folder);
    return st;
}

void probe_results_close(struct probe_results *results)
{
    for (int i = 0; i < results->count; i++)
        cJSON_Delete(results->list[i].json);
    free(results->list);
    *results = (struct probe_results){0};
}

const struct probe_result *probe_results_random(const struct probe_results *results,
                                                const struct probe_result *result)
{
    for (int i = 0; i < results->count; i++)
        if (results->list[i].random && strcmp(results->list[i].tag, result->tag) == 0)
            return &results->list[i];
    return NULL;
}
