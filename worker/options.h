/* The command line of lockstep-worker (core/run.h says how the launcher fills it). */
#ifndef LOCKSTEP_WORKER_OPTIONS_H
#define LOCKSTEP_WORKER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/config.h"
#include "core/status.h"
#include "core/trace.h"

enum worker_progress { WORKER_PROGRESS_AUTO, WORKER_PROGRESS_BAR, WORKER_PROGRESS_LINES };

struct worker_options {
    const char *run; /* run folder, borrowed from argv */
    int64_t run_epoch;
    int64_t stop_at;            /* stop as if asked after this step; 0: not */
    int64_t beat_s;             /* between signs of life on stderr; 0: none */
    struct trace_steps profile; /* first 0: none */
    enum worker_progress progress;
    bool device_given;
    enum config_device device; /* in place of the config's, when given */
    bool probe;                /* RUN/probe.yaml is wanted, not a training run */
    const char *features;      /* write features to this file, do not probe; borrowed from argv */
    bool tokens;               /* of every token, not their mean */
    bool show;                 /* a picture by RUN/show.json is wanted, nothing else */
    bool help;                 /* only the help is wanted */
    bool memory;               /* only the memory plan is */
};

/* Parse.  Local.  Errors: LS_USAGE. */
ls_status worker_options_parse(struct worker_options *out, int argc, char **argv) LS_MUST_CHECK;

/* Print what the options mean to stdout.  Local. */
void worker_options_help(void);

#endif
