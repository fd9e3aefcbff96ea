/* One table drives parsing and help, so that neither can know an option that the other does not. */
#include "worker/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_type { OPTION_COUNT, OPTION_CHOICE, OPTION_TEXT, OPTION_STEPS, OPTION_FLAG };

struct option {
    const char *name;
    enum option_type type;
    size_t offset;              /* in struct worker_options: an int64_t, or an int for a choice */
    size_t given;               /* of a bool that is set too; 0: none */
    const char *const *choices; /* closed by NULL */
    const char *value, *help;
};

static const char *const progress_choices[] = {"auto", "bar", "lines", NULL};
static const char *const device_choices[] = {"auto", "cpu", "cuda", "emulated", NULL};

#define AT(field) offsetof(struct worker_options, field)
static const struct option options[] = {
    {.name = "--run-epoch",
     .type = OPTION_COUNT,
     .offset = AT(run_epoch),
     .value = "E",
     .help = "number of this start of the run; commits of older ones are refused"},
    {.name = "--stop-at",
     .type = OPTION_COUNT,
     .offset = AT(stop_at),
     .value = "STEP",
     .help = "save and stop after this step, as if asked to"},
    {.name = "--beat",
     .type = OPTION_COUNT,
     .offset = AT(beat_s),
     .value = "SECONDS",
     .help = "between signs of life on stderr, for the launcher; none without it"},
    {.name = "--profile",
     .type = OPTION_STEPS,
     .offset = AT(profile),
     .value = "FIRST:LAST",
     .help = "a trace of these steps in RUN/profile, and NVIDIA's profiler switched on for them"},
    {.name = "--progress",
     .type = OPTION_CHOICE,
     .offset = AT(progress),
     .choices = progress_choices,
     .value = "auto|bar|lines",
     .help = "how rank 0 shows progress; auto: a bar on a terminal"},
    {.name = "--device",
     .type = OPTION_CHOICE,
     .offset = AT(device),
     .given = AT(device_given),
     .choices = device_choices,
     .value = "auto|cpu|cuda|emulated",
     .help = "in place of the config's lockstep.device"},
    {.name = "--probe",
     .type = OPTION_FLAG,
     .offset = AT(probe),
     .value = "",
     .help = "a frozen probe by RUN/probe.yaml in place of training by RUN/config.yaml"},
    {.name = "--memory",
     .type = OPTION_FLAG,
     .offset = AT(memory),
     .value = "",
     .help = "print what the model would take, as JSON, and end"},
    {.name = "--show",
     .type = OPTION_FLAG,
     .offset = AT(show),
     .value = "",
     .help = "the picture of a clip that RUN/show.json asks for, in place of training"},
    {.name = "--features",
     .type = OPTION_TEXT,
     .offset = AT(features),
     .value = "FILE",
     .help = "with --probe: write the training videos' features to FILE, and end"},
    {.name = "--tokens",
     .type = OPTION_FLAG,
     .offset = AT(tokens),
     .value = "",
     .help = "with --features: of every token, not their mean"},
    {.name = "--help", .type = OPTION_FLAG, .offset = AT(help), .value = "", .help = "this text"},
};
#undef AT

void worker_options_help(void)
{
    (void)printf("usage: lockstep-worker RUN [OPTIONS]\n"
                 "One rank of a training run; `lockstep train` starts as many as are wanted under "
                 "mpirun, `lockstep probe` likewise.\nRUN is the run folder with its "
                 "config.yaml (probe.yaml, show.json).\n\n");
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        (void)printf("  %-12s %-15s %s\n", options[i].name, options[i].value, options[i].help);
}

static ls_status parse_value(const struct option *option, const char *text, char *base)
{
    if (option->type == OPTION_COUNT) {
        char *end = NULL;
        errno = 0;
        long long value = strtoll(text, &end, 10);
        if (errno != 0 || end == text || *end != '\0' || value < 0)
            return LS_FAIL(LS_USAGE, "%s: '%s' is not a count", option->name, text);
        int64_t count = value;
        memcpy(base + option->offset, &count, sizeof count);
        return LS_OK;
    }
    if (option->type == OPTION_TEXT) {
        memcpy(base + option->offset, &text, sizeof text);
        return LS_OK;
    }
    if (option->type == OPTION_STEPS) {
        struct trace_steps steps = {0};
        ls_status st = trace_steps_parse(&steps, text);
        memcpy(base + option->offset, &steps, sizeof steps);
        return st;
    }
    for (int i = 0; option->choices[i] != NULL; i++)
        if (strcmp(option->choices[i], text) == 0) {
            memcpy(base + option->offset, &i, sizeof i);
            if (option->given != 0)
                base[option->given] = (char)true;
            return LS_OK;
        }
    return LS_FAIL(LS_USAGE, "%s: '%s' is none of %s", option->name, text, option->value);
}

static const struct option *find_option(const char *name)
{
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    return NULL;
}

ls_status worker_options_parse(struct worker_options *out, int argc, char **argv)
{
    _Static_assert(sizeof(enum worker_progress) == sizeof(int), "a choice is stored as an int");
    _Static_assert(sizeof(enum config_device) == sizeof(int), "a choice is stored as an int");
    *out = (struct worker_options){0};
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') {
            if (out->run != NULL)
                return LS_FAIL(LS_USAGE, "'%s': one run folder is enough", argv[i]);
            out->run = argv[i];
            continue;
        }
        const struct option *option = find_option(argv[i]);
        if (option == NULL)
            return LS_FAIL(LS_USAGE, "unknown option '%s' (lockstep-worker --help)", argv[i]);
        if (option->type == OPTION_FLAG) {
            ((char *)out)[option->offset] = (char)true;
            continue;
        }
        if (i + 1 == argc)
            return LS_FAIL(LS_USAGE, "%s: a value %s is missing", option->name, option->value);
        ls_status st = parse_value(option, argv[++i], (char *)out);
        if (st != LS_OK)
            return st;
    }
    if (out->run == NULL && !out->help)
        return LS_FAIL(LS_USAGE, "a run folder is needed (lockstep-worker --help)");
    return LS_OK;
}
