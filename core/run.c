/* End records: small JSON files, one a rank, because an exit code does not survive mpirun and the
 * last lines of a log may be another rank's. */
#include "core/run.h"

#include <cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"

enum { RECORD_LIMIT_BYTES = 65536 };

#define SAVED "lockstep-saved "

size_t run_saved_write(char *out, int64_t step, double seconds)
{
    /* A save that took no measurable time was still measured. */
    return (size_t)snprintf(out, RUN_SAVED_BYTES, SAVED "%" PRId64 " %.6f\n", step,
                            seconds > 1e-6 ? seconds : 1e-6);
}

bool run_saved_read(double *out_s, const char *line)
{
    char *end = NULL;
    if (strncmp(line, SAVED, strlen(SAVED)) != 0)
        return false;
    long long step = strtoll(line + strlen(SAVED), &end, 10);
    if (step < 0 || *end != ' ')
        return false;
    double seconds = strtod(end + 1, &end);
    if (*end != '\0' || !(seconds > 0 && seconds < 1e9))
        return false;
    *out_s = seconds;
    return true;
}

/* Codes are stored by name: numbers of an enum are no file format. */
static ls_status status_of_name(const char *name)
{
    for (int code = LS_OK; code <= LS_STOP; code++)
        if (strcmp(name, status_name((ls_status)code)) == 0)
            return (ls_status)code;
    return LS_FAILED;
}

ls_status run_end_write(const char *run, int64_t run_epoch, const struct run_end *end)
{
    ls_status st = LS_OK;
    char *folder = NULL;
    char *path = NULL;
    char *text = NULL;
    cJSON *json = cJSON_CreateObject();
    const char *message = end->message != NULL ? end->message : "";
    if (cJSON_AddNumberToObject(json, "rank", end->rank) == NULL ||
        cJSON_AddNumberToObject(json, "step", (double)end->step) == NULL ||
        cJSON_AddStringToObject(json, "status", status_name(end->status)) == NULL ||
        cJSON_AddNumberToObject(json, "code", status_exit_code(end->status)) == NULL ||
        (end->rollback && cJSON_AddTrueToObject(json, "rollback") == NULL) ||
        (end->node != NULL && cJSON_AddStringToObject(json, "node", end->node) == NULL) ||
        cJSON_AddStringToObject(json, "message", message) == NULL ||
        (text = cJSON_PrintUnformatted(json)) == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for an end record");
        goto done;
    }
    LS_TRY(core_format(&folder, "%s/ends", run));
    LS_TRY(files_make_folder(folder));
    LS_TRY(core_format(&path, "%s/%06" PRId64 "-%04d.json", folder, run_epoch, end->rank));
    LS_TRY(files_replace(path, text, strlen(text)));
done:
    cJSON_Delete(json);
    free(text);
    free(path);
    free(folder);
    return st;
}

static ls_status end_read(struct run_end *out, const char *path)
{
    ls_status st = LS_OK;
    char *text = NULL;
    cJSON *json = NULL;
    LS_TRY(files_read(&text, NULL, path, RECORD_LIMIT_BYTES));
    json = cJSON_Parse(text);
    const cJSON *rank = cJSON_GetObjectItemCaseSensitive(json, "rank");
    const cJSON *step = cJSON_GetObjectItemCaseSensitive(json, "step");
    const cJSON *status = cJSON_GetObjectItemCaseSensitive(json, "status");
    const cJSON *message = cJSON_GetObjectItemCaseSensitive(json, "message");
    const cJSON *node = cJSON_GetObjectItemCaseSensitive(json, "node");
    if (!cJSON_IsNumber(rank) || !cJSON_IsNumber(step) || !cJSON_IsString(status) ||
        !cJSON_IsString(message)) {
        st = LS_FAIL(LS_DATA, "%s: not an end record", path);
        goto done;
    }
    out->rank = rank->valueint;
    out->step = (int64_t)step->valuedouble;
    out->rollback = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "rollback")) != 0;
    out->status = status_of_name(status->valuestring);
    LS_TRY(core_format(&out->message, "%s", message->valuestring));
    if (cJSON_IsString(node))
        LS_TRY(core_format(&out->node, "%s", node->valuestring));
done:
    cJSON_Delete(json);
    free(text);
    return st;
}

ls_status run_ends_read(struct run_end **out, int *out_count, const char *run, int64_t run_epoch)
{
    ls_status st = LS_OK;
    char *folder = NULL;
    char *path = NULL;
    char **names = NULL;
    size_t name_count = 0;
    struct run_end *ends = NULL;
    int count = 0;
    char prefix[32];
    (void)snprintf(prefix, sizeof prefix, "%06" PRId64 "-", run_epoch);
    LS_TRY(core_format(&folder, "%s/ends", run));
    if (files_exists(folder))
        LS_TRY(files_list(&names, &name_count, folder));
    LS_TRY(core_alloc(&ends, name_count));
    for (size_t i = 0; i < name_count; i++) {
        size_t length = strlen(names[i]);
        if (strncmp(names[i], prefix, strlen(prefix)) != 0 || length < 5 ||
            strcmp(names[i] + length - 5, ".json") != 0)
            continue;
        free(path);
        path = NULL;
        LS_TRY(core_format(&path, "%s/%s", folder, names[i]));
        if (end_read(&ends[count], path) == LS_OK)
            count++;
    }
    *out = ends;
    *out_count = count;
    ends = NULL;
done:
    run_ends_free(&ends, count);
    files_list_free(&names, name_count);
    free(path);
    free(folder);
    return st;
}

void run_ends_free(struct run_end **ends, int count)
{
    for (int i = 0; i < count && *ends != NULL; i++) {
        free((*ends)[i].message);
        free((*ends)[i].node);
    }
    free(*ends);
    *ends = NULL;
}

static int cause_order(ls_status status)
{
    if (status == LS_OK || status == LS_STOP)
        return 2;
    return status == LS_COMM || status == LS_TIMEOUT ? 1 : 0;
}

const struct run_end *run_ends_cause(const struct run_end *ends, int count)
{
    const struct run_end *cause = NULL;
    for (int i = 0; i < count; i++)
        if (cause == NULL || cause_order(ends[i].status) < cause_order(cause->status))
            cause = &ends[i];
    return cause;
}
