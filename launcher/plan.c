/* `lockstep plan`: memory, step time and scaling of a config before a job is submitted, from parts
 * that were measured. */
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config_stages.h"
#include "core/files.h"
#include "launcher/commands.h"
#include "launcher/forecast.h"
#include "launcher/node_counts.h"
#include "launcher/page.h"
#include "launcher/plan_memory.h"
#include "launcher/plan_work.h"
#include "launcher/scale.h"
#include "launcher/text_file.h"

enum { CSV_BYTES_MAX = 1 << 20, BUCKETS_WANTED = 16, DRAWN_TO = 64 };

/* Ethernet, IP and TCP headers leave this share of a link to the data. */
#define LINK_SHARE 0.94

struct plan_options {
    struct option_list paths; /* one */
    struct option_list set;
    const char *nodes, *profile, *allreduce, *gpu, *output;
    int64_t link_mbit, latency_us, utilisation, cpu_percent;
    bool strong;
};

/* Cards whose speed was measured; others are not guessed at. */
static const struct card {
    const char *name;
    double bf16_flops; /* of large products, measured */
    double memory_bytes;
} cards[] = {{"H100", 798e12, 80e9}, {"H200", 798e12, 141e9}};

static const char *const card_names[] = {"H100", "H200", NULL};

struct plan {
    const struct plan_options *options;
    const struct config_stages *stages;
    const struct config *config;
    struct plan_work work;
    struct forecast_parts parts;
    const struct card *card;
    const char *source; /* of the time of a micro-batch */
};

/* The line of an all-reduce CSV that is nearest in size to the gradient, since its buckets follow
 * each other: the rate a rank has on the bus, and the CPU time of a byte. */
static ls_status read_allreduce(struct forecast_parts *parts, const char *path)
{
    ls_status st = LS_OK;
    char *text = NULL;
    double nearest = INFINITY;
    LS_TRY(files_read(&text, NULL, path, CSV_BYTES_MAX));
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        int ranks = 0;
        double bytes = 0;
        double seconds = 0;
        double cpu_s = 0;
        line += *line == '\n';
        if (sscanf(line, "%d,%lf,%lf,%lf", &ranks, &bytes, &seconds, &cpu_s) != 4 || ranks < 2 ||
            !(bytes > 0) || !(seconds > 0))
            continue;
        double bus = 2.0 * bytes * (ranks - 1) / ranks;
        if (fabs(log(bytes / parts->gradient_bytes)) < nearest) {
            nearest = fabs(log(bytes / parts->gradient_bytes));
            parts->link_bytes_s = bus / seconds;
            parts->cpu_s_a_byte = cpu_s / bus;
        }
    }
    if (isinf(nearest))
        st = LS_FAIL(LS_DATA, "%s: no line of `mpirun bench_allreduce --csv` with 2 ranks or more",
                     path);
done:
    free(text);
    return st;
}

/* One worker's micro-batch, from the smallest node count that was measured. */
static ls_status read_profile(struct plan *plan)
{
    ls_status st = LS_OK;
    struct scale_samples samples = {0};
    double sum = 0;
    double scatter = 0;
    int count = 0;
    LS_TRY(scale_load(&samples, plan->options->profile));
    const struct scale_sample *least = &samples.list[0];
    for (int i = 1; i < samples.count; i++)
        if (samples.list[i].nodes < least->nodes)
            least = &samples.list[i];
    double wanted = plan->config->data.batch_size;
    for (int i = 0; i < samples.count; i++) {
        const struct scale_sample *s = &samples.list[i];
        if (s->nodes != least->nodes)
            continue;
        double micro_batches = ceil(s->clips / wanted / s->workers);
        sum += (s->step_s - s->comm_wait_s - s->rank_wait_s) / micro_batches;
        scatter += s->scatter;
        count++;
    }
    if (fabs(fmod(least->clips, wanted)) > 0.01 * wanted) {
        st = LS_FAIL(LS_USAGE,
                     "%s was measured with another data.batch_size: its steps have %g clips",
                     plan->options->profile, least->clips);
        goto done;
    }
    plan->parts.micro_s = sum / count;
    plan->parts.scatter = scatter / count;
    plan->source = "measured";
done:
    free(samples.list);
    return st;
}

