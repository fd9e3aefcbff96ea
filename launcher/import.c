/* `lockstep import`: a run that begins with the weights of a folder. */
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#include "checkpoint/export.h"
#include "core/files.h"
#include "data/loader.h"
#include "launcher/commands.h"
#include "launcher/page.h"
#include "launcher/run_folder.h"

struct import_command {
    struct option_list paths; /* folder, config */
    struct option_list set;
    int64_t mask_token;
};

/* An import that was stopped may be given again: what it left is no run. */
static bool is_taken(const struct run_folder *folder)
{
    static const char *const marks[] = {"config.yaml", "metrics.jsonl", "checkpoints/latest"};
    bool taken = false;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        char *path = NULL;
        taken = taken || core_format(&path, "%s/%s", run_folder_path(folder), marks[i]) != LS_OK ||
                files_exists(path);
        free(path);
    }
    return taken;
}

static ls_status import_into(struct run_folder *folder, const struct config *config,
                             const struct import_command *command)
{
    ls_status st = LS_OK;
    char *checkpoints = NULL;
    struct import_result result = {0};
    struct import_options options = {.folder = command->paths.values[0],
                                     .config = config,
                                     .mask_token = (int)command->mask_token};
    if (is_taken(folder)) {
        st = LS_FAIL(LS_USAGE, "%s holds a run already; give another by --set folder=RUN",
                     run_folder_path(folder));
        goto done;
    }
    LS_TRY(core_format(&checkpoints, "%s/checkpoints", run_folder_path(folder)));
    LS_TRY(run_folder_next_epoch(&options.run_epoch, folder));
    options.checkpoints = checkpoints;
    LS_TRY(checkpoint_import(&result, &options));
    page_row("imported", "%s", options.folder);
    page_row("run", "%s, step 0", run_folder_path(folder));
    page_row("model", "%d tensors", result.tensors);
    page_row("target encoder", "%s", result.target ? "its own" : "the same as the encoder");
done:
    free(checkpoints);
    return st;
}

static ls_status run_import(const void *given)
{
    ls_status st = LS_OK;
    const struct import_command *command = given;
    struct config *config = NULL;
    struct run_folder *folder = NULL;
    LS_TRY(config_open(&config, command->paths.values[1], command->set.values, command->set.count));
    LS_TRY(loader_check(config));
    LS_TRY(run_folder_open(&folder, config->folder));
    LS_TRY(import_into(folder, config, command));
done:
    run_folder_close(&folder);
    config_close(&config);
    return st;
}

static const struct option import_table[] = {
    {.name = "set",
     .type = OPTION_LIST,
     .offset = offsetof(struct import_command, set),
     .word = "KEY=VALUE",
     .help = "Replace one value of the config, for example folder=RUN; may be given many times."},
    {.name = "mask-token",
     .type = OPTION_INTEGER,
     .offset = offsetof(struct import_command, mask_token),
     .word = "K",
     .initial = "-1",
     .low = -1,
     .high = 4096,
     .help = "All mask tokens of the run begin as this one of the folder.  Without it (-1) the "
             "folder must have as many as the config (mask groups x datasets)."},
};

const struct command command_import = {
    .name = "import",
    .arguments = "DIR CONFIG.yaml",
    .summary = "begins a run with the weights of such a folder",
    .details = "Writes the checkpoint of step 0 into the run folder of CONFIG.yaml: weights are "
               "those of DIR/model.safetensors, with the names of transformers or of the public "
               "V-JEPA 2 code; the optimizer begins anew.  `lockstep train CONFIG.yaml` goes on "
               "from there.  Everything must fit the config's model: what does not is named, all "
               "of it.",
    .arguments_least = 2,
    .arguments_most = 2,
    .arguments_offset = offsetof(struct import_command, paths),
    .options = import_table,
    .option_count = sizeof import_table / sizeof import_table[0],
    .bytes = sizeof(struct import_command),
    .run = run_import,
};
