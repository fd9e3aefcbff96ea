/* `lockstep export` and `lockstep import`: weights to and from folders that transformers reads. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/export.h"
#include "core/files.h"
#include "launcher/commands.h"
#include "launcher/page.h"

struct export_command {
    struct option_list paths; /* one */
    const char *output;
    const char *which;
    const char *dtype;
};

/* A run stands for its newest checkpoint. */
static ls_status open_checkpoint(struct checkpoint **out, const char *path)
{
    ls_status st = LS_OK;
    char *latest = NULL;
    LS_TRY(core_format(&latest, "%s/checkpoints/latest", path));
    LS_TRY(checkpoint_open(out, files_exists(latest) ? latest : path));
done:
    free(latest);
    return st;
}

static ls_status run_export(const void *given)
{
    ls_status st = LS_OK;
    const struct export_command *command = given;
    struct checkpoint *checkpoint = NULL;
    struct export_result result = {0};
    struct export_options options = {.folder = command->output,
                                     .online = strcmp(command->which, "online") == 0,
                                     .bfloat16 = strcmp(command->dtype, "bfloat16") == 0};
    if (command->output == NULL)
        return LS_FAIL(LS_USAGE, "export: where to? give the folder by -o DIR");
    LS_TRY(open_checkpoint(&checkpoint, command->paths.values[0]));
    LS_TRY(checkpoint_export(&result, checkpoint, &options));
    page_row("exported", "%s", command->output);
    page_row("checkpoint", "%s", checkpoint_info(checkpoint)->path);
    page_row("encoder", "%s", options.online ? "online" : "target (the moving average)");
    page_row("model", "%d tensors, %.1f MB in %s", result.tensors, (double)result.bytes * 1e-6,
             command->dtype);
    if (result.resumed > 0)
        page_row("", "%.1f MB of it were there already", (double)result.resumed * 1e-6);
done:
    checkpoint_close(&checkpoint);
    return st;
}

static const char *const encoders[] = {"target", "online", NULL};
static const char *const dtypes[] = {"float32", "bfloat16", NULL};

static const struct option export_table[] = {
    {.name = "output",
     .letter = 'o',
     .type = OPTION_TEXT,
     .offset = offsetof(struct export_command, output),
     .word = "DIR",
     .help = "The folder to make.  DIR.partial is written first; an export that was stopped goes "
             "on when it is given again."},
    {.name = "which",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct export_command, which),
     .word = "ENCODER",
     .initial = "target",
     .choices = encoders,
     .help = "Which encoder: the target, whose weights are the moving average and which "
             "evaluations use, or the online one, which is trained."},
    {.name = "dtype",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct export_command, dtype),
     .word = "TYPE",
     .initial = "float32",
     .choices = dtypes,
     .help = "Type of the stored weights; bfloat16 is rounded to nearest."},
};

const struct command command_export = {
    .name = "export",
    .arguments = "CHECKPOINT",
    .summary = "a checkpoint's weights as a folder that transformers loads",
    .details = "Writes encoder and predictor of CHECKPOINT (a checkpoint's folder, or a run: its "
               "newest) with the names of Hugging Face transformers: "
               "VJEPA2Model.from_pretrained(DIR) loads it.  A mask token that was never trained "
               "gets the values of the trained one; DIR/lockstep.json says which, and which "
               "encoder of which checkpoint it is.",
    .arguments_least = 1,
    .arguments_most = 1,
    .arguments_offset = offsetof(struct export_command, paths),
    .options = export_table,
    .option_count = sizeof export_table / sizeof export_table[0],
    .bytes = sizeof(struct export_command),
    .run = run_export,
};
