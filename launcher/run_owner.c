/* A small JSON file for people, for the refusal's text, and for a job that follows another. */
#include "launcher/run_owner.h"

#include <cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/files.h"
#include "launcher/queue.h"

enum { SMALL_FILE_BYTES = 65536, HOST_BYTES = 256 };

ls_status run_owner_read(struct run_owner *out, const char *folder)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *text = NULL;
    cJSON *json = NULL;
    LS_TRY(core_format(&path, "%s/owner.json", folder));
    if (files_read(&text, NULL, path, SMALL_FILE_BYTES) == LS_OK)
        json = cJSON_Parse(text);
    const char *host = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "host"));
    const char *since = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "since"));
    const char *job = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "job"));
    const cJSON *pid = cJSON_GetObjectItemCaseSensitive(json, "pid");
    const cJSON *restart = cJSON_GetObjectItemCaseSensitive(json, "restart");
    if (host != NULL && since != NULL && cJSON_IsNumber(pid))
        LS_TRY(core_format(&out->text, "process %.0f on host %s since %s%s%s", pid->valuedouble,
                           host, since, job != NULL ? ", SLURM job " : "", job != NULL ? job : ""));
    else
        LS_TRY(core_format(&out->text, "another launcher"));
    if (job != NULL)
        LS_TRY(core_format(&out->job, "%s", job));
    out->restart = cJSON_IsNumber(restart) ? restart->valueint : 0;
done:
    cJSON_Delete(json);
    free(text);
    free(path);
    return st;
}

void run_owner_free(struct run_owner *owner)
{
    free(owner->text);
    free(owner->job);
    memset(owner, 0, sizeof *owner);
}

/* How often SLURM has put this job back into its queue. */
static int slurm_restart(void)
{
    const char *text = getenv("SLURM_RESTART_COUNT");
    return text != NULL ? (int)strtol(text, NULL, 10) : 0;
}

static bool add_owner(cJSON *json)
{
    char host[HOST_BYTES] = "unknown";
    char since[CLOCK_TEXT_BYTES];
    const char *job = getenv("SLURM_JOB_ID");
    if (gethostname(host, sizeof host - 1) != 0)
        (void)snprintf(host, sizeof host, "unknown");
    clock_utc_text(since);
    return cJSON_AddStringToObject(json, "host", host) != NULL &&
           cJSON_AddNumberToObject(json, "pid", getpid()) != NULL &&
           cJSON_AddStringToObject(json, "since", since) != NULL &&
           (job == NULL || (cJSON_AddStringToObject(json, "job", job) != NULL &&
                            cJSON_AddNumberToObject(json, "restart", slurm_restart()) != NULL));
}

ls_status run_owner_write(const char *folder)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *text = NULL;
    cJSON *json = cJSON_CreateObject();
    if (!add_owner(json) || (text = cJSON_PrintUnformatted(json)) == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for RUN/owner.json");
        goto done;
    }
    LS_TRY(core_format(&path, "%s/owner.json", folder));
    LS_TRY(files_replace(path, text, strlen(text)));
done:
    cJSON_Delete(json);
    free(text);
    free(path);
    return st;
}

bool run_owner_has_ended(const struct run_owner *owner)
{
    const char *own = getenv("SLURM_JOB_ID");
    struct queue_job job;
    if (own == NULL || owner->job == NULL)
        return false;
    if (strcmp(own, owner->job) == 0)
        return owner->restart < slurm_restart();
    if (queue_read(&job, owner->job) == LS_OK)
        return !queue_is_live(&job);
    status_clear();
    return false;
}
