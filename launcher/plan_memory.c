#include "launcher/plan_memory.h"

#include <cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files.h"
#include "launcher/ask.h"
#include "launcher/processes.h"

static ls_status read_answer(struct plan_memory *out, const char *text)
{
    ls_status st = LS_OK;
    cJSON *json = cJSON_Parse(text);
    static const char *const names[] = {"weights", "gradient",    "moments",
                                        "ema",     "activations", "clips"};
    double bytes[sizeof names / sizeof names[0]];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bytes[i] = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(json, names[i]));
        if (!(bytes[i] >= 0)) {
            st = LS_FAIL(LS_FAILED, "lockstep-worker --memory told no '%s'", names[i]);
            goto done;
        }
    }
    const char *dtype = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "dtype"));
    double workspace = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(json, "workspace"));
    *out = (struct plan_memory){.state = bytes[0] + bytes[1] + bytes[2] + bytes[3],
                                .activations = bytes[4],
                                .clips = bytes[5],
                                .workspace = workspace >= 0 ? workspace : -1,
                                .bf16 = dtype != NULL && strcmp(dtype, "bfloat16") == 0};
done:
    cJSON_Delete(json);
    return st;
}

ls_status plan_memory(struct plan_memory *out, const struct config_stages *stages, bool card)
{
    ls_status st = LS_OK;
    const char *temporary = getenv("TMPDIR");
    char *folder = NULL;
    char *path = NULL;
    char *worker = NULL;
    char *config = NULL;
    char *said = NULL;
    bool made = false;
    LS_TRY(processes_find_worker(&worker));
    LS_TRY(core_format(&folder, "%s/lockstep-plan-XXXXXX",
                       temporary != NULL && temporary[0] != '\0' ? temporary : "/tmp"));
    made = mkdtemp(folder) != NULL;
    if (!made) {
        st = LS_FAIL(LS_IO, "%s: %s", folder, strerror(errno));
        goto done;
    }
    LS_TRY(core_format(&path, "%s/config.yaml", folder));
    LS_TRY(config_stages_dump(&config, stages));
    LS_TRY(files_replace(path, config, strlen(config)));
    const char *const words[] = {worker, folder, "--memory", "--device", card ? "cuda" : "cpu",
                                 NULL};
    LS_TRY(ask(&said, words));
    LS_TRY(read_answer(out, said));
done:
    if (made && files_remove(folder) != LS_OK && st == LS_OK)
        st = LS_IO;
    free(folder);
    free(path);
    free(worker);
    free(config);
    free(said);
    return st;
}
