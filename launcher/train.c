/* `lockstep train`: everything that can be wrong is checked before a worker starts; then the run
 * folder is taken, the resolved config is stored in it, and the workers are supervised, one stage
 * of the config after the other. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/config_stages.h"
#include "core/files.h"
#include "core/log.h"
#include "core/trace.h"
#include "data/loader.h"
#include "launcher/allocation.h"
#include "launcher/choices.h"
#include "launcher/commands.h"
#include "launcher/config_changes.h"
#include "launcher/guard.h"
#include "launcher/processes.h"
#include "launcher/restart.h"
#include "launcher/run_folder.h"
#include "launcher/stages.h"
#include "launcher/stop_signals.h"
#include "launcher/train_datasets.h"

/* What the workers add to their own deadline of the start. */
enum { START_GRACE_S = 30 };

struct train_options {
    struct option_list paths; /* one */
    int64_t workers;          /* 0: as the machine has cores */
    struct option_list set;
    const char *device;
    int64_t threads; /* 0: as the config says */
    int64_t stop_at;
    const char *profile;
    const char *hosts;
    bool requeue;
    int fresh; /* how often it was given */
};

/* --set and the options that stand for a key, as overrides of the config. */
static ls_status open_config(struct config_stages *out, const struct train_options *options)
{
    ls_status st = LS_OK;
    const char **overrides = NULL;
    char *device = NULL;
    char *threads = NULL;
    int count = 0;
    LS_TRY(core_alloc(&overrides, options->set.count + 2));
    for (int i = 0; i < options->set.count; i++)
        overrides[count++] = options->set.values[i];
    if (options->device != NULL) {
        LS_TRY(core_format(&device, "lockstep.device=%s", options->device));
        overrides[count++] = device;
    }
    if (options->threads > 0) {
        LS_TRY(core_format(&threads, "lockstep.threads=%" PRId64, options->threads));
        overrides[count++] = threads;
    }
    LS_TRY(config_stages_open(out, options->paths.values[0], overrides, count));
    for (int i = 0; i < out->count; i++)
        LS_TRY(loader_check(out->list[i]));
done:
    free(overrides);
    free(device);
    free(threads);
    return st;
}

/* More than any stage has micro-batches is a mistake; a stage with fewer takes what it can use. */
static ls_status check_workers(const struct config_stages *stages, int64_t workers)
{
    int most = 0;
    for (int i = 0; i < stages->count; i++)
        if (stages->list[i]->micro_batches > most)
            most = stages->list[i]->micro_batches;
    if (workers <= most)
        return LS_OK;
    return LS_FAIL(LS_USAGE,
                   "-n %" PRId64 ": a step of %s has %d micro-batches (nodes x tasks_per_node), so "
                   "at most %d workers share it",
                   workers, stages->list[0]->source, most, most);
}

/* An existing run goes on, unless told twice that it shall not. */
static ls_status settle_fresh(struct run_folder *folder, int fresh)
{
    char *old = NULL;
    if (fresh == 0 || !run_folder_has_run(folder))
        return LS_OK;
    if (fresh == 1)
        return LS_FAIL(LS_USAGE,
                       "%s holds a run already: without --fresh it goes on; --fresh --fresh moves "
                       "it aside and starts anew",
                       run_folder_path(folder));
    ls_status st = run_folder_set_aside(&old, folder);
    if (st == LS_OK)
        log_info("run_set_aside from=%s to=%s", run_folder_path(folder), old);
    free(old);
    return st;
}

/* Whether the stored run can go on under these stages; says what changes. */
static ls_status compare_with_stored(const struct run_folder *folder, const char *stored_path,
                                     const struct config_stages *stages)
{
    ls_status st = LS_OK;
    struct config_stages stored = {0};
    char *before = NULL;
    char *after = NULL;
    char *changes = NULL;
    const char *run = run_folder_path(folder);
    LS_TRY(config_stages_open(&stored, stored_path, NULL, 0));
    for (int i = 0; i < stored.count && i < stages->count; i++) {
        free(before);
        free(after);
        free(changes);
        before = NULL;
        after = NULL;
        changes = NULL;
        LS_TRY(config_dump(&before, stored.list[i]));
        LS_TRY(config_dump(&after, stages->list[i]));
        LS_TRY(config_changes(&changes, before, after, run));
        if (changes[0] != '\0')
            log_warn("config_changed run=%s stage=%d: %s", run, i + 1, changes);
    }
    if (stored.count != stages->count)
        log_warn("config_changed run=%s: stages %d -> %d", run, stored.count, stages->count);
done:
    config_stages_close(&stored);
    free(before);
    free(after);
    free(changes);
    return st;
}

