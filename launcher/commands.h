/* The commands of `lockstep` and what their command lines fill.  command_list.c lists them;
 * `inspect` and `verify` ask the kinds of path (below) in turn which of them a path is. */
#ifndef LOCKSTEP_LAUNCHER_COMMANDS_H
#define LOCKSTEP_LAUNCHER_COMMANDS_H

#include "launcher/options.h"

struct inspect_options {
    struct option_list paths; /* one */
    bool json;
    const char *video; /* one video of a dataset */
    bool framemd5;     /* of that video: an MD5 of each shown frame */
    bool random;       /* of these: every frame read by itself */
    /* Of a dataset: what a pack with these options would make of it. */
    double gop_s;
    int64_t short_side;
    double dear_millions;
};

struct verify_options {
    struct option_list paths; /* one */
};

/* A kind of thing that a path can be. */
struct path_kind {
    const char *name; /* "checkpoint" */
    /* Whether `path` is one, by looking at names and first bytes only. */
    bool (*recognises)(const char *path);
    /* Print its page to stdout.  A kind refuses options that mean nothing to it (LS_USAGE). */
    ls_status (*inspect)(const char *path, const struct inspect_options *options);
    /* Check everything; one line to stdout for each damage and a summary.  NULL: nothing to check.
     * Errors: the first damage. */
    ls_status (*verify)(const char *path, const struct verify_options *options);
};

extern const struct path_kind path_kind_dataset;          /* its folder */
extern const struct path_kind path_kind_dataset_shard;    /* shard-00000.h5 */
extern const struct path_kind path_kind_checkpoint;       /* its folder, or `latest` */
extern const struct path_kind path_kind_checkpoint_shard; /* shard-0000-of-0002.h5 */
extern const struct path_kind path_kind_export;           /* a folder with model.safetensors */
extern const struct path_kind path_kind_run;              /* a run folder */
extern const struct path_kind path_kind_config;           /* a YAML file */

extern const struct command command_export;
extern const struct command command_features;
extern const struct command command_import;
extern const struct command command_pack;
extern const struct command command_plan;
extern const struct command command_probe;
extern const struct command command_scale;
extern const struct command command_show;
extern const struct command command_train;
extern const struct command command_submit;
extern const struct command command_plot;
extern const struct command command_report;
extern const struct command command_status;
extern const struct command command_cancel;
extern const struct command command_inspect;
extern const struct command command_verify;

/* All of them, in the order of `lockstep help`; closed by NULL. */
extern const struct command *const commands_all[];

#endif
