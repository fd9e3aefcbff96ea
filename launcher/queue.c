/* squeue lists jobs that have ended for a few minutes too, and then fails with "Invalid job id". */
#include "launcher/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/ask.h"

static void take_field(char *out, size_t bytes, const char **from)
{
    size_t length = strcspn(*from, "|\n");
    (void)snprintf(out, bytes, "%.*s", (int)length, *from);
    *from += length;
    *from += **from == '|';
}

ls_status queue_read(struct queue_job *out, const char *job)
{
    char *text = NULL;
    const char *const words[] = {
        "squeue", "--noheader", "--states=all", "--format=%T|%R|%M|%l", "--jobs", job, NULL};
    memset(out, 0, sizeof *out);
    ls_status st = ask(&text, words);
    if (st == LS_FAILED && strstr(status_message(), "Invalid job id") != NULL) {
        status_clear();
        return LS_OK;
    }
    if (st == LS_OK && text[0] != '\0') {
        const char *from = text;
        out->listed = true;
        take_field(out->state, sizeof out->state, &from);
        take_field(out->reason, sizeof out->reason, &from);
        take_field(out->used, sizeof out->used, &from);
        take_field(out->limit, sizeof out->limit, &from);
    }
    free(text);
    return st;
}

bool queue_is_live(const struct queue_job *job)
{
    static const char *const live[] = {"PENDING",   "RUNNING",   "CONFIGURING",  "COMPLETING",
                                       "SUSPENDED", "REQUEUED",  "REQUEUE_HOLD", "REQUEUE_FED",
                                       "RESIZING",  "SIGNALING", "STAGE_OUT",    "STOPPED"};
    for (size_t i = 0; job->listed && i < sizeof live / sizeof live[0]; i++)
        if (strcmp(job->state, live[i]) == 0)
            return true;
    return false;
}