static ls_status store_config(const struct run_folder *folder, const struct config_stages *stages)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *checkpoints = NULL;
    char *text = NULL;
    LS_TRY(core_format(&path, "%s/config.yaml", run_folder_path(folder)));
    LS_TRY(core_format(&checkpoints, "%s/checkpoints/latest", run_folder_path(folder)));
    LS_TRY(config_stages_dump(&text, stages));
    if (files_exists(path) && files_exists(checkpoints))
        LS_TRY(compare_with_stored(folder, path, stages));
    LS_TRY(files_replace(path, text, strlen(text)));
done:
    free(path);
    free(checkpoints);
    free(text);
    return st;
}

static ls_status train_stage(const struct config *config, const struct train_options *options,
                             struct restart_job *job)
{
    job->workers = choice_workers(options->workers, config, job->start.allocation);
    job->start.threads = choice_threads(config, job->workers, job->start.allocation);
    job->start.start_s = config->run.start_timeout_s + START_GRACE_S;
    job->start.silence_s = config->run.silence_timeout_s;
    job->start.warning_s = job->start.allocation->job != NULL ? config_slurm_warning_s(config) : 0;
    job->max_restarts = config->run.max_restarts;
    job->restart_window_s = config->run.restart_window_s;
    job->workers_least = config->run.min_workers;
    return restart_until_done(job);
}

/* One stage after the other: each ends with a checkpoint, and the next one's workers begin with
 * it. */
static ls_status train_stages(const struct config_stages *stages,
                              const struct train_options *options, struct restart_job *job)
{
    ls_status st = LS_OK;
    int64_t before = -1;
    int64_t step = stages_finished_steps(job->start.folder);
    do {
        if (step <= before) {
            st = LS_FAIL(LS_CHECKPOINT,
                         "%s: a stage ended, but step %" PRId64 " is still the "
                         "newest checkpoint",
                         run_folder_path(job->start.folder), step);
            goto done;
        }
        before = step;
        LS_TRY(train_stage(stages->list[config_stages_at(stages, step)], options, job));
        step = stages_finished_steps(job->start.folder);
        if (stages->count > 1)
            stages_keep_border(job->start.folder);
    } while (stages->count > 1 && step < config_stages_steps(stages));
done:
    return st;
}

static ls_status train_in(struct run_folder *folder, struct config_stages *stages,
                          const struct train_options *options, struct restart_job *job)
{
    ls_status st = LS_OK;
    LS_TRY(settle_fresh(folder, options->fresh));
    for (int i = 0; i < stages->count; i++) {
        LS_TRY(train_datasets(stages->list[i], run_folder_path(folder)));
        config_warn(stages->list[i]);
    }
    LS_TRY(config_stages_resolve(stages));
    LS_TRY(store_config(folder, stages));
    job->start.folder = folder;
    job->start.bar = isatty(STDOUT_FILENO) != 0;
    job->start.stop_at = options->stop_at;
    job->start.profile = options->profile;
    /* What is left by then is SLURM's rounding. */
    if (job->start.allocation->time_left_s > 0)
        job->time_is_over_s = clock_now_s() + job->start.allocation->time_left_s - 2;
    job->requeue = options->requeue;
    LS_TRY(train_stages(stages, options, job));
done:
    return st;
}