static ls_status from_card(struct plan *plan)
{
    if (plan->options->gpu == NULL)
        return LS_FAIL(LS_USAGE, "--profile FOLDER (of `lockstep scale CONFIG --nodes 1`) or --gpu "
                                 "NAME is wanted: the time of a step is not guessed");
    for (size_t i = 0; i < sizeof cards / sizeof cards[0]; i++)
        if (strcmp(cards[i].name, plan->options->gpu) == 0)
            plan->card = &cards[i];
    plan->parts.micro_s =
        plan->work.flops / (plan->card->bf16_flops * (double)plan->options->utilisation / 100);
    plan->source = "assumed from --utilisation";
    return LS_OK;
}

static ls_status find_parts(struct plan *plan)
{
    ls_status st = LS_OK;
    struct forecast_parts *parts = &plan->parts;
    const struct config *config = plan->config;
    double bucket = (double)((int64_t)config->run.bucket_mb << 20);
    *parts = (struct forecast_parts){
        .micro_batches = plan->options->strong ? config->micro_batches : 0,
        .backward_share = plan->work.backward_share,
        .clips = config->data.batch_size,
        .gradient_bytes = plan->work.gradient_bytes,
        .link_bytes_s = (double)plan->options->link_mbit * 1e6 / 8 * LINK_SHARE,
        .latency_s = (double)plan->options->latency_us * 1e-6,
        .cores = plan->options->cpu_percent > 0 ? (double)plan->options->cpu_percent / 100
                 : config->run.threads > 0      ? config->run.threads
                                                : 1,
        .workers_a_node = config->tasks_per_node,
        .within_nodes = plan->options->gpu != NULL || config->run.device == CONFIG_DEVICE_CUDA};
    parts->buckets = (int)ceil(plan->work.gradient_bytes / bucket);
    if (parts->buckets < BUCKETS_WANTED)
        parts->buckets = BUCKETS_WANTED;
    if (plan->options->allreduce != NULL)
        LS_TRY(read_allreduce(parts, plan->options->allreduce));
    LS_TRY(plan->options->profile != NULL ? read_profile(plan) : from_card(plan));
    if (parts->link_bytes_s <= 0)
        st = LS_FAIL(LS_USAGE, "--link MBIT (of a node) or --allreduce CSV (of bench_allreduce) is "
                               "wanted: the network decides how far a run scales");
done:
    return st;
}

/* What the model takes; the state alone where the worker cannot be asked. */
static void print_memory(const struct plan *plan)
{
    struct plan_memory m;
    bool card = plan->parts.within_nodes;
    if (plan_memory(&m, plan->stages, card) != LS_OK) {
        page_row("memory", "state %.2f GB a worker; the rest is not known: %s",
                 plan->work.state_bytes / 1e9, status_message());
        status_clear();
        return;
    }
    double all = m.state + m.activations + m.clips + (m.workspace > 0 ? m.workspace : 0);
    char workspace[64] = "";
    if (m.workspace >= 0)
        (void)snprintf(workspace, sizeof workspace, ", workspace %.2f", m.workspace / 1e9);
    page_row("memory", "%.2f GB a worker in %s: state %.2f, activations %.2f, clips %.2f%s%s%s",
             all / 1e9, m.bf16 ? "bfloat16" : "float32", m.state / 1e9, m.activations / 1e9,
             m.clips / 1e9, workspace,
             card ? "; operators' workspace and NCCL's buffers come on top" : "",
             plan->card != NULL && all > plan->card->memory_bytes ? "; more than the card has"
                                                                  : "");
}

