#include "launcher/run_facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config_stages.h"
#include "core/files.h"
#include "core/log.h"
#include "launcher/run_folder.h"

bool run_facts_say_it_runs(const char *state)
{
    return strcmp(state, "running") == 0 || strcmp(state, "restarting") == 0 ||
           strcmp(state, "stopping") == 0;
}

/* What the launcher wrote last, unless it cannot be true any more. */
static void work_out_state(struct run_facts *facts)
{
    const char *state = facts->file.state;
    bool in_job = facts->file.job[0] != '\0';
    bool waits = strcmp(state, "submitted") == 0 || strcmp(state, "requeued") == 0;
    bool live = in_job ? queue_is_live(&facts->queue) : facts->owner != NULL;
    if ((run_facts_say_it_runs(state) || waits) && !live)
        state = "lost";
    else if (waits)
        state = "waiting";
    (void)snprintf(facts->state, sizeof facts->state, "%s", state[0] != '\0' ? state : "unknown");
}

static int64_t steps_of(const char *run)
{
    char *path = NULL;
    struct config_stages stages = {0};
    int64_t steps = 0;
    if (core_format(&path, "%s/config.yaml", run) == LS_OK && files_exists(path) &&
        config_stages_open(&stages, path, NULL, 0) == LS_OK &&
        config_stages_resolve(&stages) == LS_OK)
        steps = config_stages_steps(&stages);
    config_stages_close(&stages);
    free(path);
    return steps;
}

ls_status run_facts_read(struct run_facts *out, const char *run)
{
    ls_status st = LS_OK;
    memset(out, 0, sizeof *out);
    bool found = job_file_read(&out->file, run);
    out->trained = progress_read(&out->progress, run);
    if (!found && !out->trained) {
        st = LS_FAIL(files_exists(run) ? LS_USAGE : LS_IO, "%s: %s", run,
                     files_exists(run) ? "not a run folder: nothing was started or submitted there"
                                       : "no such folder");
        goto done;
    }
    out->saved_step = progress_saved_step(run);
    out->total_steps = steps_of(run);
    LS_TRY(run_folder_owner(&out->owner, run));
    if (out->file.job[0] != '\0' && queue_read(&out->queue, out->file.job) != LS_OK) {
        log_warn("slurm cannot_be_asked reason=\"%s\"", status_message());
        status_clear();
        out->queue.listed = true; /* so that nothing is taken for lost */
        (void)snprintf(out->queue.state, sizeof out->queue.state, "RUNNING");
        (void)snprintf(out->queue.reason, sizeof out->queue.reason, "unknown");
    }
    work_out_state(out);
done:
    return st;
}

void run_facts_close(struct run_facts *facts)
{
    free(facts->owner);
    facts->owner = NULL;
}
