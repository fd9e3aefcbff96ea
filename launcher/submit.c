/* `lockstep submit`: the run as a SLURM job, or as a chain of them.  What the job will run is
 * written into the run folder first, so that a later change of the config file does not change a
 * job that waits. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/config_stages.h"
#include "core/files.h"
#include "core/log.h"
#include "data/loader.h"
#include "launcher/ask.h"
#include "launcher/batch_script.h"
#include "launcher/commands.h"
#include "launcher/job_file.h"
#include "launcher/processes.h"
#include "launcher/progress.h"
#include "launcher/queue.h"

struct submit_options {
    struct option_list paths; /* one */
    struct option_list set;
    int64_t nodes, tasks; /* 0: as the config says */
    int64_t chain;
    bool dry_run;
};

enum { TEMPLATE_BYTES = 65536 };

/* Where the template is: named by the config, or with the sources this program was built from
 * (build/lockstep, build/asan/lockstep), or beside the program. */
static ls_status read_template(char **out, char **path, const struct config *config,
                               const char *self)
{
    ls_status st = LS_OK;
    int folder = (int)(strrchr(self, '/') - self);
    static const char *const places[] = {"../slurm/", "../../slurm/", ""};
    if (config->slurm.template_path != NULL)
        LS_TRY(core_format(path, "%s", config->slurm.template_path));
    for (int i = 0;
         i < 3 && (*path == NULL || (config->slurm.template_path == NULL && !files_exists(*path)));
         i++) {
        free(*path);
        *path = NULL;
        LS_TRY(core_format(path, "%.*s/%strain.sbatch", folder, self, places[i]));
    }
    LS_TRY(files_read(out, NULL, *path, TEMPLATE_BYTES));
done:
    return st;
}

/* A run that waits or runs already is not submitted twice. */
static ls_status refuse_second(const char *run)
{
    struct job_file file;
    struct queue_job queue;
    if (!job_file_read(&file, run) || file.job[0] == '\0')
        return LS_OK;
    ls_status st = queue_read(&queue, file.job);
    if (st == LS_OK && queue_is_live(&queue))
        st = LS_FAIL(LS_USAGE,
                     "%s: job %s of this run is %s; `lockstep cancel %s` ends it, `lockstep status "
                     "%s` tells more",
                     run, file.job, queue.state, run, run);
    return st;
}

/* Whether a step and a save fit between SLURM's warning and the end, as far as it was measured. */
static void check_warning(const struct config *config, const char *run)
{
    struct job_file file;
    struct progress progress;
    double warning_s = config_slurm_warning_s(config);
    if (!job_file_read(&file, run) || file.save_s == 0)
        return;
    double step_s = progress_read(&progress, run) && progress.step_s > 0 ? progress.step_s : 0;
    if (step_s + file.save_s > warning_s)
        log_warn("warning_too_short seconds=%.0f step_s=%.1f save_s=%.1f: SLURM may end the job "
                 "before its state is saved; raise the seconds of slurm.signal",
                 warning_s, step_s, file.save_s);
}

/* The nodes must do for every stage. */
static const struct config *widest(const struct config_stages *stages)
{
    const struct config *most = stages->list[0];
    for (int i = 1; i < stages->count; i++)
        if (stages->list[i]->micro_batches > most->micro_batches)
            most = stages->list[i];
    return most;
}

static ls_status write_files(char **script_path, const char *run, const char *script,
                             const struct config_stages *stages)
{
    ls_status st = LS_OK;
    char *folder = NULL;
    char *config_path = NULL;
    char *text = NULL;
    LS_TRY(core_format(&folder, "%s/submit", run));
    LS_TRY(files_make_folder(folder));
    LS_TRY(core_format(script_path, "%s/train.sbatch", folder));
    LS_TRY(files_replace(*script_path, script, strlen(script)));
    LS_TRY(core_format(&config_path, "%s/config.yaml", folder));
    LS_TRY(config_stages_dump(&text, stages));
    LS_TRY(files_replace(config_path, text, strlen(text)));
done:
    free(folder);
    free(config_path);
    free(text);
    return st;
}

/* One job; `after` is the job it waits for, NULL: none.  It waits for that one's end, however it
 * ends, and is removed should that never come. */
static ls_status submit_one(char *job, size_t bytes, const char *script_path, const char *after)
{
    ls_status st = LS_OK;
    char *said = NULL;
    char *dependency = NULL;
    const char *words[8] = {"sbatch", "--parsable"};
    int count = 2;
    if (after != NULL) {
        LS_TRY(core_format(&dependency, "--dependency=afterany:%s", after));
        words[count++] = dependency;
        words[count++] = "--kill-on-invalid-dep=yes";
    }
    words[count++] = script_path;
    LS_TRY(ask(&said, words));
    said[strcspn(said, ";\n")] = '\0'; /* "JOB;CLUSTER" */
    (void)snprintf(job, bytes, "%s", said);
done:
    free(said);
    free(dependency);
    return st;
}