static void print_head(const struct plan *plan)
{
    const struct plan_work *w = &plan->work;
    const struct config *config = plan->config;
    const struct forecast_parts *p = &plan->parts;
    page_row("model", "%s, %.1f M parameters, gradient %.1f MB in %d buckets",
             config->model.model_name, (double)w->parameters / 1e6, w->gradient_bytes / 1e6,
             p->buckets);
    page_row("micro-batch",
             "%d clips of %d x %d x %d, %d tokens each: %.3f TFLOP, %.0f %% in backward",
             config->data.batch_size, w->frames, config->data.crop_height, config->data.crop_width,
             w->tokens, w->flops / 1e12, 100 * w->backward_share);
    page_row("its time", "%.4f s (%s), %.2f TFLOP/s; steps scatter by %.1f %%", p->micro_s,
             plan->source, w->flops / p->micro_s / 1e12, 100 * p->scatter);
    print_memory(plan);
    page_row("network", "%.2f Gbit/s a node for data, %.1f ns of CPU a byte; %.2g cores a worker",
             p->link_bytes_s * 8e-9, p->cpu_s_a_byte * 1e9, p->cores);
}

static void print_table(FILE *out, const struct plan *plan, const struct node_counts *counts)
{
    (void)fprintf(out, "%5s %7s %9s %10s %10s %10s %10s %s\n", "nodes", "workers", "step s",
                  "clips/s", "efficiency", "network s", "exposed s", "bound by");
    for (int i = 0; i < counts->count; i++) {
        struct forecast f;
        forecast_step(&f, &plan->parts, counts->list[i]);
        (void)fprintf(out, "%5d %7d %9.4f %10.2f %8.1f %% %10.4f %10.4f %s\n", counts->list[i],
                      counts->list[i] * plan->parts.workers_a_node, f.step_s, f.clips_per_s,
                      100 * f.efficiency, f.network_s, f.exposed_s, f.bound);
    }
}

static void write_csv(FILE *out, const struct plan *plan, const struct node_counts *counts)
{
    struct forecast f;
    (void)fputs("nodes,workers,step_s,clips_per_s,efficiency,network_s,exposed_s,bound\n", out);
    for (int i = 0; i < counts->count; i++) {
        forecast_step(&f, &plan->parts, counts->list[i]);
        (void)fprintf(out, "%d,%d,%.6f,%.4f,%.4f,%.6f,%.6f,%s\n", counts->list[i],
                      counts->list[i] * plan->parts.workers_a_node, f.step_s, f.clips_per_s,
                      f.efficiency, f.network_s, f.exposed_s, f.bound);
    }
}

static void write_curve(FILE *out, const struct plan *plan)
{
    struct forecast f;
    char *svg = NULL;
    (void)fputs("$curve << EOD\n", out);
    for (int nodes = 1; nodes <= DRAWN_TO; nodes++) {
        forecast_step(&f, &plan->parts, nodes);
        (void)fprintf(out, "%d %.6g %.6g\n", nodes, 100 * f.efficiency,
                      100 * f.exposed_s / f.step_s);
    }
    (void)fputs("EOD\nset terminal svg size 720,420 font 'sans,11' background 'white'\n", out);
    if (core_format(&svg, "%s/plan.svg", plan->options->output) == LS_OK)
        text_file_quote(out, "set output ", svg);
    (void)fputs("set xlabel 'nodes'\nset ylabel '%'\nset yrange [0:110]\nset logscale x 2\n"
                "set border 3\nset xtics nomirror\nset ytics nomirror\n"
                "set grid ytics lc rgb '#dddddd'\nset key bottom left\n"
                "plot $curve using 1:2 with lines lw 2 lc rgb '#1f6fb4' title 'efficiency, "
                "forecast', '' using 1:3 with lines lw 2 lc rgb '#d1495b' title 'of a step: "
                "network not hidden'\n",
                out);
    free(svg);
}

/* plan.csv, and the curve to 64 nodes. */
static ls_status write_files(const struct plan *plan, const struct node_counts *counts)
{
    ls_status st = LS_OK;
    const char *folder = plan->options->output;
    struct text_file csv = {0};
    struct text_file script = {0};
    LS_TRY(files_make_folder(folder));
    LS_TRY(text_file_open(&csv));
    write_csv(csv.stream, plan, counts);
    LS_TRY(text_file_write(&csv, folder, "plan.csv"));
    LS_TRY(text_file_open(&script));
    write_curve(script.stream, plan);
    LS_TRY(text_file_write(&script, folder, "plan.gnuplot"));
    LS_TRY(text_file_plot(folder, "plan.gnuplot"));
done:
    text_file_close(&csv);
    text_file_close(&script);
    return st;
}

