/* The fence against a split brain: RUN/checkpoints/takeovers.json lists, for each start of the run,
 * the step that it went on from.  A commit of an older epoch beyond that step is by workers that
 * nobody watches any more.  Only the newest epoch's rank 0 writes the file. */
#include "checkpoint/fence.h"

#include <cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/layout.h"
#include "core/files.h"

enum { FENCE_LIMIT_BYTES = 16 << 20 };

static bool read_one(struct takeover *out, const cJSON *item)
{
    const cJSON *epoch = cJSON_GetObjectItemCaseSensitive(item, "run_epoch");
    const cJSON *step = cJSON_GetObjectItemCaseSensitive(item, "step");
    const double limit = 9007199254740992.0;
    if (!cJSON_IsNumber(epoch) || !cJSON_IsNumber(step) ||
        !(epoch->valuedouble >= 0.0 && epoch->valuedouble <= limit) ||
        !(step->valuedouble >= -1.0 && step->valuedouble <= limit))
        return false;
    out->run_epoch = (int64_t)epoch->valuedouble;
    out->step = (int64_t)step->valuedouble;
    return true;
}

ls_status fence_open(struct fence *out, const char *folder)
{
    ls_status st = LS_OK;
    struct fence fence = {0};
    char *path = NULL;
    char *text = NULL;
    cJSON *root = NULL;
    LS_TRY(core_format(&path, "%s/takeovers.json", folder));
    if (files_exists(path)) {
        LS_TRY(files_read(&text, NULL, path, FENCE_LIMIT_BYTES));
        root = cJSON_Parse(text);
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "takeovers");
        bool good = cJSON_IsArray(list);
        LS_TRY(core_alloc(&fence.takeovers, good ? cJSON_GetArraySize(list) : 0));
        const cJSON *item = NULL;
        cJSON_ArrayForEach(item, list)
        {
            good = good && read_one(&fence.takeovers[fence.count], item);
            fence.count++;
        }
        if (!good) {
            st = LS_FAIL(LS_CHECKPOINT,
                         "%s: damaged; remove it if no old workers of this run can still be alive",
                         path);
            goto done;
        }
    }
    *out = fence;
    fence.takeovers = NULL;
done:
    fence_close(&fence);
    cJSON_Delete(root);
    free(text);
    free(path);
    return st;
}

void fence_close(struct fence *fence)
{
    free(fence->takeovers);
    *fence = (struct fence){0};
}

int64_t fence_superseded(const struct fence *fence, int64_t run_epoch, int64_t step)
{
    for (int i = 0; i < fence->count; i++)
        if (fence->takeovers[i].run_epoch > run_epoch && fence->takeovers[i].step < step)
            return fence->takeovers[i].run_epoch;
    return -1;
}

ls_status fence_refuse(const char *folder, int64_t newer, int64_t run_epoch)
{
    return LS_FAIL(LS_FAILED,
                   "%s: start %" PRId64 " of the run has taken over from start %" PRId64
                   ": these workers may not write here any more",
                   folder, newer, run_epoch);
}

static ls_status check_newest(const struct fence *fence, const char *folder, int64_t run_epoch)
{
    for (int i = 0; i < fence->count; i++)
        if (fence->takeovers[i].run_epoch > run_epoch)
            return fence_refuse(folder, fence->takeovers[i].run_epoch, run_epoch);
    return LS_OK;
}

ls_status fence_check(const char *folder, int64_t run_epoch)
{
    struct fence fence;
    ls_status st = fence_open(&fence, folder);
    if (st != LS_OK)
        return st;
    st = check_newest(&fence, folder, run_epoch);
    fence_close(&fence);
    return st;
}

static bool append(cJSON *list, int64_t run_epoch, int64_t step)
{
    cJSON *item = cJSON_CreateObject();
    return cJSON_AddItemToArray(list, item) != 0 &&
           cJSON_AddNumberToObject(item, "run_epoch", (double)run_epoch) != NULL &&
           cJSON_AddNumberToObject(item, "step", (double)step) != NULL;
}

ls_status checkpoint_take_over(const char *folder, int64_t run_epoch, int64_t step)
{
    ls_status st = LS_OK;
    struct fence fence = {0};
    char *path = NULL;
    char *text = NULL;
    cJSON *root = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(root, "takeovers");
    LS_TRY(files_make_folder(folder));
    LS_TRY(fence_open(&fence, folder));
    LS_TRY(check_newest(&fence, folder, run_epoch));
    bool good = list != NULL;
    /* A later takeover at the same or an earlier step says all that an earlier one said. */
    for (int i = 0; i < fence.count; i++)
        if (fence.takeovers[i].step < step && fence.takeovers[i].run_epoch != run_epoch)
            good = good && append(list, fence.takeovers[i].run_epoch, fence.takeovers[i].step);
    good = good && append(list, run_epoch, step);
    text = good ? cJSON_Print(root) : NULL;
    if (text == NULL) {
        st = LS_FAIL(LS_NOMEM, "out of memory for the list of takeovers");
        goto done;
    }
    LS_TRY(core_format(&path, "%s/takeovers.json", folder));
    LS_TRY(files_replace(path, text, strlen(text)));
done:
    cJSON_Delete(root);
    fence_close(&fence);
    free(text);
    free(path);
    return layout_failure(st);
}
