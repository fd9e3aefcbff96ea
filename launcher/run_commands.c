/* `lockstep status` and `lockstep cancel`: a run as its folder and SLURM tell it. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files.h"
#include "launcher/ask.h"
#include "launcher/commands.h"
#include "launcher/json.h"
#include "launcher/run_facts.h"

struct run_options {
    struct option_list paths; /* one */
    bool json;
    bool now;
};

static void print_progress(const struct run_facts *facts)
{
    const struct progress *p = &facts->progress;
    if (!facts->trained) {
        (void)printf("step       none yet\n");
        return;
    }
    (void)printf("step       %" PRId64, p->step);
    if (facts->total_steps > 0)
        (void)printf(" of %" PRId64 " (%.0f %%)", facts->total_steps,
                     100.0 * (double)p->step / (double)facts->total_steps);
    if (isfinite(p->loss))
        (void)printf(", loss %.4f", p->loss);
    if (isfinite(p->clips_per_s))
        (void)printf(", %.1f clips/s", p->clips_per_s);
    if (run_facts_say_it_runs(facts->state) && facts->total_steps > p->step &&
        isfinite(p->step_s)) {
        double left = (double)(facts->total_steps - p->step) * p->step_s;
        (void)printf(", about %.0f %s left", left < 100 ? left : left / 60,
                     left < 100 ? "s" : "min");
    }
    (void)printf("\n");
}

static const char *advice(const struct run_facts *facts)
{
    if (strcmp(facts->state, "lost") == 0)
        return "its launcher ended without a word; start or submit it again: it goes on from its "
               "newest checkpoint";
    if (strcmp(facts->state, "stopped") == 0)
        return "start or submit it again to go on";
    if (strcmp(facts->state, "failed") == 0)
        return "RUN/log says more; start or submit it again when the cause is gone";
    return NULL;
}

static void print_status(const struct run_facts *facts, const char *run)
{
    const struct job_file *file = &facts->file;
    (void)printf("run        %s\nstate      %s", run, facts->state);
    if (file->since[0] != '\0')
        (void)printf(" since %s", file->since);
    if (run_facts_say_it_runs(facts->state))
        (void)printf(": %d of %d workers, launcher on %s, start %" PRId64, file->workers,
                     file->workers_asked, file->host, file->run_epoch);
    (void)printf("\n");
    if (file->message[0] != '\0')
        (void)printf("reason     %s\n", file->message);
    print_progress(facts);
    if (facts->saved_step >= 0)
        (void)printf("checkpoint step %" PRId64 "\n", facts->saved_step);
    if (file->restarts > 0)
        (void)printf("restarts   %d by this launcher, last: %s\n", file->restarts, file->loss);
    if (file->job[0] != '\0') {
        (void)printf("job        %s", file->job);
        if (facts->queue.listed)
            (void)printf(" %s %s, %s of %s", facts->queue.state, facts->queue.reason,
                         facts->queue.used, facts->queue.limit);
        (void)printf("%s%s\n", file->chain[0] != '\0' ? ", then " : "", file->chain);
    }
    if (advice(facts) != NULL)
        (void)printf("next       %s\n", advice(facts));
}

static ls_status print_json(const struct run_facts *facts, const char *run)
{
    cJSON *json = cJSON_CreateObject();
    const struct job_file *file = &facts->file;
    json_text(json, "run", run);
    json_text(json, "state", facts->state);
    json_text(json, "since", file->since);
    json_text(json, "message", file->message);
    json_text(json, "job", file->job);
    json_text(json, "chain", file->chain);
    json_text(json, "queue", facts->queue.state);
    json_text(json, "host", file->host);
    json_number(json, "pid", (double)file->pid);
    json_number(json, "workers", file->workers);
    json_number(json, "run_epoch", (double)file->run_epoch);
    json_number(json, "restarts", file->restarts);
    json_number(json, "step", facts->trained ? (double)facts->progress.step : 0);
    json_number(json, "steps", (double)facts->total_steps);
    json_number(json, "saved_step", (double)facts->saved_step);
    return json_print(&json);
}

static ls_status run_status(const void *given)
{
    ls_status st = LS_OK;
    const struct run_options *options = given;
    const char *run = options->paths.values[0];
    struct run_facts facts;
    LS_TRY(run_facts_read(&facts, run));
    if (options->json)
        LS_TRY(print_json(&facts, run));
    else
        print_status(&facts, run);
done:
    run_facts_close(&facts);
    return st;
}

static ls_status scancel(const char *option, const char *job)
{
    char *said = NULL;
    const char *words[6] = {"scancel"};
    int count = 1;
    if (option != NULL) {
        words[count++] = "--batch";
        words[count++] = option;
    }
    words[count++] = job;
    ls_status st = ask(&said, words);
    free(said);
    return st;
}