static ls_status run_plan(const void *given)
{
    ls_status st = LS_OK;
    const struct plan_options *options = given;
    struct config_stages stages = {0};
    struct plan plan = {.options = options, .stages = &stages};
    struct node_counts counts;
    LS_TRY(node_counts_read(&counts, options->nodes));
    LS_TRY(config_stages_open(&stages, options->paths.values[0], options->set.values,
                              options->set.count));
    plan.config = stages.list[0];
    LS_TRY(plan_work(&plan.work, plan.config));
    LS_TRY(find_parts(&plan));
    print_head(&plan);
    print_table(stdout, &plan, &counts);
    if (options->output != NULL)
        LS_TRY(write_files(&plan, &counts));
done:
    config_stages_close(&stages);
    return st;
}

static const struct option table[] = {
    {.name = "nodes",
     .type = OPTION_TEXT,
     .offset = offsetof(struct plan_options, nodes),
     .word = "LIST",
     .initial = "1,2,4,8,16,32,64",
     .help = "Node counts to forecast."},
    {.name = "profile",
     .type = OPTION_TEXT,
     .offset = offsetof(struct plan_options, profile),
     .word = "DIR",
     .help = "Output folder of `lockstep scale CONFIG --nodes 1`: the time of a step is taken from "
             "its smallest node count."},
    {.name = "gpu",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct plan_options, gpu),
     .word = "NAME",
     .choices = card_names,
     .help = "Without a profile: FLOPs over this card's measured speed."},
    {.name = "utilisation",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct plan_options, utilisation),
     .word = "PERCENT",
     .low = 1,
     .high = 100,
     .initial = "45",
     .help = "With --gpu: the share of that speed which a step is assumed to reach."},
    {.name = "link",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct plan_options, link_mbit),
     .word = "MBIT",
     .low = 1,
     .high = 10000000,
     .help = "A node's network, in Mbit/s each way."},
    {.name = "allreduce",
     .type = OPTION_TEXT,
     .offset = offsetof(struct plan_options, allreduce),
     .word = "CSV",
     .help = "In its place: what `mpirun bench_allreduce --csv` measured between nodes."},
    {.name = "latency",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct plan_options, latency_us),
     .word = "US",
     .low = 0,
     .high = 10000000,
     .initial = "500",
     .help = "Microseconds of a step's small exchanges between all ranks."},
    {.name = "cpu",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct plan_options, cpu_percent),
     .word = "PERCENT",
     .low = 0,
     .high = 1000000,
     .help = "CPU of a worker, in percent of a core, that computing and the network share; 0: a "
             "core for each of lockstep.threads."},
    {.name = "strong",
     .type = OPTION_FLAG,
     .offset = offsetof(struct plan_options, strong),
     .help = "The step stays the config's; without it, it grows with the nodes."},
    {.name = "output",
     .letter = 'o',
     .type = OPTION_TEXT,
     .offset = offsetof(struct plan_options, output),
     .word = "DIR",
     .help = "Also write plan.csv and, where gnuplot is, plan.svg: the curve to 64 nodes."},
    {.name = "set",
     .type = OPTION_LIST,
     .offset = offsetof(struct plan_options, set),
     .word = "KEY=VALUE",
     .help = "Replace one value of the config; may be given many times."},
};

const struct command command_plan = {
    .name = "plan",
    .arguments = "CONFIG.yaml",
    .summary = "forecasts step time, efficiency and what bounds them at many nodes",
    .details = "Computes what a step takes at each node count from measured parts: a worker's "
               "micro-batch (--profile), the network (--allreduce or --link), and how much of the "
               "all-reduce backward can hide.  docs/operations.md has the formulas.",
    .arguments_least = 1,
    .arguments_most = 1,
    .arguments_offset = offsetof(struct plan_options, paths),
    .options = table,
    .option_count = sizeof table / sizeof table[0],
    .bytes = sizeof(struct plan_options),
    .run = run_plan,
};