static ls_status submit_all(const char *run, const char *script_path, int64_t count)
{
    ls_status st = LS_OK;
    struct job_file file;
    char job[32];
    char before[32];
    (void)job_file_read(&file, run);
    file.chain[0] = '\0';
    file.requeues = 0;
    LS_TRY(submit_one(file.job, sizeof file.job, script_path, NULL));
    (void)snprintf(before, sizeof before, "%s", file.job);
    for (int64_t i = 1; i < count; i++) {
        LS_TRY(submit_one(job, sizeof job, script_path, before));
        size_t used = strlen(file.chain);
        (void)snprintf(file.chain + used, sizeof file.chain - used, "%s%s", used > 0 ? "," : "",
                       job);
        (void)snprintf(before, sizeof before, "%s", job);
    }
done:
    if (file.job[0] != '\0')
        job_file_write(run, &file, "submitted", "");
    if (st == LS_OK)
        (void)printf("job        %s%s%s\nrun        %s\nwatch      lockstep status %s\nstop       "
                     "lockstep cancel %s\n",
                     file.job, count > 1 ? ", then " : "", file.chain, run, run, run);
    return st;
}

static ls_status run_submit(const void *given)
{
    ls_status st = LS_OK;
    const struct submit_options *options = given;
    struct config_stages stages = {0};
    char *run = NULL;
    char *self = NULL;
    char *path = NULL;
    char *template_text = NULL;
    char *script_text = NULL;
    char *script_path = NULL;
    LS_TRY(config_stages_open(&stages, options->paths.values[0], options->set.values,
                              options->set.count));
    for (int i = 0; i < stages.count; i++)
        LS_TRY(loader_check(stages.list[i]));
    const struct config *config = widest(&stages);
    LS_TRY(files_absolute(&run, config->folder));
    LS_TRY(processes_find_self(&self));
    LS_TRY(read_template(&template_text, &path, config, self));
    struct batch_script script = {.config = config,
                                  .run = run,
                                  .lockstep = self,
                                  .nodes = options->nodes > 0 ? (int)options->nodes : config->nodes,
                                  .tasks_per_node = options->tasks > 0 ? (int)options->tasks
                                                                       : config->tasks_per_node,
                                  .requeue = options->chain <= 1};
    LS_TRY(batch_script_render(&script_text, template_text, path, &script));
    if (options->dry_run) {
        (void)fputs(script_text, stdout);
        goto done;
    }
    LS_TRY(refuse_second(run));
    check_warning(config, run);
    LS_TRY(write_files(&script_path, run, script_text, &stages));
    job_file_forget_cancel(run);
    LS_TRY(submit_all(run, script_path, options->chain > 1 ? options->chain : 1));
done:
    config_stages_close(&stages);
    free(run);
    free(self);
    free(path);
    free(template_text);
    free(script_text);
    free(script_path);
    return st;
}

static const struct option table[] = {
    {.name = "dry-run",
     .type = OPTION_FLAG,
     .offset = offsetof(struct submit_options, dry_run),
     .help = "Print the job script; write and submit nothing."},
    {.name = "chain",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct submit_options, chain),
     .word = "N",
     .low = 1,
     .high = 40,
     .help = "Submit N jobs, each of which waits for the end of the one before, where a site does "
             "not let a job put itself back into the queue."},
    {.name = "nodes",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct submit_options, nodes),
     .word = "N",
     .low = 1,
     .high = 65536,
     .help = "Nodes of the job, in place of the config's `nodes`: the step stays the same."},
    {.name = "tasks-per-node",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct submit_options, tasks),
     .word = "N",
     .low = 1,
     .high = 1024,
     .help = "Workers a node of the job, likewise."},
    {.name = "set",
     .type = OPTION_LIST,
     .offset = offsetof(struct submit_options, set),
     .word = "KEY=VALUE",
     .help = "Replace one value of the config; may be given many times."},
};

const struct command command_submit = {
    .name = "submit",
    .arguments = "CONFIG.yaml",
    .summary = "pretrains as a SLURM job: renders, shows and submits it",
    .details = "Fills slurm/train.sbatch with the config's nodes, tasks_per_node, cpus_per_task, "
               "mem_per_gpu and slurm keys, keeps script and config in RUN/submit, submits the job "
               "and prints its number.  When SLURM warns of the time limit or takes the nodes for "
               "another job, the run saves and the job puts itself back into the queue.",
    .arguments_least = 1,
    .arguments_most = 1,
    .arguments_offset = offsetof(struct submit_options, paths),
    .options = table,
    .option_count = sizeof table / sizeof table[0],
    .bytes = sizeof(struct submit_options),
    .run = run_submit,
};
