/* inspect of a config: check it, show it with everything resolved. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config_stages.h"
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

static cJSON *stage_json(const struct config *config)
{
    cJSON *one = cJSON_CreateObject();
    json_text(one, "name", config->name != NULL ? config->name : "");
    json_number(one, "micro_batches", config->micro_batches);
    json_number(one, "steps", (double)config->optimization.total_steps);
    json_number(one, "first_step", (double)config->first_step);
    return one;
}

static ls_status print_json(const char *path, const struct config_stages *stages, const char *text)
{
    const struct config *first = stages->list[0];
    cJSON *root = cJSON_CreateObject();
    json_text(root, "kind", "config");
    json_text(root, "path", path);
    json_number(root, "micro_batches", first->micro_batches);
    json_number(root, "steps", (double)config_stages_steps(stages));
    cJSON *list = cJSON_AddArrayToObject(root, "stages");
    for (int i = 0; i < stages->count; i++)
        (void)cJSON_AddItemToArray(list, stage_json(stages->list[i]));
    json_text(root, "config", text);
    return json_print(&root);
}

static void print_stage(const char *path, const struct config *config)
{
    (void)printf("# %s: ", path);
    if (config->stage_count > 1)
        (void)printf("stage %d of %d%s%s: ", config->stage + 1, config->stage_count,
                     config->name != NULL ? ", " : "", config->name != NULL ? config->name : "");
    (void)printf("%d micro-batches of %d clips a step, ", config->micro_batches,
                 config->data.batch_size);
    if (config->optimization.total_steps > 0)
        (void)printf("%" PRId64 " steps\n", config->optimization.total_steps);
    else
        (void)printf("steps as the data gives them\n");
}

static ls_status inspect_config(const char *path, const struct inspect_options *options)
{
    ls_status st = LS_OK;
    struct config_stages stages = {0};
    char *text = NULL;
    if (options->video != NULL || options->framemd5)
        return LS_FAIL(LS_USAGE, "%s: --video and --framemd5 are for datasets", path);
    LS_TRY(config_stages_open(&stages, path, NULL, 0));
    LS_TRY(config_stages_resolve(&stages));
    for (int i = 0; i < stages.count; i++)
        config_warn(stages.list[i]);
    LS_TRY(config_stages_dump(&text, &stages));
    if (options->json) {
        LS_TRY(print_json(path, &stages, text));
        goto done;
    }
    for (int i = 0; i < stages.count; i++)
        print_stage(path, stages.list[i]);
    (void)fputs(text, stdout);
done:
    free(text);
    config_stages_close(&stages);
    return st;
}

const struct path_kind path_kind_config = {"config", is_config, inspect_config, NULL};
