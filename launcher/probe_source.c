/* A run is told by its folder of checkpoints. */
#include "launcher/probe_source.h"

#include <stdlib.h>

#include "checkpoint/checkpoint.h"
#include "core/files.h"

ls_status probe_source_settle(char **path, const char *key, const char *source)
{
    ls_status st = LS_OK;
    char *folder = NULL;
    char *absolute = NULL;
    struct checkpoint *checkpoint = NULL;
    LS_TRY(core_format(&folder, "%s/checkpoints", *path));
    if (!files_exists(*path)) {
        st = LS_FAIL(LS_IO, "%s: no such run or checkpoint (%s of %s)", *path, key, source);
        goto done;
    }
    if (!files_is_folder(*path)) {
        st = LS_FAIL(LS_USAGE,
                     "%s: is a file (%s of %s): a run folder or a checkpoint's is meant; `lockstep "
                     "import` makes one from safetensors",
                     *path, key, source);
        goto done;
    }
    st = files_is_folder(folder) ? checkpoint_open_newest(&checkpoint, folder)
                                 : checkpoint_open(&checkpoint, *path);
    if (st == LS_EOF)
        st = LS_FAIL(LS_CHECKPOINT, "%s: no checkpoint yet", folder);
    LS_TRY(st);
    LS_TRY(files_absolute(&absolute, checkpoint_info(checkpoint)->path));
    free(*path);
    *path = absolute;
done:
    checkpoint_close(&checkpoint);
    free(folder);
    return st;
}