/* The jobs that wait for this one, first: they would start when it ends. */
static ls_status cancel_chain(const char *chain)
{
    ls_status st = LS_OK;
    char job[32];
    while (*chain != '\0') {
        size_t length = strcspn(chain, ",");
        struct queue_job queue;
        (void)snprintf(job, sizeof job, "%.*s", (int)length, chain);
        LS_TRY(queue_read(&queue, job));
        if (queue_is_live(&queue))
            LS_TRY(scancel(NULL, job));
        chain += length;
        chain += *chain == ',';
    }
done:
    return st;
}

static ls_status cancel_job(const struct run_facts *facts, bool now)
{
    ls_status st = LS_OK;
    const char *job = facts->file.job;
    bool runs = strcmp(facts->queue.state, "RUNNING") == 0;
    LS_TRY(cancel_chain(facts->file.chain));
    if (!queue_is_live(&facts->queue)) {
        (void)printf("job %s has ended already\n", job);
        goto done;
    }
    LS_TRY(scancel(runs && !now ? "--signal=USR1" : NULL, job));
    (void)printf(runs && !now ? "job %s saves and ends after this step\n" : "job %s was removed\n",
                 job);
done:
    return st;
}

/* Whether that process is a launcher still: numbers are used again, and the folder stays taken
 * while workers outlive their launcher. */
static bool is_launcher(int64_t pid)
{
    char *path = NULL;
    char program[4096] = "";
    if (pid > 1 && core_format(&path, "/proc/%" PRId64 "/exe", pid) == LS_OK &&
        readlink(path, program, sizeof program - 1) < 0)
        program[0] = '\0';
    free(path);
    const char *name = strrchr(program, '/');
    return name != NULL && strncmp(name + 1, "lockstep", 8) == 0;
}

static ls_status cancel_here(const struct run_facts *facts, const char *run, bool now)
{
    char host[256] = "";
    if (gethostname(host, sizeof host - 1) != 0 || strcmp(host, facts->file.host) != 0)
        return LS_FAIL(LS_USAGE,
                       "%s: its launcher is process %" PRId64 " on host %s: cancel it there", run,
                       facts->file.pid, facts->file.host);
    if (!is_launcher(facts->file.pid))
        return LS_FAIL(LS_FAILED,
                       "%s: its launcher, process %" PRId64 ", is gone; its workers save and end "
                       "by themselves",
                       run, facts->file.pid);
    if (kill((pid_t)facts->file.pid, SIGTERM) != 0)
        return LS_FAIL(LS_FAILED, "%s: cannot signal process %" PRId64 ": %s", run, facts->file.pid,
                       strerror(errno));
    if (now && kill((pid_t)facts->file.pid, SIGINT) != 0)
        return LS_FAIL(LS_FAILED, "%s: cannot signal process %" PRId64 ": %s", run, facts->file.pid,
                       strerror(errno));
    (void)printf("process %" PRId64 " %s\n", facts->file.pid,
                 now ? "ends at once" : "saves and ends after this step");
    return LS_OK;
}

static ls_status run_cancel(const void *given)
{
    ls_status st = LS_OK;
    const struct run_options *options = given;
    const char *run = options->paths.values[0];
    struct run_facts facts;
    LS_TRY(run_facts_read(&facts, run));
    if (facts.file.job[0] == '\0' && facts.owner == NULL) {
        (void)printf("nothing of it runs: %s\n", facts.state);
        goto done;
    }
    LS_TRY(job_file_cancel(run));
    if (facts.file.job[0] != '\0')
        LS_TRY(cancel_job(&facts, options->now));
    else
        LS_TRY(cancel_here(&facts, run, options->now));
done:
    run_facts_close(&facts);
    return st;
}

static const struct option status_table[] = {
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct run_options, json),
     .help = "One JSON object, for scripts."},
};

const struct command command_status = {
    .name = "status",
    .arguments = "RUN",
    .summary = "says how far a run is, and what its SLURM job does",
    .details = "Reads the run folder, and asks SLURM where the run is a job.",
    .arguments_least = 1,
    .arguments_most = 1,
    .arguments_offset = offsetof(struct run_options, paths),
    .options = status_table,
    .option_count = sizeof status_table / sizeof status_table[0],
    .bytes = sizeof(struct run_options),
    .run = run_status,
};

static const struct option cancel_table[] = {
    {.name = "now",
     .type = OPTION_FLAG,
     .offset = offsetof(struct run_options, now),
     .help = "Without saving: the run can go on from its newest checkpoint."},
};

const struct command command_cancel = {
    .name = "cancel",
    .arguments = "RUN",
    .summary = "lets a run save and end, and takes its jobs out of SLURM's queue",
    .details = "A job that runs saves at the end of its step and ends without going back into the "
               "queue; jobs that wait are removed.",
    .arguments_least = 1,
    .arguments_most = 1,
    .arguments_offset = offsetof(struct run_options, paths),
    .options = cancel_table,
    .option_count = sizeof cancel_table / sizeof cancel_table[0],
    .bytes = sizeof(struct run_options),
    .run = run_cancel,
};
