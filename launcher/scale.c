/* `lockstep scale`: runs `lockstep train` for a few steps at each node count, several times in turn
 * so that a change of the machine's mood falls on all counts alike, and reports.  What was measured
 * already is taken from the output folder: a broken-off benchmark goes on. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config_stages.h"
#include "core/files.h"
#include "core/log.h"
#include "core/parameters.h"
#include "launcher/allocation.h"
#include "launcher/command_line.h"
#include "launcher/commands.h"
#include "launcher/node_counts.h"
#include "launcher/processes.h"
#include "launcher/scale.h"
#include "launcher/text_file.h"

enum { SETTINGS_BYTES_MAX = 1 << 16 };

struct scale_options {
    struct option_list paths; /* one */
    struct option_list set;
    const char *nodes, *hosts, *output, *note;
    bool weak, strong, submit;
    int64_t repeats, steps, warm_up;
};

struct scale {
    const struct scale_options *options;
    struct config_stages stages;
    const struct config *config; /* the first stage's */
    struct allocation *allocation;
    char *self, *folder;
    struct node_counts counts;
    double gradient_bytes;
    struct scale_samples samples;
};

static int most_nodes(const struct scale *scale)
{
    int most = 1;
    for (int i = 0; i < scale->counts.count; i++)
        most = scale->counts.list[i] > most ? scale->counts.list[i] : most;
    return most;
}

/* That every count can be run: enough hosts, and in strong scaling enough micro-batches. */
static ls_status check_counts(const struct scale *scale)
{
    int most = most_nodes(scale);
    const struct config *config = scale->config;
    const struct allocation *allocation = scale->allocation;
    int there = allocation->host_count > 0 ? allocation->host_count : allocation->nodes;
    bool named = scale->options->hosts != NULL || allocation->job != NULL;
    if (!scale->options->submit && most > 1 && !named)
        return LS_FAIL(LS_USAGE, "%d nodes need --hosts, a SLURM job, or --submit", most);
    if (!scale->options->submit && named && most > there)
        return LS_FAIL(LS_USAGE, "%d nodes are asked for, %d are there", most, there);
    if (scale->options->strong && most * config->tasks_per_node > config->micro_batches)
        return LS_FAIL(LS_USAGE,
                       "%d nodes with %d workers each, but a step has %d micro-batches (nodes x "
                       "tasks_per_node): strong scaling cannot share it out; raise `nodes`",
                       most, config->tasks_per_node, config->micro_batches);
    return LS_OK;
}

static ls_status measure_gradient(struct scale *scale)
{
    ls_status st = LS_OK;
    struct model_shape shape;
    struct parameters *parameters = NULL;
    LS_TRY(model_shape_of_config(&shape, scale->config));
    LS_TRY(parameters_open(&parameters, &shape));
    scale->gradient_bytes = (double)parameters->flat_count * sizeof(float);
done:
    parameters_close(&parameters);
    return st;
}

/* The first `nodes` of the hosts that the user named. */
static ls_status add_hosts(struct command_line *line, const struct scale *scale, int nodes)
{
    ls_status st = LS_OK;
    char *list = NULL;
    LS_TRY(core_format(&list, "%s", ""));
    for (int i = 0; i < nodes; i++) {
        char *longer = NULL;
        LS_TRY(core_format(&longer, "%s%s%s:%d", list, i > 0 ? "," : "",
                           scale->allocation->hosts[i].name, scale->config->tasks_per_node));
        free(list);
        list = longer;
    }
    LS_TRY(command_line_add(line, "--hosts"));
    LS_TRY(command_line_format(line, "%s", list));
done:
    free(list);
    return st;
}

static ls_status train_words(struct command_line *line, const struct scale *scale, const char *run,
                             int nodes)
{
    ls_status st = LS_OK;
    const struct scale_options *options = scale->options;
    LS_TRY(command_line_add(line, scale->self));
    LS_TRY(command_line_add(line, "train"));
    LS_TRY(command_line_add(line, options->paths.values[0]));
    LS_TRY(command_line_format(line, "--workers=%d", nodes * scale->config->tasks_per_node));
    LS_TRY(command_line_format(line, "--stop-at=%" PRId64, options->warm_up + options->steps));
    for (int i = 0; i < options->set.count; i++) {
        LS_TRY(command_line_add(line, "--set"));
        LS_TRY(command_line_add(line, options->set.values[i]));
    }
    LS_TRY(command_line_format(line, "--set=folder=%s", run));
    LS_TRY(command_line_add(line, "--set=meta.save_freq_steps=1000000000"));
    LS_TRY(command_line_add(line, "--set=lockstep.max_restarts=0"));
    if (!options->strong)
        LS_TRY(command_line_format(line, "--set=nodes=%d", nodes));
    if (options->hosts != NULL)
        LS_TRY(add_hosts(line, scale, nodes));
done:
    return st;
}

/* One run, unless the output folder has it already.  Of the run only config, log and metrics stay.
 */
