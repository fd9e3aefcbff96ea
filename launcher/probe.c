/* `lockstep probe`: checks what can be checked, packs lists, resolves the checkpoint, and lets
 * workers do the rest as `lockstep train` does. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/config_probe.h"
#include "core/files.h"
#include "core/log.h"
#include "launcher/allocation.h"
#include "launcher/choices.h"
#include "launcher/commands.h"
#include "launcher/probe_source.h"
#include "launcher/probe_table.h"
#include "launcher/processes.h"
#include "launcher/restart.h"
#include "launcher/run_folder.h"
#include "launcher/run_health.h"
#include "launcher/stop_signals.h"
#include "launcher/train_datasets.h"

enum { START_GRACE_S = 30 };

struct probe_options {
    struct option_list paths; /* one */
    int64_t workers;
    struct option_list set;
    const char *init, *checkpoint, *device;
    int64_t threads, labels;
    const char *hosts;
};

/* Options that stand for a key come after --set. */
static ls_status open_config(struct config_probe **out, const struct probe_options *options)
{
    ls_status st = LS_OK;
    enum { EXTRA = 5 };
    const char **overrides = NULL;
    char *extra[EXTRA] = {NULL};
    int count = 0;
    const struct {
        const char *key, *value;
        int64_t number;
    } stands_for[EXTRA] = {{"init", options->init, 0},
                           {"model_kwargs.checkpoint", options->checkpoint, 0},
                           {"lockstep.device", options->device, 0},
                           {"lockstep.threads", NULL, options->threads},
                           {"experiment.data.labels", NULL, options->labels}};
    LS_TRY(core_alloc(&overrides, options->set.count + EXTRA));
    for (int i = 0; i < options->set.count; i++)
        overrides[count++] = options->set.values[i];
    for (int i = 0; i < EXTRA; i++) {
        if (stands_for[i].value != NULL)
            LS_TRY(core_format(&extra[i], "%s=%s", stands_for[i].key, stands_for[i].value));
        else if (stands_for[i].number > 0)
            LS_TRY(core_format(&extra[i], "%s=%" PRId64, stands_for[i].key, stands_for[i].number));
        if (extra[i] != NULL)
            overrides[count++] = extra[i];
    }
    LS_TRY(config_probe_open(out, options->paths.values[0], overrides, count));
done:
    for (int i = 0; i < EXTRA; i++)
        free(extra[i]);
    free(overrides);
    return st;
}

static ls_status settle_dataset(char **path, const char *key, const struct config_probe *config)
{
    ls_status st = LS_OK;
    char *absolute = NULL;
    LS_TRY(train_dataset_settle(path, &(struct train_dataset){.key = key,
                                                              .source = config->base.source,
                                                              .run = config->base.folder}));
    LS_TRY(files_absolute(&absolute, *path));
    free(*path);
    *path = absolute;
done:
    return st;
}

static ls_status store_config(const struct run_folder *folder, const struct config_probe *config)
{
    ls_status st = LS_OK;
    char *path = NULL;
    char *text = NULL;
    LS_TRY(core_format(&path, "%s/probe.yaml", run_folder_path(folder)));
    LS_TRY(config_probe_dump(&text, config));
    LS_TRY(files_replace(path, text, strlen(text)));
done:
    free(path);
    free(text);
    return st;
}

static ls_status run_workers(const struct config_probe *config, const struct probe_options *options,
                             struct restart_job *job)
{
    const struct config *base = &config->base;
    job->workers = choice_workers(options->workers, base, job->start.allocation);
    job->start.threads = choice_threads(base, job->workers, job->start.allocation);
    job->start.start_s = base->run.start_timeout_s + START_GRACE_S;
    job->start.silence_s = base->run.silence_timeout_s;
    job->max_restarts = base->run.max_restarts;
    job->restart_window_s = base->run.restart_window_s;
    return restart_until_done(job);
}

static ls_status probe_in(struct run_folder *folder, struct config_probe *config,
                          const struct probe_options *options, struct restart_job *job)
{
    ls_status st = LS_OK;
    char *results = NULL;
    LS_TRY(settle_dataset(&config->train, "experiment.data.dataset_train", config));
    LS_TRY(settle_dataset(&config->test, "experiment.data.dataset_val", config));
    LS_TRY(store_config(folder, config));
    job->start.folder = folder;
    LS_TRY(run_workers(config, options, job));
    LS_TRY(config_probe_results(&results, config));
    LS_TRY(probe_table_print(results, config_probe_tag(config)));
    *strrchr(results, '/') = '\0'; /* RUN/probe */
    run_health_tell(results);
done:
    free(results);
    return st;
}

