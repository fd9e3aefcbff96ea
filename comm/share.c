/* How NCCL's id comes from rank 0 to all: over the group, or through a file. */
#include <stdlib.h>
#include <string.h>

#include "comm/device.h"
#include "core/clock.h"
#include "core/files.h"

static const double LOOK_S = 0.01;

ls_status comm_share_by_group(void *context, void *id, size_t bytes)
{
    return comm_broadcast(context, id, bytes, 0);
}

ls_status comm_share_by_file(void *context, void *id, size_t bytes)
{
    ls_status st = LS_OK;
    const struct comm_meeting *meeting = context;
    char *read = NULL;
    size_t count = 0;
    double until_s = clock_now_s() + meeting->timeout_s;
    if (meeting->rank == 0)
        return files_replace(meeting->path, id, bytes);
    while (!files_exists(meeting->path)) {
        if (clock_now_s() > until_s) {
            st = LS_FAIL(LS_TIMEOUT, "%s: rank 0 has not written its id within %g s", meeting->path,
                         meeting->timeout_s);
            goto done;
        }
        clock_sleep_s(LOOK_S);
    }
    LS_TRY(files_read(&read, &count, meeting->path, bytes));
    if (count != bytes) {
        st = LS_FAIL(LS_DATA, "%s: %zu bytes are no id: the file is of something else",
                     meeting->path, count);
        goto done;
    }
    memcpy(id, read, bytes);
done:
    free(read);
    return st;
}
