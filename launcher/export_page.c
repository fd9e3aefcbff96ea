/* inspect and verify of exported folders. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "checkpoint/export.h"
#include "core/files.h"
#include "launcher/commands.h"
#include "launcher/json.h"
#include "launcher/page.h"

static bool is_export(const char *path)
{
    char *model = NULL;
    if (!files_is_folder(path) || core_format(&model, "%s/model.safetensors", path) != LS_OK)
        return false;
    bool there = files_exists(model);
    free(model);
    return there;
}

static ls_status inspect_export(const char *path, const struct inspect_options *options)
{
    ls_status st = LS_OK;
    struct export_summary summary = {0};
    if (options->video != NULL || options->framemd5)
        return LS_FAIL(LS_USAGE, "%s: --video and --framemd5 are for datasets", path);
    LS_TRY(checkpoint_export_summary(&summary, path));
    if (options->json) {
        cJSON *root = cJSON_CreateObject();
        json_text(root, "kind", "export");
        json_text(root, "path", path);
        json_number(root, "tensors", summary.tensors);
        json_number(root, "parameters", (double)summary.elements);
        json_number(root, "bytes", (double)summary.bytes);
        json_text(root, "dtype", summary.dtype);
        if (summary.origin != NULL)
            json_item(root, "origin", cJSON_Parse(summary.origin));
        LS_TRY(json_print(&root));
        goto done;
    }
    page_row("export", "%s", path);
    page_row("model", "%" PRId64 " parameters in %d tensors, %s, %.1f MB", summary.elements,
             summary.tensors, summary.dtype, (double)summary.bytes * 1e-6);
    page_row("origin", "%s",
             summary.origin != NULL ? summary.origin : "not told: there is no lockstep.json");
done:
    free(summary.origin);
    return st;
}

/* Damage is what `verify` looks for: it is told on stdout, and the exit code is 1. */
static ls_status verify_export(const char *path, const struct verify_options *options)
{
    (void)options;
    ls_status st = checkpoint_export_verify(path);
    if (st == LS_DATA) {
        (void)printf("%s\n", status_message());
        return LS_FAIL(LS_FAILED, "%s: 1 damage", path);
    }
    if (st == LS_OK)
        (void)printf("%s: good\n", path);
    return st;
}

const struct path_kind path_kind_export = {"exported folder", is_export, inspect_export,
                                           verify_export};
