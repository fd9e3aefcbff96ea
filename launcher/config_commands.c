/* inspect of a config: check it, show it with everything resolved. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "core/files.h"
#include "launcher/commands.h"
#include "launcher/json.h"

static bool is_config(const char *path)
{
    size_t length = strlen(path);
    bool yaml = (length > 5 && strcmp(path + length - 5, ".yaml") == 0) ||
                (length > 4 && strcmp(path + length - 4, ".yml") == 0);
    return yaml && !files_is_folder(path);
}

static ls_status inspect_config(const char *path, const struct inspect_options *options)
{
    ls_status st = LS_OK;
    struct config *config = NULL;
    char *text = NULL;
    if (options->video != NULL || options->framemd5)
        return LS_FAIL(LS_USAGE, "%s: --video and --framemd5 are for datasets", path);
    LS_TRY(config_open(&config, path, NULL, 0));
    config_warn(config);
    LS_TRY(config_dump(&text, config));
    if (options->json) {
        cJSON *root = cJSON_CreateObject();
        json_text(root, "kind", "config");
        json_text(root, "path", path);
        json_number(root, "micro_batches", config->micro_batches);
        json_number(root, "steps", (double)config->optimization.total_steps);
        json_text(root, "config", text);
        LS_TRY(json_print(&root));
        goto done;
    }
    (void)printf("# %s: %d micro-batches of %d clips a step, ", path, config->micro_batches,
                 config->data.batch_size);
    if (config->optimization.total_steps > 0)
        (void)printf("%" PRId64 " steps\n", config->optimization.total_steps);
    else
        (void)printf("steps as the data gives them\n");
    (void)fputs(text, stdout);
done:
    free(text);
    config_close(&config);
    return st;
}

const struct path_kind path_kind_config = {"config", is_config, inspect_config, NULL};