static ls_status measure(struct scale *scale, int nodes, int repeat)
{
    ls_status st = LS_OK;
    char *run = NULL;
    char *checkpoints = NULL;
    char *said = NULL;
    struct command_line line = {0};
    const struct scale_options *options = scale->options;
    struct scale_sample *sample = &scale->samples.list[scale->samples.count];
    LS_TRY(core_format(&run, "%s/runs/nodes-%d-repeat-%d", scale->folder, nodes, repeat));
    LS_TRY(core_format(&checkpoints, "%s/checkpoints", run));
    LS_TRY(core_format(&said, "%s.log", run));
    if (scale_read(sample, run, options->warm_up, options->steps) != LS_OK) {
        status_clear();
        LS_TRY(files_remove(run));
        LS_TRY(train_words(&line, scale, run, nodes));
        log_info("scale nodes=%d repeat=%d of=%" PRId64 " output=%s", nodes, repeat,
                 options->repeats, said);
        LS_TRY(command_line_run(&line, said));
        LS_TRY(scale_read(sample, run, options->warm_up, options->steps));
    }
    LS_TRY(files_remove(checkpoints));
    sample->nodes = nodes;
    sample->workers = nodes * scale->config->tasks_per_node;
    sample->repeat = repeat;
    sample->gradient_bytes = scale->gradient_bytes;
    scale->samples.count++;
done:
    command_line_close(&line);
    free(run);
    free(checkpoints);
    free(said);
    return st;
}

/* What was measured under other settings must not be taken for this: FOLDER/scale-settings.txt has
 * those that decide a run, in words. */
static ls_status compare_settings(const struct scale *scale)
{
    ls_status st = LS_OK;
    const struct scale_options *o = scale->options;
    struct text_file now = {0};
    char *path = NULL;
    char *before = NULL;
    LS_TRY(core_format(&path, "%s/scale-settings.txt", scale->folder));
    LS_TRY(text_file_open(&now));
    (void)fprintf(now.stream, "config %s\nscaling %s\nsteps %" PRId64 "\nwarm-up %" PRId64 "\n",
                  o->paths.values[0], o->strong ? "strong" : "weak", o->steps, o->warm_up);
    (void)fprintf(now.stream, "hosts %s\n", o->hosts != NULL ? o->hosts : "");
    for (int i = 0; i < o->set.count; i++)
        (void)fprintf(now.stream, "set %s\n", o->set.values[i]);
    if (files_exists(path))
        LS_TRY(files_read(&before, NULL, path, SETTINGS_BYTES_MAX));
    LS_TRY(text_file_write(&now, scale->folder,
                           before == NULL ? "scale-settings.txt" : "scale-settings.new"));
    if (before != NULL && strcmp(before, now.text) != 0)
        st = LS_FAIL(LS_USAGE,
                     "%s holds measurements under other settings (scale-settings.txt against "
                     "scale-settings.new): choose another --output, or remove it",
                     scale->folder);
done:
    text_file_close(&now);
    free(path);
    free(before);
    return st;
}

static ls_status measure_all(struct scale *scale)
{
    ls_status st = LS_OK;
    char *runs = NULL;
    char *title = NULL;
    const struct scale_options *options = scale->options;
    LS_TRY(core_format(&runs, "%s/runs", scale->folder));
    LS_TRY(files_make_folder(scale->folder));
    LS_TRY(compare_settings(scale));
    LS_TRY(files_make_folder(runs));
    LS_TRY(core_alloc(&scale->samples.list, scale->counts.count * options->repeats));
    for (int repeat = 1; repeat <= options->repeats; repeat++)
        for (int i = 0; i < scale->counts.count; i++)
            LS_TRY(measure(scale, scale->counts.list[i], repeat));
    LS_TRY(core_format(&title, "%s scaling of %s, %d worker%s a node%s%s",
                       options->strong ? "strong" : "weak", options->paths.values[0],
                       scale->config->tasks_per_node, scale->config->tasks_per_node == 1 ? "" : "s",
                       options->note != NULL ? ", " : "",
                       options->note != NULL ? options->note : ""));
    LS_TRY(scale_report(scale->folder, title, &scale->samples));
done:
    free(runs);
    free(title);
    return st;
}

/* The words of this command, for a shell, without --submit. */
static ls_status own_words(char **out, const struct scale *scale)
{
    ls_status st = LS_OK;
    const struct scale_options *o = scale->options;
    char *text = NULL;
    LS_TRY(core_format(&text,
                       "'%s' scale '%s' --nodes %s --repeats %" PRId64 " --steps %" PRId64
                       " --warm-up %" PRId64 " --output '%s'%s",
                       scale->self, o->paths.values[0], o->nodes, o->repeats, o->steps, o->warm_up,
                       scale->folder, o->strong ? " --strong" : ""));
    for (int i = 0; i < o->set.count; i++) {
        char *longer = NULL;
        if (strchr(o->set.values[i], '\'') != NULL) {
            st = LS_FAIL(LS_USAGE, "--set %s: no ' with --submit", o->set.values[i]);
            goto done;
        }
        LS_TRY(core_format(&longer, "%s --set '%s'", text, o->set.values[i]));
        free(text);
        text = longer;
    }
    *out = text;
    text = NULL;
done:
    free(text);
    return st;
}