static ls_status run_train(const void *given)
{
    ls_status st = LS_OK;
    const struct train_options *options = given;
    struct config_stages stages = {0};
    struct run_folder *folder = NULL;
    struct allocation *allocation = NULL;
    struct starter starter = {0};
    struct job_file file = {0};
    struct restart_job job = {.start = {.file = &file, .starter = &starter}};
    char *program = NULL;
    char *worker = NULL;
    char *self = NULL;
    struct trace_steps steps;
    if (options->profile != NULL)
        LS_TRY(trace_steps_parse(&steps, options->profile));
    LS_TRY(open_config(&stages, options));
    LS_TRY(check_workers(&stages, options->workers));
    const struct config *config = stages.list[0];
    if (getenv("SLURM_JOB_ID") != NULL)
        LS_TRY(guard_launcher(&(struct guard_options){.max_restarts = config->run.max_restarts,
                                                      .window_s = config->run.restart_window_s,
                                                      .grace_s = config->run.save_timeout_s}));
    LS_TRY(allocation_open(&allocation, options->hosts));
    LS_TRY(choice_starter(&starter, &program, config, allocation));
    LS_TRY(processes_find_worker(&worker));
    LS_TRY(processes_find_self(&self));
    starter.worker = worker;
    starter.shield = allocation->job != NULL ? self : NULL;
    starter.container = config->slurm.container;
    job.start.allocation = allocation;
    LS_TRY(stop_signals_catch());
    LS_TRY(run_folder_open(&folder, config->folder));
    LS_TRY(train_in(folder, &stages, options, &job));
done:
    run_folder_close(&folder);
    allocation_close(&allocation);
    config_stages_close(&stages);
    free(program);
    free(worker);
    free(self);
    return st;
}

static const char *const devices[] = {"auto", "cpu", "cuda", "emulated", NULL};

static const struct option table[] = {
    {.name = "workers",
     .letter = 'n',
     .type = OPTION_INTEGER,
     .offset = offsetof(struct train_options, workers),
     .word = "W",
     .low = 1,
     .high = 65536,
     .help =
         "Workers that share a step's micro-batches.  Without it: the tasks of the SLURM job or "
         "of --hosts, else the cores; at most one a micro-batch.  The optimisation is the same "
         "for any number."},
    {.name = "set",
     .type = OPTION_LIST,
     .offset = offsetof(struct train_options, set),
     .word = "KEY=VALUE",
     .help = "Replace one value of the config, for example optimization.steps=100; may be given "
             "many times."},
    {.name = "device",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct train_options, device),
     .word = "DEVICE",
     .choices = devices,
     .help = "What computes; in place of the config's lockstep.device."},
    {.name = "threads",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct train_options, threads),
     .word = "N",
     .low = 1,
     .high = 1024,
     .help = "Compute threads of a worker, in place of the config's lockstep.threads."},
    {.name = "stop-at",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct train_options, stop_at),
     .word = "STEP",
     .low = 1,
     .high = INT64_C(1) << 40,
     .help = "Save and stop after this step, as on a first Ctrl-C."},
    {.name = "profile",
     .type = OPTION_TEXT,
     .offset = offsetof(struct train_options, profile),
     .word = "FIRST:LAST",
     .help = "Trace these steps: what each worker did when goes to RUN/profile (open it in "
             "Perfetto), and NVIDIA's profiler is switched on for them (docs/operations.md)."},
    {.name = "hosts",
     .type = OPTION_TEXT,
     .offset = offsetof(struct train_options, hosts),
     .word = "LIST",
     .help = "Machines where no SLURM gives them: node1,node2:4 (4 workers there).  mpirun reaches "
             "them by ssh; run folder and datasets must be the same files on all."},
    {.name = "requeue",
     .type = OPTION_FLAG,
     .offset = offsetof(struct train_options, requeue),
     .help = "In a SLURM job: when SLURM asks it to end early, or its nodes fail it, put the job "
             "back into the queue.  `lockstep submit` uses it."},
    {.name = "fresh",
     .type = OPTION_COUNT,
     .offset = offsetof(struct train_options, fresh),
     .help = "Start anew.  Where the run folder holds a run, give it twice: the old run is moved "
             "aside, not deleted."},
};

const struct command command_train = {
    .name = "train",
    .arguments = "CONFIG.yaml",
    .summary = "pretrains: starts, watches, resumes and restarts the workers",
    .details =
        "Trains as CONFIG.yaml says, in its run folder.  Started again it goes on from the "
        "newest good checkpoint.  Ctrl-C, SIGTERM, SIGUSR1 or SIGUSR2 save at the end of the "
        "running step and end with exit code 75; a second Ctrl-C or SIGTERM stops at once "
        "(within a SLURM job only Ctrl-C).  Exit codes: 0 done, 2 "
        "usage, 10 files, 11 data, 12 device, 13 a worker was lost, 14 timeout, 15 "
        "checkpoint, 75 stopped on request, 1 anything else.",
    .arguments_least = 1,
    .arguments_most = 1,
    .arguments_offset = offsetof(struct train_options, paths),
    .options = table,
    .option_count = sizeof table / sizeof table[0],
    .bytes = sizeof(struct train_options),
    .run = run_train,
};
