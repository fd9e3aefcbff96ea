/* A flat JSON object, replaced as a whole. */
#include "launcher/job_file.h"

#include <cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/files.h"
#include "core/log.h"

enum { LIMIT_BYTES = 65536 };

static void take_text(char *out, size_t bytes, const cJSON *json, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
    (void)snprintf(out, bytes, "%s", text != NULL ? text : "");
}

static int64_t take_number(const cJSON *json, const char *name)
{
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(json, name);
    double value = cJSON_IsNumber(number) ? number->valuedouble : 0;
    return value > -1e15 && value < 1e15 ? (int64_t)value : 0;
}

bool job_file_read(struct job_file *out, const char *run)
{
    char *path = NULL;
    char *text = NULL;
    cJSON *json = NULL;
    memset(out, 0, sizeof *out);
    if (core_format(&path, "%s/job.json", run) == LS_OK && files_exists(path) &&
        files_read(&text, NULL, path, LIMIT_BYTES) == LS_OK)
        json = cJSON_Parse(text);
    take_text(out->job, sizeof out->job, json, "job");
    take_text(out->chain, sizeof out->chain, json, "chain");
    take_text(out->host, sizeof out->host, json, "host");
    take_text(out->state, sizeof out->state, json, "state");
    take_text(out->since, sizeof out->since, json, "since");
    take_text(out->message, sizeof out->message, json, "message");
    take_text(out->loss, sizeof out->loss, json, "loss");
    out->pid = take_number(json, "pid");
    out->run_epoch = take_number(json, "run_epoch");
    out->workers = (int)take_number(json, "workers");
    out->workers_asked = (int)take_number(json, "workers_asked");
    out->restarts = (int)take_number(json, "restarts");
    out->requeues = (int)take_number(json, "requeues");
    out->save_s = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(json, "save_s"));
    if (!(out->save_s > 0))
        out->save_s = 0;
    out->requeued_at_step = take_number(json, "requeued_at_step");
    bool found = cJSON_IsObject(json);
    cJSON_Delete(json);
    free(text);
    free(path);
    return found;
}

static bool add_all(cJSON *json, const struct job_file *job)
{
    return cJSON_AddStringToObject(json, "state", job->state) != NULL &&
           cJSON_AddStringToObject(json, "since", job->since) != NULL &&
           cJSON_AddStringToObject(json, "message", job->message) != NULL &&
           cJSON_AddStringToObject(json, "loss", job->loss) != NULL &&
           cJSON_AddStringToObject(json, "job", job->job) != NULL &&
           cJSON_AddStringToObject(json, "chain", job->chain) != NULL &&
           cJSON_AddStringToObject(json, "host", job->host) != NULL &&
           cJSON_AddNumberToObject(json, "pid", (double)job->pid) != NULL &&
           cJSON_AddNumberToObject(json, "run_epoch", (double)job->run_epoch) != NULL &&
           cJSON_AddNumberToObject(json, "workers", job->workers) != NULL &&
           cJSON_AddNumberToObject(json, "workers_asked", job->workers_asked) != NULL &&
           cJSON_AddNumberToObject(json, "save_s", job->save_s) != NULL &&
           cJSON_AddNumberToObject(json, "restarts", job->restarts) != NULL &&
           cJSON_AddNumberToObject(json, "requeues", job->requeues) != NULL &&
           cJSON_AddNumberToObject(json, "requeued_at_step", (double)job->requeued_at_step) != NULL;
}

void job_file_write(const char *run, struct job_file *job, const char *state, const char *message)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *text = NULL;
    char since[CLOCK_TEXT_BYTES];
    char kept[1024];
    cJSON *json = cJSON_CreateObject();
    /* The caller may be on its way to report a failure. */
    (void)snprintf(kept, sizeof kept, "%s", status_message());
    clock_utc_text(since);
    if (strcmp(state, job->state) != 0) {
        (void)snprintf(job->since, sizeof job->since, "%s", since);
        (void)snprintf(job->state, sizeof job->state, "%s", state);
    }
    if (message != job->message)
        (void)snprintf(job->message, sizeof job->message, "%s", message);
    if (!add_all(json, job) || (text = cJSON_Print(json)) == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for RUN/job.json");
        goto done;
    }
    LS_TRY(core_format(&path, "%s/job.json", run));
    LS_TRY(files_replace(path, text, strlen(text)));
done:
    if (st != LS_OK) {
        log_warn("job_file not_written %s", status_message());
        (void)status_adopt(LS_FAILED, kept);
    }
    cJSON_Delete(json);
    free(text);
    free(path);
}

ls_status job_file_cancel(const char *run)
{
    ls_status st = LS_OK;
    char *path = NULL;
    LS_TRY(core_format(&path, "%s/cancel", run));
    LS_TRY(files_replace(path, "", 0));
done:
    free(path);
    return st;
}

bool job_file_cancelled(const char *run)
{
    char *path = NULL;
    bool cancelled = core_format(&path, "%s/cancel", run) == LS_OK && files_exists(path);
    free(path);
    return cancelled;
}

void job_file_forget_cancel(const char *run)
{
    char *path = NULL;
    if (core_format(&path, "%s/cancel", run) == LS_OK && files_remove(path) != LS_OK)
        log_warn("job_file %s", status_message());
    free(path);
}