static ls_status run_probe(const void *given)
{
    ls_status st = LS_OK;
    const struct probe_options *options = given;
    struct config_probe *config = NULL;
    struct run_folder *folder = NULL;
    struct allocation *allocation = NULL;
    struct starter starter = {0};
    struct job_file file = {0};
    struct restart_job job = {.start = {.file = &file, .starter = &starter}};
    char *program = NULL;
    char *worker = NULL;
    char *self = NULL;
    LS_TRY(open_config(&config, options));
    if (options->workers > config->base.micro_batches) {
        st = LS_FAIL(LS_USAGE,
                     "-n %" PRId64 ": a step of %s has %d micro-batches (nodes x tasks_per_node), "
                     "so at most %d workers share it",
                     options->workers, config->base.source, config->base.micro_batches,
                     config->base.micro_batches);
        goto done;
    }
    LS_TRY(
        probe_source_settle(&config->checkpoint, "model_kwargs.checkpoint", config->base.source));
    LS_TRY(allocation_open(&allocation, options->hosts));
    LS_TRY(choice_starter(&starter, &program, &config->base, allocation));
    LS_TRY(processes_find_worker(&worker));
    LS_TRY(processes_find_self(&self));
    starter.worker = worker;
    starter.shield = allocation->job != NULL ? self : NULL;
    starter.probe = true;
    job.start.allocation = allocation;
    LS_TRY(stop_signals_catch());
    LS_TRY(run_folder_open(&folder, config->base.folder));
    LS_TRY(probe_in(folder, config, options, &job));
done:
    run_folder_close(&folder);
    allocation_close(&allocation);
    config_probe_close(&config);
    free(program);
    free(worker);
    free(self);
    return st;
}

static const char *const devices[] = {"auto", "cpu", "cuda", "emulated", NULL};
static const char *const inits[] = {"both", "pretrained", "random", NULL};

static const struct option table[] = {
    {.name = "workers",
     .letter = 'n',
     .type = OPTION_INTEGER,
     .offset = offsetof(struct probe_options, workers),
     .word = "W",
     .low = 1,
     .high = 65536,
     .help = "Workers that share a step's micro-batches, as for `lockstep train`."},
    {.name = "init",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct probe_options, init),
     .word = "INIT",
     .choices = inits,
     .help = "What is probed: the pretrained encoder, the same at random initial weights, or both "
             "(by default, as the config says)."},
    {.name = "checkpoint",
     .type = OPTION_TEXT,
     .offset = offsetof(struct probe_options, checkpoint),
     .word = "PATH",
     .help = "Run folder or checkpoint, in place of the config's model_kwargs.checkpoint."},
    {.name = "labels",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct probe_options, labels),
     .word = "N",
     .low = 1,
     .high = 1000000000,
     .help = "Use N of the labelled training videos, as many of each class as can be, in place of "
             "the config's experiment.data.labels."},
    {.name = "set",
     .type = OPTION_LIST,
     .offset = offsetof(struct probe_options, set),
     .word = "KEY=VALUE",
     .help = "Replace one value of the config; may be given many times."},
    {.name = "device",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct probe_options, device),
     .word = "DEVICE",
     .choices = devices,
     .help = "What computes; in place of the config's lockstep.device."},
    {.name = "threads",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct probe_options, threads),
     .word = "N",
     .low = 1,
     .high = 1024,
     .help = "Compute threads of a worker, in place of the config's lockstep.threads."},
    {.name = "hosts",
     .type = OPTION_TEXT,
     .offset = offsetof(struct probe_options, hosts),
     .word = "LIST",
     .help = "Machines where no SLURM gives them, as for `lockstep train`."},
};

const struct command command_probe = {
    .name = "probe",
    .arguments = "CONFIG.yaml",
    .summary = "tells how good an encoder's features are, beside a random encoder's",
    .details =
        "Trains attentive classifiers on the frozen encoder's features of labelled videos, as the "
        "public evaluation (video_classification_frozen) does, tests them, finds nearest "
        "neighbours, does the same with an encoder at its initial weights, and prints both.  The "
        "results are in RUN/probe/*.json (docs/formats.md).  A probe that is stopped leaves no "
        "result and begins anew.  Exit codes as of `lockstep train`.",
    .arguments_least = 1,
    .arguments_most = 1,
    .arguments_offset = offsetof(struct probe_options, paths),
    .options = table,
    .option_count = sizeof table / sizeof table[0],
    .bytes = sizeof(struct probe_options),
    .run = run_probe,
};
