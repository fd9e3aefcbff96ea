/* A folder whose file system was unmounted is still there, empty, on the disk below: what is
 * written into it then is no checkpoint of the run, and would fill that disk.  takeovers.json,
 * which every start of a run writes, tells the two apart; the device number alone does not, since a
 * network file system gets another one each time it is mounted. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/layout.h"
#include "core/files.h"

ls_status checkpoint_place_open(struct checkpoint_place *out, const char *folder)
{
    struct stat info;
    if (stat(folder, &info) != 0)
        return LS_FAIL(LS_CHECKPOINT, "%s: cannot look at it: %s", folder, strerror(errno));
    out->device = (uint64_t)info.st_dev;
    return LS_OK;
}

ls_status checkpoint_place_check(bool *deleted, const struct checkpoint_place *place,
                                 const char *folder)
{
    ls_status st = LS_OK;
    struct stat info;
    char *path = NULL;
    *deleted = false;
    LS_TRY(core_format(&path, "%s/takeovers.json", folder));
    if (stat(path, &info) == 0)
        goto done;
    if (errno != ENOENT) {
        st = LS_FAIL(LS_CHECKPOINT, "%s: cannot look at it: %s", path, strerror(errno));
        goto done;
    }
    if (stat(folder, &info) == 0 && (uint64_t)info.st_dev != place->device) {
        st = LS_FAIL(LS_CHECKPOINT,
                     "%s: another file system than at the start lies there, without "
                     "takeovers.json: was the run's unmounted?",
                     folder);
        goto done;
    }
    *deleted = true;
done:
    free(path);
    return layout_failure(st);
}
