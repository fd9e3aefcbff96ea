/* Looking at an exported folder. */
#include <stdlib.h>

#include "checkpoint/export.h"
#include "checkpoint/export_origin.h"
#include "checkpoint/safetensors.h"
#include "core/files.h"

static ls_status open_model(struct safetensors **out, const char *folder)
{
    char *path = NULL;
    ls_status st = core_format(&path, "%s/model.safetensors", folder);
    if (st == LS_OK)
        st = safetensors_open(out, path);
    free(path);
    return st;
}

static const char *type_name(enum safetensors_type type)
{
    switch (type) {
    case SAFETENSORS_F32:
        return "float32";
    case SAFETENSORS_BF16:
        return "bfloat16";
    case SAFETENSORS_F16:
        return "float16";
    case SAFETENSORS_OTHER:
        break;
    }
    return "of other types";
}

ls_status checkpoint_export_summary(struct export_summary *out, const char *folder)
{
    ls_status st = LS_OK;
    struct safetensors *file = NULL;
    struct export_summary summary = {.dtype = "empty"};
    LS_TRY(open_model(&file, folder));
    summary.tensors = file->count;
    summary.bytes = file->bytes;
    bool mixed = false;
    for (int i = 0; i < file->count; i++) {
        summary.elements += file->entries[i].count;
        mixed = mixed || file->entries[i].type != file->entries[0].type;
    }
    if (file->count > 0)
        summary.dtype = mixed ? "mixed" : type_name(file->entries[0].type);
    LS_TRY(export_origin_read(&summary.origin, folder, false));
    *out = summary;
done:
    safetensors_close(&file);
    return st;
}

ls_status checkpoint_export_verify(const char *folder)
{
    ls_status st = LS_OK;
    struct safetensors *file = NULL;
    char *origin = NULL;
    LS_TRY(open_model(&file, folder));
    LS_TRY(export_origin_read(&origin, folder, true));
    if (origin == NULL)
        st = LS_FAIL(LS_DATA,
                     "%s: no lockstep.json: the header is right, but there is no checksum "
                     "to check the weights against",
                     folder);
done:
    safetensors_close(&file);
    free(origin);
    return st;
}
