/* `lockstep inspect` and `lockstep verify`: find out what a path is and hand it to its kind. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "launcher/commands.h"

/* Asked in this order. */
static const struct path_kind *const kinds[] = {&path_kind_dataset,    &path_kind_dataset_shard,
                                                &path_kind_checkpoint, &path_kind_checkpoint_shard,
                                                &path_kind_export,     &path_kind_run,
                                                &path_kind_config};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static ls_status find_kind(const struct path_kind **out, const char *path)
{
    struct stat info;
    if (lstat(path, &info) != 0)
        return LS_FAIL(LS_IO, "%s: %s", path, strerror(errno));
    for (int i = 0; i < KINDS; i++) {
        if (!kinds[i]->recognises(path))
            continue;
        *out = kinds[i];
        return LS_OK;
    }
    return LS_FAIL(LS_USAGE,
                   "%s: neither a dataset nor a shard, a checkpoint, a run folder, an exported "
                   "folder or a config",
                   path);
}

static ls_status run_inspect(const void *given)
{
    const struct inspect_options *options = given;
    const char *path = options->paths.values[0];
    const struct path_kind *kind = NULL;
    ls_status st = find_kind(&kind, path);
    return st == LS_OK ? kind->inspect(path, options) : st;
}

static ls_status run_verify(const void *given)
{
    const struct verify_options *options = given;
    const char *path = options->paths.values[0];
    const struct path_kind *kind = NULL;
    ls_status st = find_kind(&kind, path);
    if (st == LS_OK && kind->verify == NULL)
        return LS_FAIL(LS_USAGE, "%s: a %s has no checksums to verify", path, kind->name);
    return st == LS_OK ? kind->verify(path, options) : st;
}

static const struct option inspect_table[] = {
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct inspect_options, json),
     .help = "One JSON object for scripts, with everything."},
    {.name = "video",
     .type = OPTION_TEXT,
     .offset = offsetof(struct inspect_options, video),
     .word = "NAME",
     .help = "Of a dataset: tell about this video."},
    {.name = "framemd5",
     .type = OPTION_FLAG,
     .offset = offsetof(struct inspect_options, framemd5),
     .help = "With --video: the MD5 of each shown frame's planes, one line a frame, as ffmpeg's "
             "framemd5 prints it."},
    {.name = "random",
     .type = OPTION_FLAG,
     .offset = offsetof(struct inspect_options, random),
     .help = "With --framemd5: read every frame by itself, as a loader does."},
    {.name = "gop",
     .type = OPTION_NUMBER,
     .offset = offsetof(struct inspect_options, gop_s),
     .word = "SECONDS",
     .initial = "1",
     .low = 0,
     .high = 3600,
     .help = "Of a dataset: tell what clips would cost after a pack with this --gop."},
    {.name = "short-side",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct inspect_options, short_side),
     .word = "N",
     .initial = "0",
     .low = 0,
     .high = 8192,
     .help = "The same with this --short-side."},
    {.name = "dear",
     .type = OPTION_NUMBER,
     .offset = offsetof(struct inspect_options, dear_millions),
     .word = "MILLIONS",
     .initial = "100",
     .low = 0,
     .high = 1000000000,
     .help = "The same with this --dear."},
};

const struct command command_inspect = {
    .name = "inspect",
    .arguments = "PATH",
    .summary = "what a dataset, shard, checkpoint, run or config holds",
    .details = "Tells what PATH is and what it holds: a packed dataset or one of its shards, a "
               "checkpoint (`latest` will do) or one of its shards, a run folder, or a config, "
               "which is checked and shown with all its defaults.",
    .arguments_least = 1,
    .arguments_most = 1,
    .arguments_offset = offsetof(struct inspect_options, paths),
    .options = inspect_table,
    .option_count = sizeof inspect_table / sizeof inspect_table[0],
    .bytes = sizeof(struct inspect_options),
    .run = run_inspect,
};

const struct command command_verify = {
    .name = "verify",
    .arguments = "PATH",
    .summary = "checks every checksum of a dataset, checkpoint or run",
    .details = "Reads every byte of PATH and compares it with its checksums: a packed dataset, a "
               "checkpoint, or all checkpoints of a run folder. Prints one line for each damage; "
               "the exit code is 0 when all is good and 1 when something is damaged.",
    .arguments_least = 1,
    .arguments_most = 1,
    .arguments_offset = offsetof(struct verify_options, paths),
    .bytes = sizeof(struct verify_options),
    .run = run_verify,
};