static ls_status submit(const struct scale *scale)
{
    ls_status st = LS_OK;
    char *command = NULL;
    LS_TRY(files_make_folder(scale->folder));
    LS_TRY(own_words(&command, scale));
    LS_TRY(scale_submit(scale->config, most_nodes(scale), command, scale->folder));
done:
    free(command);
    return st;
}

static ls_status run_scale(const void *given)
{
    ls_status st = LS_OK;
    const struct scale_options *options = given;
    struct scale scale = {.options = options};
    if (options->weak && options->strong)
        return LS_FAIL(LS_USAGE, "--weak and --strong: one of them");
    if (options->nodes == NULL)
        return LS_FAIL(LS_USAGE, "--nodes is wanted: the node counts, for example 1,2,4");
    LS_TRY(node_counts_read(&scale.counts, options->nodes));
    LS_TRY(config_stages_open(&scale.stages, options->paths.values[0], options->set.values,
                              options->set.count));
    scale.config = scale.stages.list[0];
    LS_TRY(allocation_open(&scale.allocation, options->hosts));
    LS_TRY(check_counts(&scale));
    LS_TRY(processes_find_self(&scale.self));
    LS_TRY(measure_gradient(&scale));
    if (options->output != NULL)
        LS_TRY(files_absolute(&scale.folder, options->output));
    else
        LS_TRY(core_format(&scale.folder, "%s-scale", scale.config->folder));
    LS_TRY(options->submit ? submit(&scale) : measure_all(&scale));
done:
    allocation_close(&scale.allocation);
    config_stages_close(&scale.stages);
    free(scale.samples.list);
    free(scale.self);
    free(scale.folder);
    return st;
}

static const struct option table[] = {
    {.name = "nodes",
     .type = OPTION_TEXT,
     .offset = offsetof(struct scale_options, nodes),
     .word = "LIST",
     .help = "Node counts, by commas: 1,2,4,8.  Each has tasks_per_node workers a node."},
    {.name = "weak",
     .type = OPTION_FLAG,
     .offset = offsetof(struct scale_options, weak),
     .help = "The step grows with the nodes (the default): micro-batches = nodes x "
             "tasks_per_node."},
    {.name = "strong",
     .type = OPTION_FLAG,
     .offset = offsetof(struct scale_options, strong),
     .help = "The step stays the config's; more nodes share it."},
    {.name = "repeats",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct scale_options, repeats),
     .word = "N",
     .initial = "3",
     .low = 1,
     .high = 100,
     .help = "Runs at each count, in turn."},
    {.name = "steps",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct scale_options, steps),
     .word = "N",
     .initial = "20",
     .low = 1,
     .high = 100000,
     .help = "Measured steps of a run."},
    {.name = "warm-up",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct scale_options, warm_up),
     .word = "N",
     .initial = "5",
     .low = 0,
     .high = 100000,
     .help = "Steps before them that are not measured."},
    {.name = "hosts",
     .type = OPTION_TEXT,
     .offset = offsetof(struct scale_options, hosts),
     .word = "LIST",
     .help = "Machines where no SLURM gives them: node1,node2,...; a count takes the first ones."},
    {.name = "submit",
     .type = OPTION_FLAG,
     .offset = offsetof(struct scale_options, submit),
     .help = "Submit it as one SLURM job with the largest count's nodes, in which all counts are "
             "run."},
    {.name = "output",
     .letter = 'o',
     .type = OPTION_TEXT,
     .offset = offsetof(struct scale_options, output),
     .word = "DIR",
     .help = "Where table, CSV, plots and the runs go; FOLDER-scale without it.  What it holds is "
             "not measured again; settings must be the same."},
    {.name = "note",
     .type = OPTION_TEXT,
     .offset = offsetof(struct scale_options, note),
     .word = "TEXT",
     .help = "A few words for the title, for example the kind of network."},
    {.name = "set",
     .type = OPTION_LIST,
     .offset = offsetof(struct scale_options, set),
     .word = "KEY=VALUE",
     .help = "Replace one value of the config; may be given many times."},
};

const struct command command_scale = {
    .name = "scale",
    .arguments = "CONFIG.yaml",
    .summary = "measures a training step at several node counts: table, CSV and plot",
    .details = "Trains for some steps at each node count, several times in turn, and writes "
               "scale.txt, scale.csv, scale.png and scale.svg: clips/s, efficiency, and the shares "
               "of a step that are waited for data, network and slower ranks.",
    .arguments_least = 1,
    .arguments_most = 1,
    .arguments_offset = offsetof(struct scale_options, paths),
    .options = table,
    .option_count = sizeof table / sizeof table[0],
    .bytes = sizeof(struct scale_options),
    .run = run_scale,
};
